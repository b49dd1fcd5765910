/** What is asked of an MLflow server about experiments and runs. */
import {item} from '../../../lookup.ts';
import {TrackerError, type Refusal} from '../../../plugin-api/tracker.ts';
import type {Answer, Connection} from './connection.ts';
import {batches, type Entry} from './entries.ts';

/** A run as the server has it. */
export interface RemoteInfo {
  readonly runId: string;
  /** `mlflow-artifacts:/…` of the run. */
  readonly artifacts: string;
  readonly experiment: string;
  /** Of a child run. */
  readonly phase: string | undefined;
  /** Id of the run that a child run is shown below. */
  readonly parent: string | undefined;
}

/** An entry and the event that it comes from. */
export type Sent = Entry & {readonly seq: number};

export interface NewRun {
  readonly experiment: string;
  readonly name: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly startedAt: number;
}

/** Finds the experiment by its name, or makes it. @returns its id */
export async function experimentId(connection: Connection, name: string, signal: AbortSignal): Promise<string> {
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

/** The run and its children, by the tag that each of them bears. */
export async function findRuns(
  connection: Connection,
  experiment: string,
  uid: string,
  signal: AbortSignal,
): Promise<readonly RemoteInfo[]> {
  const filter = `tags."sdq.run_uid" = '${uid}'`;
  const answer = await connection.post('runs/search', {experiment_ids: [experiment], filter, max_results: 100}, signal);
  return ((answer['runs'] ?? []) as readonly Answer[]).map(infoOf);
}

export async function getRun(connection: Connection, id: string, signal: AbortSignal): Promise<RemoteInfo> {
  return infoOf((await connection.get('runs/get', {run_id: id}, signal))['run']);
}

export async function createRun(
  connection: Connection,
  {experiment, name, startedAt, tags}: NewRun,
  signal: AbortSignal,
): Promise<RemoteInfo> {
  const body = {
    experiment_id: experiment,
    run_name: name,
    start_time: startedAt,
    tags: Object.entries(tags).map(([key, value]) => ({key, value})),
  };
  return infoOf((await connection.post('runs/create', body, signal))['run']);
}

export async function updateRun(
  connection: Connection,
  id: string,
  change: {readonly status: string; readonly end_time?: number},
  signal: AbortSignal,
): Promise<void> {
  await connection.post('runs/update', {run_id: id, ...change}, signal);
}

/** Shows a child run below this parent; its own may have been deleted. */
export async function adopt(
  connection: Connection,
  child: RemoteInfo,
  parent: string,
  signal: AbortSignal,
): Promise<void> {
  if (child.parent === parent) return;
  await connection.post('runs/set-tag', {run_id: child.runId, key: 'mlflow.parentRunId', value: parent}, signal);
}

export async function logBatch(
  connection: Connection,
  id: string,
  entries: readonly Entry[],
  signal: AbortSignal,
): Promise<void> {
  const list = (name: Entry['list']): readonly unknown[] =>
    entries.filter((entry) => entry.list === name).map(({item}) => item);
  const body = {run_id: id, metrics: list('metrics'), params: list('params'), tags: list('tags')};
  await connection.post('runs/log-batch', body, signal);
}

/** Sends entries; those that the server refuses are found by halving and returned. */
export async function sendEntries(
  connection: Connection,
  id: string,
  sent: readonly Sent[],
  signal: AbortSignal,
): Promise<readonly Refusal[]> {
  const refused: Refusal[] = [];
  const sendPart = async (part: readonly Sent[]): Promise<void> => {
    try {
      await logBatch(connection, id, part, signal);
    } catch (error) {
      if (!isAboutContent(error)) throw error;
      if (part.length === 1) {
        refused.push({seq: item(part, 0).seq, reason: error.message});
        return;
      }
      const half = Math.ceil(part.length / 2);
      await sendPart(part.slice(0, half));
      await sendPart(part.slice(half));
    }
  };
  for (const part of batches(sent)) await sendPart(part);
  return refused;
}

/** The server does not like what the batch holds, which is not so for a run or experiment that was deleted. */
function isAboutContent(error: unknown): error is TrackerError {
  return (
    error instanceof TrackerError &&
    (error.status === 400 || error.status === 413) &&
    !/active|deleted|not found/i.test(error.message)
  );
}

/** @throws TrackerError (transient) when the answer is not one of MLflow */
function text(value: unknown, where: string): string {
  if (typeof value === 'string' && value !== '') return value;
  throw new TrackerError(`${where}: the answer is not one of an MLflow server`, {kind: 'transient'});
}

function infoOf(run: unknown): RemoteInfo {
  const {data, info} = (run ?? {}) as {data?: Answer; info?: Answer};
  const tags = (data?.['tags'] ?? []) as readonly {readonly key: string; readonly value: string}[];
  const tag = (name: string): string | undefined => tags.find(({key}) => key === name)?.value;
  return {
    runId: text(info?.['run_id'], 'runs'),
    artifacts: text(info?.['artifact_uri'], 'runs'),
    experiment: text(info?.['experiment_id'], 'runs'),
    phase: tag('sdq.phase'),
    parent: tag('mlflow.parentRunId'),
  };
}
