/** kill -9 of a process that logs and sends to both trackers, at a random one of its requests. */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdirSync, readdirSync} from 'node:fs';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import {afterAll, beforeAll, expect, test} from '@jest/globals';

import {readFrames} from '../../src/plugins/trackers/wandb/framing.ts';
import {readRecordHead} from '../../src/plugins/trackers/wandb/records.ts';
import {trackers} from '../../src/plugins/trackers/index.ts';
import {uniform} from '../../src/random.ts';
import {readJournal} from '../../src/runs/journal.ts';
import {runPump} from '../../src/tracking/pump.ts';
import type {TrackedRun} from '../../src/plugin-api/tracker.ts';
import {fakeMlflow} from '../helpers/fake-mlflow.ts';
import {fakeWandb} from '../helpers/fake-wandb.ts';
import {faultyServer} from '../helpers/faulty-server.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

/** 100 by hand: SDQ_KILLS=100. */
const kills = Number(process.env['SDQ_KILLS'] ?? (thorough ? 30 : 6));
const writer = path.resolve(import.meta.dirname, '../helpers/tracked-writer.js');
const folder = temporaryFolder();
const services = {mlflow: fakeMlflow(), wandb: fakeWandb()};
const servers = {
  mlflow: faultyServer((request) => services.mlflow.handle(request)),
  wandb: faultyServer((request) => services.wandb.handle(request)),
};
beforeAll(() => Promise.all(Object.values(servers).map((server) => server.start())));
afterAll(() => Promise.all(Object.values(servers).map((server) => server.stop())));

const requests = (): number => servers.mlflow.requests.length + servers.wandb.requests.length;

/** Whether a record of the W&B log is a row: field 2, after the record's number. */
function isHistory(frame: Uint8Array): boolean {
  if (frame[0] !== 0x08) return false;
  const end = frame.findIndex((byte, i) => i > 0 && byte < 0x80);
  return frame[end + 1] === 0x12;
}

test(
  'again and again while 200 rows a second are logged: journal, log and servers agree after a sync',
  async () => {
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
    const settings = {
      mlflow: {experiment: 'killed', artifacts: []},
      wandb: {project: 'killed', transport: 'http', metricNames: 'quantity', tags: [], artifacts: []},
    };
    const env = {
      ...process.env,
      NODE_ENV: 'production',
      MLFLOW_TRACKING_URI: servers.mlflow.url(),
      WANDB_BASE_URL: servers.wandb.url(),
      WANDB_API_KEY: 'of the test',
    };
    const work = Object.entries(settings).map(([name, options]) => ({name, ...options}));
    const draw = uniform(Number(process.env['TEST_SEED'] ?? 1), 'bench');
    for (let kill = 0; kill < kills; kill++) {
      const child = spawn(process.execPath, [writer, JSON.stringify(run), JSON.stringify(work)], {
        env,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      // Opening and the first rows are about six requests to both servers; the rows after them wait two seconds.
      const before = requests();
      const last = Math.ceil(6 * draw());
      while (requests() < before + last && child.exitCode === null) await sleep(1);
      await sleep(10 * draw());
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    const journal = path.join(directory, 'events.jsonl');
    const events = [...readJournal(journal)];
    expect(events.length).toBeGreaterThan(10 * kills);
    const rows = events.map(({data, step}) => `${step!} ${String(data['search/loss'])}`);
    for (const definition of trackers) {
      const {name} = definition;
      const service = services[name as keyof typeof services];
      const options = settings[name as keyof typeof settings];
      const tracker = definition.create({options, env, cwd: directory, notice: () => undefined})!;
      const ended = Promise.resolve({status: 'killed', exitCode: 137, ts: Date.now()} as const);
      const pumped = {name, tracker, run, journal, ended, graceMs: 10_000, attempts: 3};
      const outcome = await runPump({...pumped, notice: () => undefined, redact: (text) => text});
      expect(outcome).toEqual({name, complete: true, message: null});
      expect(service.rows('killed').map(({step, value}) => `${step} ${value}`)).toEqual(rows);
      expect(service.status('killed')).toBe('killed');
    }
    const parent = path.join(directory, 'wandb');
    const [runId] = [...services.wandb.runs.values()].map(({path: place}) => place.split('/').at(-1)!);
    const logged = readdirSync(parent)
      .sort()
      .flatMap((name) => [...readFrames(path.join(parent, name, `run-${runId!}.wandb`))].filter(isHistory))
      .map((frame) => readRecordHead(frame).num);
    expect(logged).toEqual(events.map(({seq}) => seq));
  },
  20_000 + 10_000 * kills,
);
