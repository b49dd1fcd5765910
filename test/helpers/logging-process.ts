/** A process that logs 200 rows a second into the folder named and sends them to W&B, until it is killed; `sync` sends the rest. */
import path from 'node:path';

import {wandb} from '../../src/plugins/trackers/wandb/index.ts';
import {openJournal, readJournal} from '../../src/runs/journal.ts';
import {runPump} from '../../src/tracking/pump.ts';
import type {End, TrackedRun} from '../../src/tracking/tracker.ts';

const directory = process.argv[2]!;
const isSync = process.argv[3] === 'sync';
const file = path.join(directory, 'events.jsonl');
const run: TrackedRun = {
  uid: 'uid-of-the-killed',
  id: '20261123-211016-run-dead',
  command: 'run',
  directory,
  startedAt: 1_795_000_000_000,
  seed: 1,
  config: {seed: 1},
  versions: {sdq: '0.1.0'},
  git: null,
};
const journal = openJournal(file);
const tracker = wandb.create({
  options: {project: 'real', tags: [], transport: 'http', artifacts: []},
  env: process.env,
  cwd: directory,
  notice: (message) => process.stderr.write(`${message}\n`),
})!;
const killed: End = {status: 'killed', exitCode: 137, ts: Date.now()};
const pump = runPump({
  name: 'wandb',
  tracker,
  run,
  journal: file,
  ended: isSync ? Promise.resolve(killed) : new Promise(() => undefined),
  graceMs: 30_000,
  attempts: 3,
  notice: () => undefined,
  redact: (text) => text,
  clock: {
    now: Date.now,
    wait: (ms) => new Promise((resolve) => setTimeout(resolve, Math.min(ms, 30))),
  },
});
if (isSync) {
  process.stdout.write(JSON.stringify(await pump));
} else {
  let step = [...readJournal(file)].at(-1)?.step ?? 0;
  process.stdout.write('ready\n');
  setInterval(() => journal.log('metric', {'search/loss': 1 / ++step}, step), 5);
}
