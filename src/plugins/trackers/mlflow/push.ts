/** What of the journal goes to which run of an MLflow server, in one call. */
import {last, present} from '../../../lookup.ts';
import type {Cursor, Event, Json, Pushed, Refusal, TrackedRun} from '../../../plugin-api/tracker.ts';
import {sendArtifact, type WantedArtifacts} from './artifacts.ts';
import type {Connection} from './connection.ts';
import {entriesOf, paramEntries} from './entries.ts';
import {adopt, createRun, findRuns, sendEntries, updateRun, type Sent} from './runs.ts';

const phases = ['pretrain', 'search', 'train'];

/** What is kept between processes. */
export interface State {
  readonly run: string;
  /** `mlflow-artifacts:/…` of the run. */
  readonly artifacts: string;
  readonly experiment: string;
  /** Child runs by phase, and whether each is still running. */
  readonly children: Readonly<Record<string, {readonly run: string; readonly open: boolean}>>;
  /** Of the last metric. */
  readonly step: number;
}

/** The open run. */
export interface Remote {
  readonly connection: Connection;
  readonly run: TrackedRun;
  state: State;
}

/** Gathers entries for one run of the server at a time and sends them when another one follows. */
export class Push {
  readonly #remote: Remote;
  readonly #artifacts: WantedArtifacts;
  readonly #signal: AbortSignal;
  readonly #refused: Refusal[] = [];
  #waiting: {readonly run: string; readonly entries: Sent[]} | undefined;
  /** Of the last metric. */
  #step: number;
  #sent: Cursor | undefined;

  constructor(remote: Remote, artifacts: WantedArtifacts, signal: AbortSignal) {
    this.#remote = remote;
    this.#artifacts = artifacts;
    this.#signal = signal;
    this.#step = remote.state.step;
  }

  /** @returns the cursor of what was sent, also where a later event failed. @throws TrackerError when nothing was sent */
  async send(batch: readonly Event[]): Promise<Pushed> {
    try {
      for (const [index, event] of batch.entries()) await this.#take(event, batch[index - 1]);
      await this.#flush(last(batch));
    } catch (error) {
      if (this.#sent === undefined) throw error;
    }
    const {seq, state} = present(this.#sent, 'cursor');
    const refused = new Map(
      this.#refused.filter((refusal) => refusal.seq <= seq).map((refusal) => [refusal.seq, refusal]),
    );
    return {seq, state, refused: [...refused.values()]};
  }

  async #take(event: Event, before: Event | undefined): Promise<void> {
    const isMetric = event.kind === 'metric';
    if (isMetric) this.#step = event.step ?? this.#step;
    const phase = isMetric && this.#remote.run.command === 'run' ? phaseOf(event) : undefined;
    const target =
      phase === undefined
        ? this.#remote.state.run
        : await openChild(this.#remote, {phase, startedAt: event.ts}, this.#signal);
    if (this.#waiting !== undefined && this.#waiting.run !== target)
      await this.#flush(present(before, 'earlier event'));
    this.#waiting ??= {run: target, entries: []};
    for (const entry of entriesOf(event, event.step ?? this.#step)) {
      this.#waiting.entries.push({...entry, seq: event.seq});
    }
    if (event.kind === 'artifact') {
      await this.#sendWaiting();
      const reason = await sendArtifact(this.#remote, this.#artifacts, event, this.#signal);
      if (reason !== undefined) this.#refused.push({seq: event.seq, reason});
      this.#reach(event);
    } else if (event.kind === 'summary') {
      await this.#sendWaiting();
      for (const name of phases.filter((key) => key in event.data)) {
        await closeChild(this.#remote, name, {status: 'FINISHED', end_time: event.ts}, this.#signal);
      }
      this.#reach(event);
    }
  }

  /** Sends what waits; all up to `event` is then at the server. */
  async #flush(event: Event): Promise<void> {
    await this.#sendWaiting();
    this.#reach(event);
  }

  async #sendWaiting(): Promise<void> {
    if (this.#waiting === undefined) return;
    const {entries, run} = this.#waiting;
    this.#refused.push(...(await sendEntries(this.#remote.connection, run, entries, this.#signal)));
    this.#waiting = undefined;
  }

  #reach({seq}: Event): void {
    this.#remote.state = {...this.#remote.state, step: this.#step};
    this.#sent = {seq, state: this.#remote.state as unknown as Json};
  }
}

/** The child run of a phase, running; a lost answer to its creation is found again. @returns its id */
async function openChild(
  remote: Remote,
  {phase, startedAt}: {readonly phase: string; readonly startedAt: number},
  signal: AbortSignal,
): Promise<string> {
  const {connection, run, state} = remote;
  const {children, experiment, run: parent} = state;
  const known = children[phase];
  if (known?.open === true) return known.run;
  const lost =
    known === undefined
      ? (await findRuns(connection, experiment, run.uid, signal)).find((info) => info.phase === phase)
      : undefined;
  if (lost !== undefined) await adopt(connection, lost, parent, signal);
  const existing = known?.run ?? lost?.runId;
  if (existing !== undefined) await updateRun(connection, existing, {status: 'RUNNING'}, signal);
  const tags = {...childTags(run, parent), 'sdq.phase': phase};
  const id = existing ?? (await createRun(connection, {experiment, name: phase, tags, startedAt}, signal)).runId;
  if (known === undefined) await sendParams(connection, run, id, signal);
  remote.state = {...state, children: {...children, [phase]: {run: id, open: true}}};
  return id;
}

/** The settings, so that child runs can be compared too. The parent has already reported what the server refuses. */
async function sendParams(
  connection: Connection,
  {config}: TrackedRun,
  child: string,
  signal: AbortSignal,
): Promise<void> {
  const entries = paramEntries(config).map((entry) => ({...entry, seq: 0}));
  await sendEntries(connection, child, entries, signal);
}

/** Ends the child run of a phase, where there is one that still runs. */
export async function closeChild(
  remote: Remote,
  phase: string,
  end: {readonly status: string; readonly end_time: number},
  signal: AbortSignal,
): Promise<void> {
  const {connection, state} = remote;
  const child = state.children[phase];
  if (child?.open !== true) return;
  await updateRun(connection, child.run, end, signal);
  remote.state = {...state, children: {...state.children, [phase]: {...child, open: false}}};
}

/** A phase's row has a name like `search/loss`. */
function phaseOf({data}: Event): string | undefined {
  const names = Object.keys(data);
  if (names.some((name) => name.startsWith('dbp/'))) return 'search';
  return phases.find((phase) => names.some((name) => name.startsWith(`${phase}/`)));
}

function childTags({command, uid}: TrackedRun, parent: string): Readonly<Record<string, string>> {
  return {'sdq.run_uid': uid, 'mlflow.parentRunId': parent, 'mlflow.source.name': `sdq ${command}`};
}
