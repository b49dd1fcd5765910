/**
 * MLflow, over its REST API 2.0. `sdq run` becomes a parent run (params, tags, results, artifacts) with a child run for
 * each phase (its metrics); a run of one phase is one run. Sending twice makes no doubles: runs are found again by the tag
 * `sdq.run_uid`, and the server drops a metric with the same key, value, timestamp and step.
 */
import {statSync} from 'node:fs';
import path from 'node:path';

import type {TrackerDefinition} from '../../registry.ts';
import {
  TrackerError,
  type Cursor,
  type Event,
  type FinalStatus,
  type Json,
  type Refusal,
  type TrackedRun,
  type Tracker,
  type TrackerContext,
} from '../../../tracking/tracker.ts';
import {connect, type Answer, type Connection} from './connection.ts';
import {batches, entriesOf, paramEntries, tagEntries, type Entry} from './entries.ts';

interface MlflowOptions {
  readonly uri?: string;
  readonly experiment?: string;
  readonly runName?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly artifacts: readonly string[];
}

const optionsSchema = {
  type: 'object',
  properties: {
    uri: {
      description: 'Address of the server; MLFLOW_TRACKING_URI goes before it.',
      type: 'string',
      minLength: 1,
      examples: ['http://127.0.0.1:5000'],
    },
    experiment: {
      description:
        'Name of the experiment, made when it is not there; MLFLOW_EXPERIMENT_NAME goes before it. Default: `Default`.',
      type: 'string',
      minLength: 1,
    },
    runName: {description: "Name of the run at the server; without it the run's id.", type: 'string', minLength: 1},
    tags: {
      description: 'Tags of the run.',
      type: 'object',
      additionalProperties: {type: 'string'},
    },
    artifacts: {
      description:
        'What is sent beside numbers: `strategy`, `table` and `image` (bits per layer), `checkpoint` (the weights after each phase).',
      type: 'array',
      items: {enum: ['strategy', 'table', 'image', 'checkpoint']},
      uniqueItems: true,
      default: ['strategy', 'table', 'image'],
    },
  },
};

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

interface RemoteInfo {
  readonly runId: string;
  readonly artifacts: string;
  readonly experiment: string;
  readonly phase: string | undefined;
}

interface Sent extends Record<'seq', number> {
  readonly entry: Entry;
}

/** @param timeoutMs longest wait for one answer */
export function mlflowTracker(timeoutMs: number): TrackerDefinition<MlflowOptions> {
  return {
    kind: 'tracker',
    name: 'mlflow',
    summary: 'An MLflow server: params, metrics, tags and artifacts, a child run for each phase.',
    optionsSchema,
    async probe({env, options}, signal) {
      try {
        const connection = connect(options.uri, env, timeoutMs);
        await connection.post('experiments/search', {max_results: 1}, signal);
        return {available: true, reason: `The server at ${connection.page} answers.`};
      } catch (error) {
        return {available: false, reason: `${(error as Error).message}.`};
      }
    },
    create: (context) => createMlflow(context, timeoutMs),
  };
}

export const mlflow = mlflowTracker(30_000);

function createMlflow(context: TrackerContext<MlflowOptions>, timeoutMs: number): Tracker {
  const {env, options} = context;
  let connection: Connection;
  let run: TrackedRun;
  let state: State;

  const findRuns = async (experiment: string, signal: AbortSignal): Promise<readonly RemoteInfo[]> => {
    const filter = `tags."sdq.run_uid" = '${run.uid}'`;
    const answer = await connection.post(
      'runs/search',
      {experiment_ids: [experiment], filter, max_results: 100},
      signal,
    );
    return ((answer['runs'] ?? []) as readonly Answer[]).map(infoOf);
  };

  const createRun = async (
    experiment: string,
    name: string,
    tags: Readonly<Record<string, string>>,
    startedAt: number,
    signal: AbortSignal,
  ): Promise<RemoteInfo> => {
    const answer = await connection.post(
      'runs/create',
      {
        experiment_id: experiment,
        run_name: name,
        start_time: startedAt,
        tags: Object.entries({'sdq.run_uid': run.uid, ...tags}).map(([key, value]) => ({key, value})),
      },
      signal,
    );
    return infoOf(answer['run']);
  };

  const updateRun = (id: string, change: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<Answer> =>
    connection.post('runs/update', {run_id: id, ...change}, signal);

  /** The run at the server: the one of MLFLOW_RUN_ID, one with our tag, or a new one. */
  const parentRun = async (signal: AbortSignal): Promise<{parent: RemoteInfo; children: readonly RemoteInfo[]}> => {
    const given = env['MLFLOW_RUN_ID'];
    const attached =
      given === undefined || given === ''
        ? undefined
        : infoOf((await connection.get('runs/get', {run_id: given}, signal))['run']);
    const experiment = attached?.experiment ?? (await experimentId(connection, experimentName(options, env), signal));
    const found = await findRuns(experiment, signal);
    const children = found.filter(({phase}) => phase !== undefined);
    const parent =
      attached ??
      found.find(({phase}) => phase === undefined) ??
      (await createRun(experiment, options.runName ?? run.id, sourceTags(run), run.startedAt, signal));
    return {parent, children};
  };

  /** The child run of a phase; a lost answer to its creation is found again. */
  const childRun = async (phase: string, startedAt: number, signal: AbortSignal): Promise<string> => {
    const known = state.children[phase];
    if (known?.open === true) return known.run;
    const found = known?.run ?? (await findRuns(state.experiment, signal)).find((info) => info.phase === phase)?.runId;
    if (found !== undefined) await updateRun(found, {status: 'RUNNING'}, signal);
    const id =
      found ??
      (
        await createRun(
          state.experiment,
          phase,
          {'sdq.phase': phase, 'mlflow.parentRunId': state.run, 'mlflow.source.name': `sdq ${run.command}`},
          startedAt,
          signal,
        )
      ).runId;
    state = {...state, children: {...state.children, [phase]: {run: id, open: true}}};
    return id;
  };

  const closeChild = async (phase: string, status: string, at: number, signal: AbortSignal): Promise<void> => {
    const child = state.children[phase];
    if (child?.open !== true) return;
    await updateRun(child.run, {status, end_time: at}, signal);
    state = {...state, children: {...state.children, [phase]: {...child, open: false}}};
  };

  const logBatch = async (id: string, entries: readonly Entry[], signal: AbortSignal): Promise<void> => {
    const list = (name: Entry['list']): readonly unknown[] =>
      entries.filter((entry) => entry.list === name).map(({item}) => item);
    const body = {run_id: id, metrics: list('metrics'), params: list('params'), tags: list('tags')};
    await connection.post('runs/log-batch', body, signal);
  };

  /** Sends entries; those that the server refuses are found by halving and returned. */
  const send = async (id: string, sent: readonly Sent[], signal: AbortSignal): Promise<readonly Refusal[]> => {
    const refused: Refusal[] = [];
    const sendPart = async (part: readonly Sent[]): Promise<void> => {
      try {
        await logBatch(
          id,
          part.map(({entry}) => entry),
          signal,
        );
      } catch (error) {
        if (!isAboutContent(error)) throw error;
        if (part.length === 1) {
          refused.push({seq: part[0]!.seq, reason: error.message});
          return;
        }
        const half = Math.ceil(part.length / 2);
        await sendPart(part.slice(0, half));
        await sendPart(part.slice(half));
      }
    };
    for (const entries of batches(sent.map(({entry, seq}) => ({...entry, seq})))) {
      await sendPart(entries.map(({seq, ...entry}) => ({seq, entry})));
    }
    return refused;
  };

  const artifactPrefix = (): string | undefined => /^mlflow-artifacts:(?:\/\/[^/]*)?\/(.*)$/.exec(state.artifacts)?.[1];

  /** @returns why it cannot be sent, or undefined when it was sent or is not wanted */
  const sendArtifact = async ({data}: Event, signal: AbortSignal): Promise<string | undefined> => {
    const type = String(data['type']);
    const name = String(data['name']);
    if (!options.artifacts.includes(type)) return undefined;
    const prefix = artifactPrefix();
    if (prefix === undefined) {
      return `the server keeps artifacts at ${state.artifacts}, not behind itself; start it with --serve-artifacts.`;
    }
    if (type === 'table') {
      const place = `tables/${name}.json`;
      await connection.putArtifact(
        `${prefix}/${place}`,
        JSON.stringify({columns: data['columns'], data: data['rows']}),
        signal,
      );
      // What `mlflow.log_table` sets, so that the server's pages show it as a table.
      const value = JSON.stringify([{path: place, type: 'table'}]);
      await logBatch(state.run, [{list: 'tags', item: {key: 'mlflow.loggedArtifacts', value}}], signal);
      return undefined;
    }
    const file = path.resolve(run.directory, String(data['path']));
    const stat = statSync(file, {throwIfNoEntry: false});
    if (stat?.isFile() !== true) return `${file} is not there any more.`;
    await connection.putArtifact(`${prefix}/${type}/${path.basename(file)}`, {file, size: stat.size}, signal);
    return undefined;
  };

  return {
    async open(tracked, cursor, signal) {
      run = tracked;
      connection = connect(options.uri, env, timeoutMs);
      if (cursor !== undefined) {
        state = cursor.state as unknown as State;
      } else {
        const {children, parent} = await parentRun(signal);
        const known = children.map(({phase, runId}) => [phase!, {run: runId, open: false}] as const);
        state = {
          run: parent.runId,
          artifacts: parent.artifacts,
          experiment: parent.experiment,
          children: Object.fromEntries(known),
          step: 0,
        };
      }
      await updateRun(state.run, {status: 'RUNNING'}, signal);
      const entries = [
        ...paramEntries(run.config),
        ...tagEntries({...versionTags(run), ...options.tags, 'sdq.run_uid': run.uid}),
      ];
      const refused = await send(
        state.run,
        entries.map((entry) => ({entry, seq: 0})),
        signal,
      );
      if (refused.length > 0)
        context.notice(`mlflow: ${refused.length} params or tags are not taken: ${refused[0]!.reason}`);
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
        if (waiting !== undefined) refused.push(...(await send(waiting.run, waiting.entries, signal)));
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
            reached(before!);
          }
          waiting ??= {run: target, entries: []};
          for (const entry of entriesOf(event, event.step ?? step)) waiting.entries.push({entry, seq: event.seq});
          if (event.kind === 'artifact') {
            await flush();
            const reason = await sendArtifact(event, signal);
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
        reached(batch.at(-1)!.seq);
      } catch (error) {
        if (done === undefined) throw error;
      }
      const {seq, state: reachedState} = done!;
      const once = new Map(refused.filter((refusal) => refusal.seq <= seq).map((refusal) => [refusal.seq, refusal]));
      return {seq, state: reachedState, refused: [...once.values()]};
    },

    async close({exitCode, status, ts}, signal) {
      for (const phase of Object.keys(state.children)) await closeChild(phase, statuses[status], ts, signal);
      const exit = {list: 'tags', item: {key: 'sdq.exit_code', value: String(exitCode)}} as const;
      await logBatch(state.run, [exit], signal);
      await updateRun(state.run, {status: statuses[status], end_time: ts}, signal);
    },
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

async function experimentId(connection: Connection, name: string, signal: AbortSignal): Promise<string> {
  const byName = async (): Promise<string> => {
    const answer = await connection.get('experiments/get-by-name', {experiment_name: name}, signal);
    return text((answer['experiment'] as Answer | undefined)?.['experiment_id'], 'experiments/get-by-name');
  };
  try {
    return await byName();
  } catch (error) {
    if (!(error instanceof TrackerError) || error.status !== 404) throw error;
  }
  try {
    const answer = await connection.post('experiments/create', {name}, signal);
    return text(answer['experiment_id'], 'experiments/create');
  } catch (error) {
    // Another process was faster.
    if (error instanceof TrackerError && error.status === 400) return byName();
    throw error;
  }
}

/** @throws TrackerError (transient) when the answer is not one of MLflow */
function text(value: unknown, where: string): string {
  if (typeof value === 'string' && value !== '') return value;
  throw new TrackerError(`${where}: the answer is not one of an MLflow server`, {kind: 'transient'});
}

function infoOf(run: unknown): RemoteInfo {
  const {data, info} = (run ?? {}) as {data?: Answer; info?: Answer};
  const tags = (data?.['tags'] ?? []) as readonly {readonly key: string; readonly value: string}[];
  return {
    runId: text(info?.['run_id'], 'runs'),
    artifacts: text(info?.['artifact_uri'], 'runs'),
    experiment: text(info?.['experiment_id'], 'runs'),
    phase: tags.find(({key}) => key === 'sdq.phase')?.value,
  };
}

/** The names that MLflow's pages show. */
function sourceTags({command, git}: TrackedRun): Readonly<Record<string, string>> {
  return {
    'mlflow.source.type': 'LOCAL',
    'mlflow.source.name': `sdq ${command}`,
    ...(git === null ? {} : {'mlflow.source.git.commit': git.commit}),
  };
}

function versionTags({command, git, id, versions}: TrackedRun): Readonly<Record<string, string>> {
  return {
    'sdq.run_id': id,
    'sdq.command': command,
    ...Object.fromEntries(Object.entries(versions).map(([name, version]) => [`version.${name}`, version])),
    ...(git === null ? {} : {'git.dirty': String(git.dirty)}),
  };
}

/** The server does not like what the batch holds, which is not so for a run or experiment that was deleted. */
function isAboutContent(error: unknown): error is TrackerError {
  return (
    error instanceof TrackerError &&
    (error.status === 400 || error.status === 413) &&
    !/active|deleted|not found/i.test(error.message)
  );
}
