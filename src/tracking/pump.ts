/**
 * Sends the journal of a run to one tracker: reads on from the cursor, batches, tries again with growing pauses, and tells
 * the server the end. It never touches the run: what cannot be sent stays in the journal for `sdq track sync`.
 */
import {SdqError} from '../errors.ts';
import {item} from '../lookup.ts';
import {backoffMs, systemClock, untilAborted, type Clock} from '../retry.ts';
import {followJournal, type Event, type JournalReader} from '../runs/journal.ts';
import {syncCommand} from '../runs/run-commands.ts';
import {noProgress, readProgress, writeProgress, type Progress} from './cursor.ts';
import {TrackerError, type End, type FinalStatus, type TrackedRun, type Tracker} from '../plugin-api/tracker.ts';

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
  /** Measures the load of the machine; left out where this process does not train the run. */
  readonly systemMetrics?: () => Readonly<Record<string, number>>;
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
/** Between two samples of the machine's load, as wandb 0.30 takes them. */
const systemIntervalMs = 15_000;

/** Sends until the run has ended and all is sent, or until it is hopeless. Never throws. */
export async function runPump(options: PumpOptions): Promise<PumpOutcome> {
  return new Pump(options).run();
}

/** When a run ended, and when the time to send the rest is over. */
class RunEnd {
  readonly #finished = new AbortController();
  readonly #ended = new AbortController();
  readonly #deadline = new AbortController();
  /** Undefined while the run is on. */
  value: End | undefined;

  constructor({clock = systemClock, ended, graceMs}: Pick<PumpOptions, 'clock' | 'ended' | 'graceMs'>) {
    void ended.then(async (value) => {
      this.value = value;
      this.#ended.abort();
      await clock.wait(graceMs, this.#finished.signal);
      if (this.#finished.signal.aborted) return;
      const message = `not all could be sent within ${graceMs / 1000} s of the end`;
      this.#deadline.abort(new TrackerError(message, {kind: 'transient'}));
    });
  }

  /** Aborts when the run ends. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Aborts, with the error to end with, when the grace after the end is over. */
  get deadline(): AbortSignal {
    return this.#deadline.signal;
  }

  /** Whether the grace is over. */
  isOver(): boolean {
    return this.#deadline.signal.aborted;
  }

  /** The pump has ended: no time runs any more. */
  dispose(): void {
    this.#finished.abort();
  }
}

/** Calls the tracker until it succeeds, it is of no use, or the time is over. */
class Retrier {
  readonly #options: PumpOptions;
  readonly #clock: Clock;
  readonly #end: RunEnd;
  #inTrouble = false;

  constructor(options: PumpOptions, clock: Clock, end: RunEnd) {
    this.#options = options;
    this.#clock = clock;
    this.#end = end;
  }

  /** @throws TrackerError of the last try, or that the grace is over */
  async attempt<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const {attempts, name, notice, redact} = this.#options;
    const {deadline} = this.#end;
    for (let tries = 1; ; tries++) {
      try {
        const result = await untilAborted(deadline, () => call(deadline));
        if (this.#inTrouble) notice(`${name}: sending again.`);
        this.#inTrouble = false;
        return result;
      } catch (error) {
        if (!isTransient(error) || tries >= attempts || this.#end.isOver()) throw error;
        if (!this.#inTrouble) notice(redact(`${name}: ${error.message}. The journal keeps every row; trying again.`));
        this.#inTrouble = true;
        await this.#pause(tries, error.retryAfterMs ?? 0);
        if (this.#end.isOver()) throw error;
      }
    }
  }

  /** Grows with every failure; the end of the run cuts it short, but not what the server asked for. */
  async #pause(tries: number, retryAfterMs: number): Promise<void> {
    const {deadline, ended} = this.#end;
    const started = this.#clock.now();
    await this.#clock.wait(Math.max(backoffMs(tries), retryAfterMs), ended.aborted ? deadline : ended);
    const rest = retryAfterMs - (this.#clock.now() - started);
    if (rest > 0) await this.#clock.wait(rest, deadline);
  }
}

/** How far the tracker is, in memory and in its file. */
class CursorStore {
  readonly #options: PumpOptions;
  #progress: Progress;
  #inTrouble = false;

  constructor(options: PumpOptions) {
    const {name, run, tracker} = options;
    this.#options = options;
    this.#progress = (tracker.offline === true ? undefined : readProgress(run.directory, name)) ?? noProgress;
  }

  get progress(): Progress {
    return this.#progress;
  }

  /** Changes what is in memory only: what belongs to it is not sent yet. */
  change(change: Partial<Progress>): void {
    this.#progress = {...this.#progress, ...change};
  }

  /** A disk error is reported once; the next process asks the server. */
  save(change: Partial<Progress>): void {
    const {name, notice, run, tracker} = this.#options;
    this.change(change);
    if (tracker.offline === true) return;
    try {
      writeProgress(run.directory, name, this.#progress);
      this.#inTrouble = false;
    } catch (error) {
      if (!(error instanceof SdqError)) throw error;
      if (!this.#inTrouble)
        notice(`${name}: ${error.message} sdq keeps sending; the next process asks the server what it has.`);
      this.#inTrouble = true;
    }
  }
}

class Pump {
  readonly #options: PumpOptions;
  readonly #clock: Clock;
  readonly #end: RunEnd;
  readonly #retrier: Retrier;
  readonly #cursor: CursorStore;
  #hasStopRequest = false;
  #hasRegression = false;
  #lastSample: number;

  constructor(options: PumpOptions) {
    const {clock = systemClock} = options;
    this.#options = options;
    this.#clock = clock;
    this.#lastSample = clock.now();
    this.#end = new RunEnd(options);
    this.#retrier = new Retrier(options, clock, this.#end);
    this.#cursor = new CursorStore(options);
  }

  async run(): Promise<PumpOutcome> {
    const {journal, name, notice, redact, run, tracker} = this.#options;
    const cursor = this.#cursor;
    let reader: JournalReader | undefined;
    try {
      reader = followJournal(journal, cursor.progress.place);
      await this.#open();
      const end = await this.#follow(reader);
      await this.#call((signal) => tracker.close(cursor.progress.end ?? end, signal));
      cursor.save({closed: true});
      if (tracker.offline === true) return {name, complete: false, message: 'it is offline: local files only'};
      return {name, complete: true, message: null};
    } catch (error) {
      const message = redact(error instanceof Error ? error.message : String(error));
      notice(`${name}: ${message}. The rest is in the journal: ${syncCommand(run.directory)}`);
      cursor.save({failure: message});
      return {name, complete: false, message};
    } finally {
      this.#end.dispose();
      reader?.close();
      await tracker.dispose?.();
    }
  }

  async #open(): Promise<void> {
    const {run, tracker} = this.#options;
    const {remote: before, seq, state: stateBefore} = this.#cursor.progress;
    const cursor = before === null ? undefined : {seq, state: stateBefore};
    const {state, ...remote} = await this.#call((signal) => tracker.open(run, cursor, signal));
    this.#cursor.save({state, remote, closed: false, failure: null});
  }

  /** Sends what the journal has until the run has ended and nothing is left. @returns how it ended */
  async #follow(reader: JournalReader): Promise<End> {
    const {tracker} = this.#options;
    const heartbeatMs = tracker.heartbeatMs ?? 30_000;
    let lastCall = this.#clock.now();
    for (;;) {
      // Before reading: what is written until the end is read once more after it.
      const end = this.#end.value;
      if (end === undefined) await this.#logSystem();
      const lines = reader.read(batchLimit);
      if (lines.length > 0) {
        await this.#push(
          lines.filter(({seq}) => seq > this.#cursor.progress.seq),
          reader,
        );
        lastCall = this.#clock.now();
        continue;
      }
      if (end !== undefined) return end;
      if (tracker.heartbeat !== undefined && this.#clock.now() - lastCall >= heartbeatMs) {
        await this.#call(async (signal) => tracker.heartbeat?.(signal));
        lastCall = this.#clock.now();
      }
      await this.#clock.wait(pollMs, this.#end.ended);
    }
  }

  /** Sends a sample of the machine's load when one is due: one at a time, however long the server does not answer. */
  async #logSystem(): Promise<void> {
    const {systemMetrics, tracker} = this.#options;
    if (systemMetrics === undefined || tracker.logSystem === undefined) return;
    if (this.#clock.now() - this.#lastSample < systemIntervalMs) return;
    const sample = {ts: Date.now(), metrics: systemMetrics()};
    await this.#call(async (signal) => tracker.logSystem?.(sample, signal));
    this.#lastSample = this.#clock.now();
  }

  async #push(events: readonly Event[], reader: JournalReader): Promise<void> {
    const {name, notice, redact, tracker} = this.#options;
    const cursor = this.#cursor;
    const {accepted, change, regressions} = select(events, cursor.progress);
    if (regressions > 0 && !this.#hasRegression) {
      notice(`${name}: a row's step is below the one before it; such rows stay in the journal and are not sent.`);
      this.#hasRegression = true;
    }
    for (let rest = accepted; rest.length > 0;) {
      const batch = rest;
      const {refused = [], seq, state} = await this.#call((signal) => tracker.push(batch, signal));
      if (seq < item(batch, 0).seq) throw new TrackerError('the tracker took nothing', {kind: 'permanent'});
      const [first] = refused;
      if (first !== undefined) {
        const more = refused.length === 1 ? '' : ` (and ${refused.length - 1} more)`;
        notice(redact(`${name}: event ${first.seq} is not sent: ${first.reason}${more}`));
      }
      cursor.change({state, refused: cursor.progress.refused + refused.length, closed: false});
      rest = batch.filter((event) => event.seq > seq);
      if (rest.length > 0) cursor.save({seq});
    }
    const place = reader.place();
    cursor.save({...change, seq: place.seq, place, closed: false, refused: cursor.progress.refused + regressions});
  }

  /** A call of the tracker; afterwards it is asked whether the server wants the run to stop. */
  async #call<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const {onStopRequest, tracker} = this.#options;
    const result = await this.#retrier.attempt(call);
    if (!this.#hasStopRequest && tracker.stopRequested?.() === true) {
      this.#hasStopRequest = true;
      onStopRequest?.();
    }
    return result;
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
