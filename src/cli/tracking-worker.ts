/**
 * The thread of the trackers: one pump each, on an event loop that training never blocks. Nothing that happens here
 * reaches the run but notices and a request to stop.
 */
import {parentPort, workerData} from 'node:worker_threads';

import {present} from '../lookup.ts';
import register from '../hooks/register.ts';
import {runPump, type PumpOutcome} from '../tracking/pump.ts';
import {redactor} from '../redact.ts';
import {journalOf} from '../runs/journal.ts';
import {createTracker, type TrackerSettings} from '../tracking/sync.ts';
import {systemMetrics} from '../tracking/system-metrics.ts';
import type {End, TrackedRun} from '../plugin-api/tracker.ts';
import {fillRegistry, namedPlugin} from './plugin-hooks.ts';

export interface TrackingWork {
  readonly run: TrackedRun;
  readonly trackers: readonly TrackerSettings[];
  /** `plugins` of the config and the folders of those that oclif knows. */
  readonly plugins: readonly string[];
  readonly base: string;
  readonly graceMs: number;
}

export type TrackingMessage =
  | {readonly type: 'notice'; readonly message: string}
  | {readonly type: 'stop'; readonly tracker: string}
  | {readonly type: 'done'; readonly outcomes: readonly PumpOutcome[]};

const port = present(parentPort, 'parent thread');
const {base, graceMs, plugins, run, trackers} = workerData as TrackingWork;
const tell = (message: TrackingMessage): void => port.postMessage(message);
const redact = redactor(process.env);
const notice = (message: string): void => tell({type: 'notice', message: redact(message)});

const ended = new Promise<End>((resolve) => port.once('message', resolve));

async function follow(settings: TrackerSettings): Promise<PumpOutcome> {
  const {name} = settings;
  try {
    const tracker = createTracker(registry, settings, {env: process.env, cwd: process.cwd(), notice});
    if (tracker === undefined) return {name, complete: true, message: null};
    return await runPump({
      name,
      tracker,
      run,
      journal: journalOf(run.directory),
      ended,
      graceMs,
      attempts: Infinity,
      notice,
      redact,
      systemMetrics,
      onStopRequest: () => tell({type: 'stop', tracker: name}),
    });
  } catch (error) {
    const message = redact(error instanceof Error ? error.message : String(error));
    notice(`${name}: ${message}`);
    return {name, complete: false, message};
  }
}

const registry = await fillRegistry(
  [
    {name: 'sdq', load: () => Promise.resolve({default: register})},
    ...plugins.flatMap((name, i) => namedPlugin(name, base, i)),
  ],
  ['tracker'],
);
const outcomes = await Promise.all(trackers.map(follow));
await ended;
tell({type: 'done', outcomes});
