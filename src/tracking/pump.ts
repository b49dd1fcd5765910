/**
 * Sends the journal of a run to one tracker: reads on from the cursor, batches, tries again with growing pauses, and tells
 * the server the end. It never touches the run: what cannot be sent stays in the journal for `sdq track sync`.
 */
import {SdqError} from '../errors.ts';
import {backoffMs, systemClock, untilAborted, type Clock} from '../retry.ts';
import {followJournal, type Event, type JournalReader} from '../runs/journal.ts';
import {syncCommand} from '../runs/run-directory.ts';
import {noProgress, readProgress, writeProgress, type Progress} from './cursor.ts';
import {TrackerError, type End, type FinalStatus, type TrackedRun, type Tracker} from './tracker.ts';

export interface PumpOptions {
  readonly name: string;
  readonly tracker: Tracker;
  readonly run: TrackedRun;
  /** The journal's file. */
  readonly journal: string;
  /** Resolves when the run has ended: nothing more is written; says how, should the journal not. */
  readonly ended: Promise<End>;
  /** What may still be sent after the end takes so long at most. */
  readonly graceMs: number;
  /** Tries of one call before giving up. */
  readonly attempts: number;
  readonly notice: (message: string) => void;
  /** Takes secrets out of a message. */
  readonly redact: (message: string) => string;
  /** The server asked the run to stop; called once. */
  readonly onStopRequest?: () => void;
  readonly clock?: Clock;
}

export interface PumpOutcome {
  readonly name: string;
  /** All is at the server and the end was told. */
  readonly complete: boolean;
  /** Why not. */
  readonly message: string | null;
}

const batchLimit = {events: 500, bytes: 1 << 19};
/** Between two looks at the journal. */
const pollMs = 2000;

/** Sends until the run has ended and all is sent, or until it is hopeless. Never throws. */
export async function runPump(options: PumpOptions): Promise<PumpOutcome> {
  const {attempts, clock = systemClock, graceMs, name, notice, redact, run, tracker} = options;
  let progress: Progress = (tracker.offline === true ? undefined : readProgress(run.directory, name)) ?? noProgress;
  const wake = new AbortController();
  const deadline = new AbortController();
  let end: End | undefined;
  const finished = new AbortController();
  void options.ended.then(async (value) => {
    end = value;
    wake.abort();
    await clock.wait(graceMs, finished.signal);
    if (finished.signal.aborted) return;
    const message = `not all could be sent within ${graceMs / 1000} s of the end`;
    deadline.abort(new TrackerError(message, {kind: 'transient'}));
  });

  const isOver = (): boolean => deadline.signal.aborted;

  let diskTrouble = false;
  const save = (change: Partial<Progress>): void => {
    progress = {...progress, ...change};
    if (tracker.offline === true) return;
    try {
      writeProgress(run.directory, name, progress);
      diskTrouble = false;
    } catch (error) {
      if (!(error instanceof SdqError)) throw error;
      if (!diskTrouble)
        notice(`${name}: ${error.message} Sending goes on; the next process asks the server how far it is.`);
      diskTrouble = true;
    }
  };

  let stopTold = false;
  const lookForStop = (): void => {
    if (stopTold || tracker.stopRequested?.() !== true) return;
    stopTold = true;
    options.onStopRequest?.();
  };

  let inTrouble = false;
  const attempt = async <T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    for (let tries = 1; ; tries++) {
      try {
        const result = await untilAborted(deadline.signal, () => call(deadline.signal));
        if (inTrouble) notice(`${name}: sending again.`);
        inTrouble = false;
        lookForStop();
        return result;
      } catch (error) {
        if (!isTransient(error) || tries >= attempts || isOver()) throw error;
        if (!inTrouble) notice(redact(`${name}: ${error.message}. The journal keeps every row; trying again.`));
        inTrouble = true;
        await pause(tries, error.retryAfterMs ?? 0);
        if (isOver()) throw error;
      }
    }
  };
  /** Grows with every failure; the end of the run cuts it short, but not what the server asked for. */
  const pause = async (tries: number, retryAfterMs: number): Promise<void> => {
    const started = clock.now();
    await clock.wait(Math.max(backoffMs(tries), retryAfterMs), end === undefined ? wake.signal : deadline.signal);
    const rest = retryAfterMs - (clock.now() - started);
    if (rest > 0) await clock.wait(rest, deadline.signal);
  };

  let regressionTold = false;
  const push = async (events: readonly Event[], reader: JournalReader): Promise<void> => {
    const {accepted, change, regressions} = select(events, progress);
    if (regressions > 0 && !regressionTold) {
      notice(`${name}: a row's step is below the one before it; such rows stay in the journal and are not sent.`);
      regressionTold = true;
    }
    for (let rest = accepted; rest.length > 0;) {
      const batch = rest;
      const {refused = [], seq, state} = await attempt((signal) => tracker.push(batch, signal));
      if (seq < batch[0]!.seq) throw new TrackerError('the tracker took nothing', {kind: 'permanent'});
      if (refused.length > 0) {
        const more = refused.length === 1 ? '' : ` (and ${refused.length - 1} more)`;
        notice(redact(`${name}: event ${refused[0]!.seq} is not sent: ${refused[0]!.reason}${more}`));
      }
      progress = {...progress, state, refused: progress.refused + refused.length, closed: false};
      rest = batch.filter((event) => event.seq > seq);
      if (rest.length > 0) save({seq});
    }
    const place = reader.place();
    save({...change, seq: place.seq, place, closed: false, refused: progress.refused + regressions});
  };

  let reader: JournalReader | undefined;
  try {
    reader = followJournal(options.journal, progress.place);
    const cursor = progress.remote === null ? undefined : {seq: progress.seq, state: progress.state};
    const {state, ...remote} = await attempt((signal) => tracker.open(run, cursor, signal));
    save({state, remote, closed: false, failure: null});
    let lastCall = clock.now();
    for (;;) {
      const isLast = end !== undefined;
      const lines = reader.read(batchLimit);
      if (lines.length > 0) {
        await push(
          lines.filter(({seq}) => seq > progress.seq),
          reader,
        );
        lastCall = clock.now();
        continue;
      }
      if (isLast) break;
      if (tracker.heartbeat !== undefined && clock.now() - lastCall >= (tracker.heartbeatMs ?? 30_000)) {
        await attempt((signal) => tracker.heartbeat!(signal));
        lastCall = clock.now();
      }
      await clock.wait(pollMs, wake.signal);
    }
    await attempt((signal) => tracker.close(progress.end ?? end!, signal));
    save({closed: true});
    if (tracker.offline === true) return {name, complete: false, message: 'it is offline: local files only'};
    return {name, complete: true, message: null};
  } catch (error) {
    const message = redact(error instanceof Error ? error.message : String(error));
    notice(`${name}: ${message}. The rest is in the journal: ${syncCommand(run.directory)}`);
    save({failure: message});
    return {name, complete: false, message};
  } finally {
    finished.abort();
    reader?.close();
    await tracker.dispose?.();
  }
}

/** What of the lines goes to the tracker, and what they change. */
function select(
  events: readonly Event[],
  {step: before, end: endBefore}: Progress,
): {
  readonly accepted: readonly Event[];
  readonly change: Pick<Progress, 'step' | 'end'>;
  /** Metrics whose step is below an earlier one's. */
  readonly regressions: number;
} {
  const accepted: Event[] = [];
  let [step, end, regressions] = [before, endBefore, 0];
  for (const event of events) {
    end = event.kind === 'end' ? endOf(event) : null;
    if (event.kind === 'end') continue;
    const isRegression = event.kind === 'metric' && event.step !== undefined && event.step < step;
    if (isRegression) regressions += 1;
    else accepted.push(event);
    if (event.kind === 'metric') step = Math.max(step, event.step ?? 0);
  }
  return {accepted, change: {step, end}, regressions};
}

/** By name, because a plugin throws the `TrackerError` of the copy of sdq that it finds. */
function isTransient(error: unknown): error is TrackerError {
  return error instanceof Error && error.name === 'TrackerError' && 'kind' in error && error.kind === 'transient';
}

const finalStatuses: Readonly<Record<string, FinalStatus>> = {
  finished: 'finished',
  failed: 'failed',
  interrupted: 'killed',
};

function endOf({data, ts}: Event): End {
  const {exitCode, status} = data as {exitCode?: unknown; status?: unknown};
  return {
    status: finalStatuses[String(status)] ?? 'failed',
    exitCode: typeof exitCode === 'number' ? exitCode : 1,
    ts,
  };
}
