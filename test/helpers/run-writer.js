// What the processes of test/e2e/shared-folder.test.ts do, with the built code.
// run-writer.js write ROOT RUNS ROWS: makes RUNS runs of ROWS rows, and finishes those that dead processes left. Prints a line for
//   every row once it is logged (`row RUN STEP PID`), every run of its own that is finished (`end RUN`), every other one (`took RUN`).
// run-writer.js claim: reads lines `MILLISECONDS FOLDER`, tries that lock at that time, prints `got` or `refused`, keeps what it got.
import path from 'node:path';
import {createInterface} from 'node:readline';
import {setTimeout} from 'node:timers/promises';

import {acquireLock} from '../../dist/lock.js';
import {readJournal} from '../../dist/runs/journal.js';
import {allRuns} from '../../dist/runs/find-run.js';
import {createRun, resumeRun} from '../../dist/runs/run-directory.js';

// Not writeSync: the pipe does not block once process.stdout was used, so a reader that falls behind makes it throw EAGAIN.
const print = (...words) => process.stdout.write(`${words.join(' ')}\n`);
const spec = {command: 'search', config: {}, seed: 0, versions: {sdq: 'test'}};

/** A run that a dead process left, of which another process may be quicker to take any; undefined where there is none. */
function takeOver(root) {
  for (const {record, directory} of allRuns(root)) {
    if (record.status !== 'interrupted') continue;
    let tookOver = false;
    try {
      const run = resumeRun(root, directory, 'search', new Date(), () => (tookOver = true));
      if (tookOver) print('took', run.id);
      return run;
    } catch (error) {
      if (!['directory-locked', 'run-finished'].includes(error.code)) throw error;
    }
  }
  return undefined;
}

async function writeRuns(root, runs, rows) {
  for (let made = 0; ;) {
    const left = takeOver(root);
    if (left === undefined && made++ === runs) return;
    const run = left ?? createRun(root, spec, new Date(), () => undefined);
    let step = 0;
    for (const event of readJournal(path.join(run.directory, 'events.jsonl'))) step = event.step ?? step;
    while (++step <= rows) {
      run.journal.log('metric', {'search/loss': process.pid}, step);
      print('row', run.id, step, process.pid);
      await setTimeout(1);
    }
    run.end('finished', 0);
    if (left === undefined) print('end', run.id);
  }
}

async function claimFolders() {
  for await (const line of createInterface({input: process.stdin})) {
    const [start, ...folder] = line.split(' ');
    while (Date.now() < Number(start)); // All at the same moment, which no timer gives.
    try {
      acquireLock(folder.join(' '));
      print('got');
    } catch (error) {
      if (error.code !== 'directory-locked') throw error;
      print('refused');
    }
  }
}

const [mode, root, runs, rows] = process.argv.slice(2);
await (mode === 'write' ? writeRuns(root, Number(runs), Number(rows)) : claimFolders());
