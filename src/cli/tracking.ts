/** Starts the thread of a run's trackers and, at the end, waits for it as long as it may take. */
import type {Worker} from 'node:worker_threads';

import type {RunTracking} from '../phases/run.ts';
import {syncCommand} from '../runs/run-commands.ts';
import {startThread} from '../start-thread.ts';
import type {PumpOutcome} from '../tracking/pump.ts';
import type {End} from '../plugin-api/tracker.ts';
import type {TrackingMessage, TrackingWork} from './tracking-worker.ts';

/** What is left at the end of a run may take so long; a sweep's agent kills after 30 s. */
const graceMs = 10_000;
/** For the thread to say that the time is over. */
const answerMs = 1000;

export interface TrackingListeners {
  readonly notice: (message: string) => void;
  /** A tracker's server asked the run to stop. */
  readonly onStopRequest: (tracker: string) => void;
}

export function startTracking(
  work: Omit<TrackingWork, 'graceMs'>,
  {notice, onStopRequest}: TrackingListeners,
): RunTracking {
  const worker = startWorker({...work, graceMs});
  worker.unref();
  let finish: (outcomes: readonly PumpOutcome[]) => void = () => undefined;
  const done = new Promise<readonly PumpOutcome[]>((resolve) => (finish = resolve));
  const incomplete = (message: string): readonly PumpOutcome[] =>
    work.trackers.map(({name}) => ({name, complete: false, message}));
  worker.on('message', (message: TrackingMessage) => {
    if (message.type === 'notice') notice(message.message);
    else if (message.type === 'stop') onStopRequest(message.tracker);
    else finish(message.outcomes);
  });
  worker.on('error', (error) => {
    notice(
      `The trackers' thread ended: ${error.message} The journal has everything: ${syncCommand(work.run.directory)}`,
    );
    finish(incomplete(error.message));
  });
  worker.on('exit', () => finish(incomplete("the trackers' thread ended")));
  return {
    async end(end: End) {
      worker.ref();
      worker.postMessage(end);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<readonly PumpOutcome[]>((resolve) => {
        timer = setTimeout(() => resolve(incomplete('not all could be sent in time')), graceMs + answerMs);
      });
      const outcomes = await Promise.race([done, late]);
      clearTimeout(timer);
      await worker.terminate();
      return outcomes;
    },
  };
}

function startWorker(workerData: TrackingWork): Worker {
  // A small young generation: memory stays flat however many rows there are.
  const resourceLimits = {maxYoungGenerationSizeMb: 4};
  return startThread(new URL('tracking-worker', import.meta.url), {workerData, resourceLimits});
}
