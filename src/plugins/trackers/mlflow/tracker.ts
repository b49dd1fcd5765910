/** One run at MLflow: its parent run, a child run for each phase, and what of the journal goes to which of them. */
import {statSync} from 'node:fs';
import path from 'node:path';

import {item, last, present} from '../../../lookup.ts';
import type {
  Cursor,
  Event,
  FinalStatus,
  Json,
  Refusal,
  TrackedRun,
  Tracker,
  TrackerContext,
} from '../../../plugin-api/tracker.ts';
import {connect, type Connection} from './connection.ts';
import {entriesOf, paramEntries, tagEntries} from './entries.ts';
import {
  adopt,
  createRun,
  experimentId,
  findRuns,
  getRun,
  logBatch,
  sendEntries,
  updateRun,
  type RemoteInfo,
  type Sent,
} from './runs.ts';

export interface MlflowOptions {
  readonly uri?: string;
  readonly experiment?: string;
  readonly runName?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly artifacts: readonly string[];
}

const phases = ['pretrain', 'search', 'train'];
const statuses: Readonly<Record<FinalStatus, string>> = {finished: 'FINISHED', failed: 'FAILED', killed: 'KILLED'};

/** What is kept between processes. */
interface State {
  readonly run: string;
  /** `mlflow-artifacts:/…` of the run. */
  readonly artifacts: string;
  readonly experiment: string;
  /** Child runs by phase, and whether each is still running. */
  readonly children: Readonly<Record<string, {readonly run: string; readonly open: boolean}>>;
  /** Of the last metric. */
  readonly step: number;
}

/** @param timeoutMs longest wait for one answer */
export function createMlflowTracker(context: TrackerContext<MlflowOptions>, timeoutMs: number): Tracker {
  const {env, options} = context;
  let connection: Connection;
  let run: TrackedRun;
  let state: State;

  const childRun = async (phase: string, startedAt: number, signal: AbortSignal): Promise<string> => {
    const known = state.children[phase];
    if (known?.open === true) return known.run;
    const id = await openChild(connection, run, state, {phase, startedAt}, signal);
    state = {...state, children: {...state.children, [phase]: {run: id, open: true}}};
    return id;
  };

  const closeChild = async (phase: string, status: string, at: number, signal: AbortSignal): Promise<void> => {
    const child = state.children[phase];
    if (child?.open !== true) return;
    await updateRun(connection, child.run, {status, end_time: at}, signal);
    state = {...state, children: {...state.children, [phase]: {...child, open: false}}};
  };

  return {
    async open(tracked, cursor, signal) {
      run = tracked;
      connection = connect(options.uri, env, timeoutMs);
      if (cursor !== undefined) {
        state = cursor.state as unknown as State;
      } else {
        state = await firstState(connection, run, context, signal);
      }
      await updateRun(connection, state.run, {status: 'RUNNING'}, signal);
      const entries = [
        ...paramEntries(run.config),
        ...tagEntries({...versionTags(run), ...options.tags, 'sdq.run_uid': run.uid}),
      ].map((entry) => ({...entry, seq: 0}));
      const refused = await sendEntries(connection, state.run, entries, signal);
      if (refused.length > 0)
        context.notice(`mlflow: ${refused.length} params or tags are not taken: ${item(refused, 0).reason}`);
      return {
        id: state.run,
        url: `${connection.page}/#/experiments/${state.experiment}/runs/${state.run}`,
        state: state as unknown as Json,
      };
    },

    async push(batch, signal) {
      const refused: Refusal[] = [];
      let done: Cursor | undefined;
      let waiting: {readonly run: string; readonly entries: Sent[]} | undefined;
      let {step} = state;
      const flush = async (): Promise<void> => {
        if (waiting !== undefined)
          refused.push(...(await sendEntries(connection, waiting.run, waiting.entries, signal)));
        waiting = undefined;
      };
      const reached = (seq: number): void => {
        state = {...state, step};
        done = {seq, state: state as unknown as Json};
      };
      let before: number | undefined;
      try {
        for (const event of batch) {
          if (event.kind === 'metric') step = event.step ?? step;
          const phase = event.kind === 'metric' && run.command === 'run' ? phaseOf(event) : undefined;
          const target = phase === undefined ? state.run : await childRun(phase, event.ts, signal);
          if (waiting !== undefined && waiting.run !== target) {
            await flush();
            reached(present(before, 'earlier state'));
          }
          waiting ??= {run: target, entries: []};
          for (const entry of entriesOf(event, event.step ?? step)) waiting.entries.push({...entry, seq: event.seq});
          if (event.kind === 'artifact') {
            await flush();
            const reason = await sendArtifact(connection, run, state, options.artifacts, event, signal);
            if (reason !== undefined) refused.push({seq: event.seq, reason});
            reached(event.seq);
          }
          if (event.kind === 'summary') {
            await flush();
            for (const name of phases.filter((key) => key in event.data)) {
              await closeChild(name, 'FINISHED', event.ts, signal);
            }
            reached(event.seq);
          }
          before = event.seq;
        }
        await flush();
        reached(last(batch).seq);
      } catch (error) {
        if (done === undefined) throw error;
      }
      const {seq, state: reachedState} = present(done, 'record');
      const once = new Map(refused.filter((refusal) => refusal.seq <= seq).map((refusal) => [refusal.seq, refusal]));
      return {seq, state: reachedState, refused: [...once.values()]};
    },

    async close({exitCode, status, ts}, signal) {
      for (const phase of Object.keys(state.children)) await closeChild(phase, statuses[status], ts, signal);
      const exit = {list: 'tags', item: {key: 'sdq.exit_code', value: String(exitCode)}} as const;
      await logBatch(connection, state.run, [exit], signal);
      await updateRun(connection, state.run, {status: statuses[status], end_time: ts}, signal);
    },
  };
}

/** The child run of a phase, running; a lost answer to its creation is found again. */
async function openChild(
  connection: Connection,
  run: TrackedRun,
  {children, experiment, run: parent}: State,
  {phase, startedAt}: {readonly phase: string; readonly startedAt: number},
  signal: AbortSignal,
): Promise<string> {
  const known = children[phase];
  const lost =
    known === undefined
      ? (await findRuns(connection, experiment, run.uid, signal)).find((info) => info.phase === phase)
      : undefined;
  if (lost !== undefined) await adopt(connection, lost, parent, signal);
  const existing = known?.run ?? lost?.runId;
  if (existing !== undefined) await updateRun(connection, existing, {status: 'RUNNING'}, signal);
  const tags = {...childTags(run, parent), 'sdq.phase': phase};
  return existing ?? (await createRun(connection, {experiment, name: phase, tags, startedAt}, signal)).runId;
}

/** @returns why it cannot be sent, or undefined when it was sent or is not wanted */
async function sendArtifact(
  connection: Connection,
  {directory}: TrackedRun,
  state: State,
  types: readonly string[],
  {data}: Event,
  signal: AbortSignal,
): Promise<string | undefined> {
  const type = String(data['type']);
  if (!types.includes(type)) return undefined;
  const prefix = /^mlflow-artifacts:(?:\/\/[^/]*)?\/(.*)$/.exec(state.artifacts)?.[1];
  if (prefix === undefined) {
    return `the server keeps artifacts at ${state.artifacts}, not behind itself; start it with --serve-artifacts.`;
  }
  if (type === 'table') {
    const place = `tables/${String(data['name'])}.json`;
    const table = JSON.stringify({columns: data['columns'], data: data['rows']});
    await connection.putArtifact(`${prefix}/${place}`, table, signal);
    // What `mlflow.log_table` sets, so that the server's pages show it as a table.
    const value = JSON.stringify([{path: place, type: 'table'}]);
    const tag = {list: 'tags', item: {key: 'mlflow.loggedArtifacts', value}} as const;
    await logBatch(connection, state.run, [tag], signal);
    return undefined;
  }
  const file = path.resolve(directory, String(data['path']));
  const stat = statSync(file, {throwIfNoEntry: false});
  if (stat?.isFile() !== true) return `${file} is not there any more.`;
  await connection.putArtifact(`${prefix}/${type}/${path.basename(file)}`, {file, size: stat.size}, signal);
  return undefined;
}

async function firstState(
  connection: Connection,
  run: TrackedRun,
  context: TrackerContext<MlflowOptions>,
  signal: AbortSignal,
): Promise<State> {
  const {children, parent} = await parentRun(connection, run, context, signal);
  for (const child of children) await adopt(connection, child, parent.runId, signal);
  const known = children.map(({phase, runId}) => [present(phase, 'phase'), {run: runId, open: false}] as const);
  return {
    run: parent.runId,
    artifacts: parent.artifacts,
    experiment: parent.experiment,
    children: Object.fromEntries(known),
    step: 0,
  };
}

/** The run at the server: the one of MLFLOW_RUN_ID, one with our tag, or a new one. */
async function parentRun(
  connection: Connection,
  run: TrackedRun,
  {env, options}: TrackerContext<MlflowOptions>,
  signal: AbortSignal,
): Promise<{parent: RemoteInfo; children: readonly RemoteInfo[]}> {
  const given = env['MLFLOW_RUN_ID'];
  const attached = given === undefined || given === '' ? undefined : await getRun(connection, given, signal);
  const experiment = attached?.experiment ?? (await experimentId(connection, experimentName(options, env), signal));
  const found = await findRuns(connection, experiment, run.uid, signal);
  const created = {experiment, name: options.runName ?? run.id, tags: sourceTags(run), startedAt: run.startedAt};
  return {
    parent: attached ?? found.find(({phase}) => phase === undefined) ?? (await createRun(connection, created, signal)),
    children: found.filter(({phase}) => phase !== undefined),
  };
}

/** A phase's row has a name like `search/loss`. */
function phaseOf({data}: Event): string | undefined {
  const names = Object.keys(data);
  if (names.some((name) => name.startsWith('dbp/'))) return 'search';
  return phases.find((phase) => names.some((name) => name.startsWith(`${phase}/`)));
}

function experimentName({experiment}: MlflowOptions, env: TrackerContext['env']): string {
  const name = env['MLFLOW_EXPERIMENT_NAME'];
  return name === undefined || name === '' ? (experiment ?? 'Default') : name;
}

/** The names that MLflow's pages show. */
function sourceTags({command, git, uid}: TrackedRun): Readonly<Record<string, string>> {
  return {
    'sdq.run_uid': uid,
    'mlflow.source.type': 'LOCAL',
    'mlflow.source.name': `sdq ${command}`,
    ...(git === null ? {} : {'mlflow.source.git.commit': git.commit}),
  };
}

function childTags({command, uid}: TrackedRun, parent: string): Readonly<Record<string, string>> {
  return {'sdq.run_uid': uid, 'mlflow.parentRunId': parent, 'mlflow.source.name': `sdq ${command}`};
}

function versionTags({command, git, id, versions}: TrackedRun): Readonly<Record<string, string>> {
  return {
    'sdq.run_id': id,
    'sdq.command': command,
    ...Object.fromEntries(Object.entries(versions).map(([name, version]) => [`version.${name}`, version])),
    ...(git === null ? {} : {'git.dirty': String(git.dirty)}),
  };
}
