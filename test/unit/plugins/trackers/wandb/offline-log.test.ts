/** The `.wandb` file on a disk that fills up. The part on a real small disk skips where the user may not mount one. */
import {mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {readFrames} from '../../../../../src/plugins/trackers/wandb/framing.ts';
import {OfflineLog} from '../../../../../src/plugins/trackers/wandb/offline-log.ts';
import {readRecordHead} from '../../../../../src/plugins/trackers/wandb/records.ts';
import {resolveSettings} from '../../../../../src/plugins/trackers/wandb/settings.ts';
import {openJournal, type Journal} from '../../../../../src/runs/journal.ts';
import {smallDisk} from '../../../../helpers/full-disk.ts';
import {temporaryFolder} from '../../../../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const disk = smallDisk(512);
const describeOnDisk = disk === undefined ? describe.skip : describe;

let runs = 0;

/** A run of its own with its log on the small disk. */
function logOnDisk(artifacts: readonly string[]): {journal: Journal; log: OfflineLog; frames: () => readonly Buffer[]} {
  const directory = path.join(folder, `run-${++runs}`);
  mkdirSync(directory);
  const journal = openJournal(path.join(directory, 'events.jsonl'));
  const settings = resolveSettings(
    {project: 'p', tags: [], transport: 'http', metricNames: 'quantity', artifacts},
    {WANDB_DIR: path.join(disk!, String(runs)), WANDB_MODE: 'offline', HOME: folder},
    folder,
  );
  const run = {
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
  return {
    journal,
    log: new OfflineLog(run, 'x', settings),
    frames() {
      const parent = path.join(disk!, String(runs), 'wandb');
      const [name] = readdirSync(parent);
      return [...readFrames(path.join(parent, name!, 'run-x.wandb'))].map((frame) => Buffer.from(frame));
    },
  };
}

/** Until the function returned is called only so many KiB are free. */
function fillDisk(freeKib: number): () => void {
  const {bavail, bsize} = statfsSync(disk!);
  const filler = path.join(disk!, 'filler');
  writeFileSync(filler, Buffer.alloc(bavail * bsize - (freeKib << 10)));
  return () => rmSync(filler);
}

const numbersOf = (frames: readonly Buffer[]): readonly number[] => [
  ...new Set(frames.map((frame) => readRecordHead(frame).num).filter((num) => num > 0)),
];
const upTo = (count: number): readonly number[] => Array.from({length: count}, (_, i) => i + 1);

describeOnDisk('a full disk (a mount of 512 KiB)', () => {
  test('with room again every record can be read', () => {
    const {frames, journal, log} = logOnDisk([]);
    for (let step = 1; step <= 5; step++) journal.log('metric', {loss: step}, step);
    log.catchUp();
    // Room for a part of what follows, so that the write is cut short.
    const free = fillDisk(64);
    for (let step = 6; step <= 105; step++) journal.log('metric', {loss: step, text: 'x'.repeat(1500)}, step);
    expect(() => log.catchUp()).toThrow(/disk is full/);
    expect(() => log.catchUp()).toThrow(/disk is full/);
    free();
    log.catchUp();
    log.end({status: 'finished', exitCode: 0, ts: 1000});
    log.close();
    journal.close();
    expect(numbersOf(frames())).toEqual(upTo(105));
    expect(frames().some((frame) => readRecordHead(frame).isExit)).toBe(true);
  });

  test('a table that does not fit leaves the rows beside it as they are', () => {
    const {frames, journal, log} = logOnDisk(['table']);
    journal.log('metric', {loss: 1}, 10);
    log.catchUp();
    const free = fillDisk(32);
    journal.log('metric', {loss: 2}, 20);
    journal.log('artifact', {type: 'table', name: 'bits', columns: ['text'], rows: [['x'.repeat(60_000)]]});
    journal.log('metric', {loss: 3}, 30);
    expect(() => log.catchUp()).toThrow(/disk is full/);
    expect(() => log.catchUp()).toThrow(/disk is full/);
    free();
    log.catchUp();
    log.close();
    journal.close();
    expect(numbersOf(frames())).toEqual(upTo(4));
    // Of the history records: the field of the item `_step`, and its JSON.
    const steps = frames()
      .filter((frame) => frame.includes('_timestamp') && frame[2] === 0x12)
      .map((frame) => Number(/_step\x82\x01[^](\d+)/.exec(frame.toString('latin1'))?.[1]));
    expect(steps).toEqual([10, 20, 21, 30]);
  });
});
