/** kill -9 of a process that logs and sends. Needs `npm run build`. */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdirSync} from 'node:fs';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import {afterAll, beforeAll, expect, test} from '@jest/globals';

import {mlflow} from '../../src/plugins/trackers/mlflow/index.ts';
import {uniform} from '../../src/random.ts';
import {readJournal} from '../../src/runs/journal.ts';
import {runPump} from '../../src/tracking/pump.ts';
import type {TrackedRun} from '../../src/tracking/tracker.ts';
import {fakeMlflow} from '../helpers/fake-mlflow.ts';
import {faultyServer} from '../helpers/faulty-server.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const writer = path.resolve(import.meta.dirname, '../helpers/tracked-writer.js');
const folder = temporaryFolder();
const service = fakeMlflow();
const server = faultyServer((request) => service.handle(request));
beforeAll(() => server.start());
afterAll(() => server.stop());

test('100 times while 200 rows a second are logged: journal and server agree after a sync', async () => {
  const directory = path.join(folder, 'run');
  mkdirSync(directory);
  const run: TrackedRun = {
    uid: 'killed',
    id: 'killed',
    command: 'run',
    directory,
    startedAt: Date.now(),
    seed: 0,
    config: {},
    versions: {},
    git: null,
  };
  const options = {experiment: 'killed', artifacts: []};
  const env = {...process.env, MLFLOW_TRACKING_URI: server.url(), NODE_ENV: 'production'};
  const draw = uniform(Number(process.env['SDQ_TEST_SEED'] ?? 1), 'bench');
  for (let kill = 0; kill < 100; kill++) {
    const child = spawn(
      process.execPath,
      [writer, JSON.stringify(run), JSON.stringify([{name: 'mlflow', ...options}])],
      {
        env,
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    await once(child.stdout, 'data');
    await sleep(20 + 80 * draw());
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  const journal = path.join(directory, 'events.jsonl');
  const tracker = mlflow.create({options, env, cwd: directory, notice: () => undefined})!;
  const ended = Promise.resolve({status: 'killed', exitCode: 137, ts: Date.now()} as const);
  const pumped = {name: 'mlflow', tracker, run, journal, ended, graceMs: 10_000, attempts: 3};
  const outcome = await runPump({...pumped, notice: () => undefined, redact: (text) => text});
  expect(outcome).toMatchObject({complete: true});
  const rows = [...readJournal(journal)].map(({data, step}) => `${step!} ${String(data['search/loss'])}`);
  expect(rows.length).toBeGreaterThan(500);
  expect(service.rows('killed').map(({step, value}) => `${step} ${value}`)).toEqual(rows);
  expect(service.status('killed')).toBe('killed');
}, 120_000);
