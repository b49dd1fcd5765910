/** Trackers of a real run: one from a package, and a stop while the servers are dead. */
import {mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import {afterAll, beforeAll, expect, test} from '@jest/globals';

import {readJournal} from '../../src/runs/journal.ts';
import {listRuns} from '../../src/runs/find-run.ts';
import {fakeMlflow} from '../helpers/fake-mlflow.ts';
import {fakeWandb, parseLine} from '../helpers/fake-wandb.ts';
import {smallJob, writeSmallJob} from '../helpers/failures.ts';
import {faultyServer} from '../helpers/faulty-server.ts';
import {root} from '../helpers/result-schemas.ts';
import {sdq, startSdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const services = {mlflow: fakeMlflow(), wandb: fakeWandb()};
const servers = [
  faultyServer((request) => services.mlflow.handle(request)),
  faultyServer((request) => services.wandb.handle(request)),
] as const;
beforeAll(() => Promise.all(servers.map((server) => server.start())));
afterAll(() => Promise.all(servers.map((server) => server.stop())));

/** A folder with a small job. */
function job(name: string, settings: Readonly<Record<string, unknown>>): string {
  const cwd = path.join(folder, name);
  writeSmallJob(cwd);
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify({...smallJob, ...settings}));
  return cwd;
}

const runFolder = (cwd: string): string => path.join(cwd, '.sdq/runs', readdirSync(path.join(cwd, '.sdq/runs'))[0]!);

test('the tracker of docs/plugins.md, in a package, gets every row of a run', async () => {
  const cwd = job('plugin', {plugins: ['./lines'], tracking: [{name: 'lines', file: './rows.txt'}]});
  const [source] = /^import \{appendFile\}.*?^```/ms.exec(readFileSync(path.join(root, 'docs/plugins.md'), 'utf8'))!;
  mkdirSync(path.join(cwd, 'lines'));
  const hooks = {'sdq:register': './register.js'};
  writeFileSync(path.join(cwd, 'lines/package.json'), JSON.stringify({name: 'l', type: 'module', oclif: {hooks}}));
  writeFileSync(path.join(cwd, 'lines/tracker.js'), source.replace('```', ''));
  const register = "import {lines} from './tracker.js';\nexport default async ({registry}) => registry.add(lines);\n";
  writeFileSync(path.join(cwd, 'lines/register.js'), register);
  const {exitCode, stderr} = await sdq(['pretrain', '--tracker-strict'], {cwd});
  expect({exitCode, stderr}).toMatchObject({exitCode: 0});
  const rows = [...readJournal(path.join(runFolder(cwd), 'events.jsonl'))].filter(({kind}) => kind === 'metric');
  expect(rows.length).toBeGreaterThan(2);
  const seen = readFileSync(path.join(cwd, 'rows.txt'), 'utf8').split('\n');
  expect(seen.slice(0, rows.length)).toEqual(rows.map(({data, step}) => `${step!} ${JSON.stringify(data)}`));
  const status = JSON.parse((await sdq(['track', 'status', '--json'], {cwd})).stdout) as unknown;
  expect(status).toMatchObject({trackers: [{name: 'lines', pending: 0, failed: 0, complete: true}]});
});

test('SIGTERM while no server answers: 143 within the grace, and a later sync sends every row once', async () => {
  const cwd = job('stopped', {
    pretrain: {epochs: 500},
    tracking: [{name: 'mlflow'}, {name: 'wandb', project: 'p'}],
  });
  const env = {
    MLFLOW_TRACKING_URI: servers[0].url(),
    WANDB_BASE_URL: servers[1].url(),
    WANDB_API_KEY: 'of the test',
    WANDB_MODE: 'online',
  };
  for (const server of servers) server.setFault(() => 'silent');
  const {child, outcome} = startSdq(['pretrain'], {cwd, env});
  const isLogging = (): boolean => {
    try {
      return readFileSync(path.join(runFolder(cwd), 'events.jsonl'), 'utf8').split('\n').length > 5;
    } catch {
      return false;
    }
  };
  while (!isLogging() && child.exitCode === null) await sleep(20);
  const stopped = Date.now();
  child.kill('SIGTERM');
  const {exitCode, stderr} = await outcome;
  expect({exitCode, stderr}).toMatchObject({exitCode: 143});
  // 10 s for the trackers, and what the step, the checkpoint and the thread's answer take.
  expect(Date.now() - stopped).toBeLessThan(13_000);
  expect(listRuns(path.join(cwd, '.sdq/runs'))).toMatchObject([{status: 'interrupted', exitCode: 143}]);
  for (const server of servers) server.setFault(undefined);
  const synced = await sdq(['track', 'sync'], {cwd, env});
  expect(synced).toMatchObject({exitCode: 0});
  const rows = [...readJournal(path.join(runFolder(cwd), 'events.jsonl'))].filter(({kind}) => kind === 'metric');
  const losses = rows.filter(({data}) => 'pretrain/loss' in data).map(({step}) => step);
  const [remote] = services.mlflow.runs;
  const sent = remote!.metrics.filter(({key}) => key === 'pretrain/loss').map(({step}) => step);
  expect([services.mlflow.runs.length, remote!.status, sent]).toEqual([1, 'KILLED', losses]);
  const [stored] = services.wandb.runs.values();
  expect(stored!.history.map((line) => parseLine(line)['step'])).toEqual(rows.map(({step}) => step));
  expect(stored).toMatchObject({complete: true, exitCode: 143});
});
