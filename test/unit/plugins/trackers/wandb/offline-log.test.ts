/** The `.wandb` file on a disk that fills up. The part on a real small disk skips where the user may not mount one. */
import {mkdirSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';

import {readFrames} from '../../../../../src/plugins/trackers/wandb/framing.ts';
import {openOfflineLog} from '../../../../../src/plugins/trackers/wandb/offline-log.ts';
import {readRecordHead} from '../../../../../src/plugins/trackers/wandb/records.ts';
import {resolveSettings} from '../../../../../src/plugins/trackers/wandb/settings.ts';
import {openJournal} from '../../../../../src/runs/journal.ts';
import type {TrackedRun} from '../../../../../src/tracking/tracker.ts';
import {smallDisk} from '../../../../helpers/full-disk.ts';
import {temporaryFolder} from '../../../../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const disk = smallDisk(256);
const testOnDisk = disk === undefined ? test.skip : test;

testOnDisk('a full disk (a mount of 256 KiB): with room again every record can be read', () => {
  const directory = path.join(folder, 'run');
  mkdirSync(directory);
  const journal = openJournal(path.join(directory, 'events.jsonl'));
  const run: TrackedRun = {
    uid: 'u',
    id: 'r',
    command: 'run',
    directory,
    startedAt: 0,
    seed: 0,
    config: {},
    versions: {},
    git: null,
  };
  const settings = resolveSettings(
    {project: 'p', tags: [], transport: 'http', artifacts: []},
    {WANDB_DIR: disk!, WANDB_MODE: 'offline', HOME: folder},
    folder,
  );
  const log = openOfflineLog(run, 'x', settings);
  for (let step = 1; step <= 5; step++) journal.log('metric', {loss: step}, step);
  log.catchUp();
  // Leaves room for a part of what follows, so that the write is cut short.
  const filler = path.join(disk!, 'filler');
  writeFileSync(filler, Buffer.alloc(160 << 10));
  for (let step = 6; step <= 105; step++) journal.log('metric', {loss: step, text: 'x'.repeat(1500)}, step);
  expect(() => log.catchUp()).toThrow(/disk is full/);
  expect(() => log.catchUp()).toThrow(/disk is full/);
  rmSync(filler);
  log.catchUp();
  log.end({status: 'finished', exitCode: 0, ts: 1000});
  log.close();
  journal.close();
  const parent = path.join(disk!, 'wandb');
  const [name] = readdirSync(parent);
  const heads = [...readFrames(path.join(parent, name!, 'run-x.wandb'))].map(readRecordHead);
  const numbers = [...new Set(heads.map(({num}) => num))].filter((num) => num > 0);
  expect(numbers).toEqual(Array.from({length: 105}, (_, i) => i + 1));
  expect(heads.some(({isExit}) => isExit)).toBe(true);
});
