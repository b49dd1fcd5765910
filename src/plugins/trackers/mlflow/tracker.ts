/** One run at an MLflow server: finding or making it, and ending it; push.ts sends what is logged between. */
import {userInfo} from 'node:os';

import {item, present} from '../../../lookup.ts';
import type {
  Cursor,
  End,
  Event,
  FinalStatus,
  Json,
  Pushed,
  RemoteRun,
  SystemSample,
  TrackedRun,
  Tracker,
  TrackerContext,
} from '../../../plugin-api/tracker.ts';
import {sendReport} from './artifacts.ts';
import {connect, type Connection} from './connection.ts';
import {paramEntries, tagEntries} from './entries.ts';
import {closeChild, Push, type Remote, type State} from './push.ts';
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
} from './runs.ts';
import {systemEntries} from './system.ts';

export interface MlflowOptions {
  readonly uri?: string;
  readonly experiment?: string;
  readonly runName?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly artifacts: readonly string[];
  readonly registry?: string;
}

const statuses: Readonly<Record<FinalStatus, string>> = {finished: 'FINISHED', failed: 'FAILED', killed: 'KILLED'};

export class MlflowTracker implements Tracker {
  readonly #context: TrackerContext<MlflowOptions>;
  readonly #timeoutMs: number;
  #remote: Remote | undefined;

  /** @param timeoutMs longest wait for one answer */
  constructor(context: TrackerContext<MlflowOptions>, timeoutMs: number) {
    this.#context = context;
    this.#timeoutMs = timeoutMs;
  }

  async open(
    run: TrackedRun,
    cursor: Cursor | undefined,
    signal: AbortSignal,
  ): Promise<RemoteRun & {readonly state: Json}> {
    const {env, options} = this.#context;
    const connection = connect(options.uri, env, this.#timeoutMs);
    const state =
      cursor === undefined
        ? await firstState(connection, run, this.#context, signal)
        : (cursor.state as unknown as State);
    this.#remote = {connection, run, state};
    await updateRun(connection, state.run, {status: 'RUNNING'}, signal);
    const entries = [
      ...paramEntries(run.config),
      ...tagEntries({...versionTags(run), ...options.tags, 'sdq.run_uid': run.uid}),
    ].map((entry) => ({...entry, seq: 0}));
    const refused = await sendEntries(connection, state.run, entries, signal);
    if (refused.length > 0)
      this.#context.notice(`mlflow: ${refused.length} params or tags are not taken: ${item(refused, 0).reason}`);
    return {
      id: state.run,
      url: `${connection.page}/#/experiments/${state.experiment}/runs/${state.run}`,
      state: state as unknown as Json,
    };
  }

  async push(batch: readonly Event[], signal: AbortSignal): Promise<Pushed> {
    const {artifacts: types, registry} = this.#context.options;
    const push = new Push(present(this.#remote, 'open run'), {types, registry}, signal);
    return push.send(batch);
  }

  async close({exitCode, status, ts}: End, signal: AbortSignal): Promise<void> {
    const remote = present(this.#remote, 'open run');
    for (const phase of Object.keys(remote.state.children)) {
      await closeChild(remote, phase, {status: statuses[status], end_time: ts}, signal);
    }
    const exit = {list: 'tags', item: {key: 'sdq.exit_code', value: String(exitCode)}} as const;
    await logBatch(remote.connection, remote.state.run, [exit], signal);
    await updateRun(remote.connection, remote.state.run, {status: statuses[status], end_time: ts}, signal);
    const reason = this.#context.options.artifacts.includes('report') ? await sendReport(remote, signal) : undefined;
    if (reason !== undefined) this.#context.notice(`mlflow: report.html is not sent: ${reason}`);
  }

  async logSystem(sample: SystemSample, signal: AbortSignal): Promise<void> {
    const {connection, run, state} = present(this.#remote, 'open run');
    await logBatch(connection, state.run, systemEntries(sample, run.startedAt), signal);
  }
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
  const runs = await findRuns(connection, experiment, run.uid, signal);
  const created = {experiment, name: options.runName ?? run.id, tags: sourceTags(run, env), startedAt: run.startedAt};
  return {
    parent: attached ?? runs.find(({phase}) => phase === undefined) ?? (await createRun(connection, created, signal)),
    children: runs.filter(({phase}) => phase !== undefined),
  };
}

function experimentName({experiment}: MlflowOptions, env: TrackerContext['env']): string {
  const name = env['MLFLOW_EXPERIMENT_NAME'];
  return name === undefined || name === '' ? (experiment ?? 'Default') : name;
}

/** As Python's `getpass.getuser`, which MLflow's own client asks. */
function userName(env: TrackerContext['env']): string | undefined {
  const name = ['LOGNAME', 'USER', 'LNAME', 'USERNAME'].map((variable) => env[variable]).find(Boolean);
  try {
    return name ?? userInfo().username;
  } catch {
    // A container may run as a number that has no name.
    return undefined;
  }
}

/** The names that MLflow's pages show. */
function sourceTags({command, git, uid}: TrackedRun, env: TrackerContext['env']): Readonly<Record<string, string>> {
  const user = userName(env);
  return {
    'sdq.run_uid': uid,
    ...(user === undefined ? {} : {'mlflow.user': user}),
    'mlflow.source.type': 'LOCAL',
    'mlflow.source.name': `sdq ${command}`,
    ...(git === null ? {} : {'mlflow.source.git.commit': git.commit}),
    ...(git?.branch === undefined ? {} : {'mlflow.source.git.branch': git.branch}),
    ...(git?.remote === undefined ? {} : {'mlflow.source.git.repoURL': git.remote}),
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
