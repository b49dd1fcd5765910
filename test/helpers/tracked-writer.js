// Logs 200 rows a second to a run's journal while trackers send them, until it is killed: tracked-writer.js RUN.json TRACKERS.json
// where RUN is what trackers are told of the run. Goes on after the newest step that the journal has.
import path from 'node:path';

import {startTracking} from '../../dist/cli/tracking.js';
import {openJournal, readJournal} from '../../dist/runs/journal.js';

const [run, trackers] = process.argv.slice(2).map((text) => JSON.parse(text));
const file = path.join(run.directory, 'events.jsonl');
const journal = openJournal(file);
let step = 0;
for (const event of readJournal(file)) step = event.step ?? step;
startTracking(
  {run, trackers, plugins: [], base: run.directory},
  {notice: (message) => process.stderr.write(`${message}\n`), onStopRequest: () => undefined},
);
journal.log('metric', {'search/loss': 1 / ++step}, step);
process.stdout.write('started\n');
setInterval(() => journal.log('metric', {'search/loss': 1 / ++step}, step), 5);
