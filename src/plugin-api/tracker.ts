/**
 * What a tracker is: it gets the journal of a run in batches and says what of it is safely at its server. The pump
 * (pump.ts) reads the journal, keeps the cursor, retries and waits; a tracker only sends.
 *
 * A tracker works on a thread of its own, beside the training. It keeps no state outside of the object that `create`
 * returns, because one process may have several runs.
 */
import type {Event} from '../runs/journal.ts';

export type {ImageBoxes} from '../runs/artifacts.ts';
export type {Event} from '../runs/journal.ts';
export {codeFolder, diffFile} from '../runs/source-files.ts';

export type Json = null | boolean | number | string | readonly Json[] | {readonly [key: string]: Json};

/** A run as a tracker introduces it to its server. */
export interface TrackedRun {
  /** Unique over all machines; a server that knows it already has this run. */
  readonly uid: string;
  /** Name of the run and of its folder, e.g. `20261123-211016-run-d13f`. */
  readonly id: string;
  /** `run`, `search`, `train` or `pretrain`. */
  readonly command: string;
  /** The run's folder, absolute: paths of artifacts start here. */
  readonly directory: string;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly startedAt: number;
  readonly seed: number;
  /** The resolved config. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly versions: Readonly<Record<string, string>>;
  readonly git: {
    readonly commit: string;
    readonly dirty: boolean;
    readonly branch?: string;
    /** Without user name and password. */
    readonly remote?: string;
  } | null;
}

/** The run at the server. */
export interface RemoteRun {
  readonly id: string;
  /** Page of the run, without user name and password. */
  readonly url?: string;
}

/** An event that the server will never take. */
export interface Refusal {
  readonly seq: number;
  /** One sentence. */
  readonly reason: string;
}

/** What is safely at the server. */
export interface Cursor {
  /** Every event up to this one is there, or was refused. */
  readonly seq: number;
  /** What the tracker needs to go on, in this process or in a later one; kept in the run's folder. No secrets. */
  readonly state: Json;
}

/** What one `push` achieved. */
export interface Pushed extends Cursor {
  /** Events of this batch that the server will never take; they count as failed. */
  readonly refused?: readonly Refusal[];
}

/** Load of the machine and the process at one moment, while the run is on. */
export interface SystemSample {
  /** Milliseconds since 1970-01-01 UTC. */
  readonly ts: number;
  /** Names and figures as `systemMetrics` of src/tracking/system-metrics.ts gives them. */
  readonly metrics: Readonly<Record<string, number>>;
}

export type FinalStatus = 'finished' | 'failed' | 'killed';

export interface End {
  readonly status: FinalStatus;
  readonly exitCode: number;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly ts: number;
}

/** The connection of one run to one server. Calls never overlap; every call must end soon after `signal` aborts. */
export interface Tracker {
  /**
   * Makes the run at the server, or finds it by its `uid` or by what `cursor.state` says; called once for each process
   * that sends, again after a failure, and also for a run that had been closed and was resumed.
   * @param cursor of an earlier process, or undefined
   * @throws TrackerError
   */
  open(run: TrackedRun, cursor: Cursor | undefined, signal: AbortSignal): Promise<RemoteRun & {readonly state: Json}>;
  /**
   * Sends events, in their order: never empty, `end` is not among them, steps of metrics never fall. After part of a batch
   * return the cursor of that part; the rest comes again. A batch may come twice (the cursor was lost): no doubles then.
   * @throws TrackerError when nothing could be sent
   */
  push(batch: readonly Event[], signal: AbortSignal): Promise<Pushed>;
  /** Says how the run ended; nothing more is sent by this process. @throws TrackerError */
  close(end: End, signal: AbortSignal): Promise<void>;
  /** Writes local files only: what it takes does not count as sent, and the next process starts again without a cursor. */
  readonly offline?: boolean;
  /**
   * Sends the load of the machine: every 15 s while the run is on, never when an earlier run is synced. Samples are not in
   * the journal. The same sample may come twice. @throws TrackerError
   */
  logSystem?(sample: SystemSample, signal: AbortSignal): Promise<void>;
  /** Called when there was nothing to send for `heartbeatMs`. @throws TrackerError */
  heartbeat?(signal: AbortSignal): Promise<void>;
  readonly heartbeatMs?: number;
  /** Whether the server asked the run to stop; looked at after every call. */
  stopRequested?(): boolean;
  /** Frees what the tracker holds (files, processes), at the end of this process's work; never throws. */
  dispose?(): Promise<void>;
}

/** What a tracker is made with. */
export interface TrackerContext<Options = Readonly<Record<string, unknown>>> {
  readonly options: Options;
  /** The environment: where keys and passwords come from. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The working folder of the command. */
  readonly cwd: string;
  /** One line for the user, e.g. that there is no key and the run is kept offline. */
  notice(message: string): void;
}

/** Whether a tracker could be used now. */
export interface TrackerProbe {
  readonly available: boolean;
  /** Why, and what to do about it: one sentence. */
  readonly reason: string;
}

/**
 * A failure to send. `transient` ones (no connection, 5xx, 429, no answer, an answer that cannot be read) are tried again;
 * after a `permanent` one (401, 403, 404, …) the process stops sending, and `sdq track sync` sends the rest later.
 * Any other error counts as permanent.
 */
export class TrackerError extends Error {
  readonly kind: 'transient' | 'permanent';
  /** Of the answer, where it had one. */
  readonly status: number | undefined;
  /** What `Retry-After` asks for. */
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    options: {
      readonly kind: 'transient' | 'permanent';
      readonly status?: number | undefined;
      readonly retryAfterMs?: number | undefined;
      readonly cause?: unknown;
    },
  ) {
    super(message, options.cause === undefined ? undefined : {cause: options.cause});
    this.name = 'TrackerError';
    this.kind = options.kind;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
  }
}
