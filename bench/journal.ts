/**
 * What a row of the journal costs, and what trackers cost in memory:
 *   node --import tsx bench/journal.ts [--rows N] [--tracked]
 * Prints microseconds a row and the peak of the resident memory. With `--tracked` a tracker thread sends the rows to a server
 * in a process of its own that takes everything.
 */
import {spawn} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {parseArgs} from 'node:util';

import {startTracking} from '../src/cli/tracking.ts';
import {openJournal} from '../src/runs/journal.ts';

const {values} = parseArgs({
  options: {rows: {type: 'string', default: '1000000'}, tracked: {type: 'boolean', default: false}},
});
const rows = Number(values.rows);
const directory = mkdtempSync(path.join(tmpdir(), 'sdq-bench-'));
const journal = openJournal(path.join(directory, 'events.jsonl'));

/** Answers as an MLflow server does that keeps nothing. */
const server = `
const run = JSON.stringify({run: {info: {run_id: 'r', experiment_id: '0', artifact_uri: 'mlflow-artifacts:/0/r'}, data: {}}});
require('node:http').createServer((request, response) => {
  request.resume().on('end', () => response.end(
    /runs.create|runs.get/.test(request.url) ? run : /by-name/.test(request.url) ? '{"experiment": {"experiment_id": "0"}}' : '{}'));
}).listen(0, '127.0.0.1', function () { process.stdout.write(String(this.address().port)); });`;

async function startServer(): Promise<{url: string; stop: () => void}> {
  const child = spawn(process.execPath, ['-e', server], {stdio: ['ignore', 'pipe', 'inherit']});
  const port = await new Promise<string>((resolve) =>
    child.stdout.once('data', (data: Buffer) => resolve(String(data))),
  );
  return {url: `http://127.0.0.1:${port}`, stop: () => void child.kill()};
}

const service = values.tracked ? await startServer() : undefined;
if (service !== undefined) process.env['MLFLOW_TRACKING_URI'] = service.url;
const tracking = values.tracked
  ? startTracking(
      {
        run: {
          uid: 'bench',
          id: 'bench',
          command: 'search',
          directory,
          startedAt: Date.now(),
          seed: 0,
          config: {},
          versions: {},
          git: null,
        },
        trackers: [{name: 'mlflow', artifacts: []}],
        plugins: [],
        base: directory,
      },
      {notice: (message) => process.stderr.write(`${message}\n`), onStopRequest: () => undefined},
    )
  : undefined;

let peakMiB = 0;
let ms = 0;
for (let step = 1; step <= rows; step++) {
  const started = performance.now();
  journal.log(
    'metric',
    {'train/loss': 1 / step, 'train/accuracy': 0.5, 'train/learningRate': 0.01, 'train/epoch': 1},
    step,
  );
  ms += performance.now() - started;
  if (step % 10_000 === 0) {
    peakMiB = Math.max(peakMiB, process.memoryUsage.rss() / 2 ** 20);
    await new Promise((resolve) => setTimeout(resolve, values.tracked ? 100 : 0));
  }
}
journal.log('end', {status: 'finished', exitCode: 0});
journal.close();
const outcomes = await tracking?.end({status: 'finished', exitCode: 0, ts: Date.now()});
peakMiB = Math.max(peakMiB, process.memoryUsage.rss() / 2 ** 20);
service?.stop();
rmSync(directory, {recursive: true});
console.log(JSON.stringify({rows, microsecondsPerRow: (1000 * ms) / rows, peakRssMiB: Math.round(peakMiB), outcomes}));
