import {mkdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {afterAll, beforeAll, expect, test} from '@jest/globals';

import {acquireLock} from '../../src/lock.ts';
import {listRuns} from '../../src/runs/find-run.ts';
import {createRun} from '../../src/runs/run-directory.ts';
import {fakeMlflow} from '../helpers/fake-mlflow.ts';
import {fakeWandb} from '../helpers/fake-wandb.ts';
import {faultyServer} from '../helpers/faulty-server.ts';
import {resultProblems} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const folder = temporaryFolder();
const runsRoot = path.join(folder, '.sdq/runs');
const services = {mlflow: fakeMlflow(), wandb: fakeWandb()};
const mlflow = faultyServer((request) => services.mlflow.handle(request));
const wandb = faultyServer((request) => services.wandb.handle(request));
beforeAll(() => Promise.all([mlflow.start(), wandb.start()]));
afterAll(() => Promise.all([mlflow.stop(), wandb.stop()]));

const [runs, rows] = thorough ? [200, 1000] : [5, 30];
const servers = [mlflow, wandb];
const requests = (): number => servers.reduce((sum, server) => sum + server.requests.length, 0);

const track = (...args: string[]): ReturnType<typeof sdq> =>
  sdq(['track', ...args, '--all', '--json'], {
    cwd: folder,
    env: {MLFLOW_TRACKING_URI: mlflow.url(), WANDB_BASE_URL: wandb.url(), WANDB_API_KEY: 'k'.repeat(40), HOME: folder},
  });

beforeAll(() => {
  const config = {
    model: {name: 'cnn-small'},
    data: {name: 'mnist'},
    tracking: [{name: 'mlflow'}, {name: 'wandb', project: 'p'}],
  };
  mkdirSync(folder, {recursive: true});
  writeFileSync(path.join(folder, 'sdq.config.json'), '{}');
  for (let i = 0; i < runs; i++) {
    const spec = {command: 'search', config, seed: i, versions: {sdq: '0', node: 'v20'}};
    const run = createRun(runsRoot, spec, new Date(), () => undefined);
    for (let step = 1; step <= rows; step++) run.journal.log('metric', {'search/loss': 1 / step}, step);
    run.end('finished', 0);
  }
});

test(`${runs} runs of ${rows} rows: a dead server is left alone after three, an open run is left out, the rest is sent once`, async () => {
  mlflow.setFault(() => ({status: 401}));
  wandb.setFault(() => ({status: 401}));
  const refused = await track('sync');
  expect(refused.exitCode).toBe(6);
  expect(new Set(mlflow.requests.map(({headers}) => headers['host'])).size).toBe(1);
  const perRun = mlflow.requests.length / 3;
  expect(perRun).toBeLessThan(5);

  servers.forEach((server) => server.setFault(undefined));
  const [first] = listRuns(runsRoot);
  const lock = acquireLock(path.join(runsRoot, first?.id ?? ''));
  const before = requests();
  const start = performance.now();
  expect(await track('sync')).toMatchObject({exitCode: 0});
  const [seconds, sent] = [(performance.now() - start) / 1000, requests() - before];
  if (thorough) process.stdout.write(`${runs} runs of ${rows} rows: ${seconds.toFixed(1)} s, ${sent} requests\n`);
  lock.release();
  expect(await track('sync')).toMatchObject({exitCode: 0});
  const after = requests();
  expect(sent / runs).toBeLessThan(40);

  const synced = await track('sync');
  expect(synced).toMatchObject({exitCode: 0});
  expect(requests()).toBe(after);
  expect(resultProblems('track-sync', synced.stdout)).toEqual([]);
  const status = await track('status');
  expect(resultProblems('track-status', status.stdout)).toEqual([]);
  const {runs: all} = JSON.parse(status.stdout) as {runs: {trackers: {pending: number; complete: boolean}[]}[]};
  expect(all.flatMap(({trackers}) => trackers.map(({complete, pending}) => ({complete, pending})))).toEqual(
    Array.from({length: 2 * runs}, () => ({complete: true, pending: 0})),
  );
  for (const {uid} of listRuns(runsRoot)) {
    expect(services.mlflow.rows(uid)).toHaveLength(rows);
    expect(services.wandb.rows(uid)).toHaveLength(rows);
  }
}, 900_000);

test('--all beside a run is refused', async () => {
  expect((await track('status', 'latest')).exitCode).toBe(2);
});
