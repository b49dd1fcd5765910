/** Files, tables and data sets of a run at an MLflow server. */
import {statSync} from 'node:fs';
import path from 'node:path';

import {datasetFolder} from '../../../data/cache.ts';
import {TrackerError, type Event} from '../../../plugin-api/tracker.ts';
import {artifactPrefix, elsewhere, type Connection} from './connection.ts';
import {logModel} from './logged-model.ts';
import type {Remote} from './push.ts';
import {logBatch} from './runs.ts';

const reportFile = 'report.html';

export interface WantedArtifacts {
  readonly types: readonly string[];
  readonly registry: string | undefined;
}

/**
 * Sends what an event of kind `artifact` tells of.
 * @param wanted.types of artifacts that are wanted; a data set always is
 * @param wanted.registry name of the registered model that a logged model becomes a version of
 * @returns why it cannot be sent, or undefined when it was sent or is not wanted
 */
export async function sendArtifact(
  remote: Remote,
  {registry, types}: WantedArtifacts,
  event: Event,
  signal: AbortSignal,
): Promise<string | undefined> {
  const {data} = event;
  const {
    connection,
    run: {config, directory},
    state,
  } = remote;
  const type = String(data['type']);
  if (type === 'dataset') {
    // The journal does not name the folder: it is the same on every machine.
    const folder = datasetFolder(config['data'] as {readonly directory?: string; readonly name: string});
    return logDataset(connection, {runId: state.run, folder}, data, signal);
  }
  if (!types.includes(type)) return undefined;
  if (type === 'model') return logModel(remote, registry, event, signal);
  const prefix = artifactPrefix(state.artifacts);
  if (prefix === undefined) return elsewhere(state.artifacts);
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
  const file = path.resolve(directory, String(data['drawn'] ?? data['path']));
  const stat = statSync(file, {throwIfNoEntry: false});
  if (stat?.isFile() !== true) return `${file} is not there any more.`;
  await connection.putArtifact(`${prefix}/${type}/${path.basename(file)}`, {file, size: stat.size}, signal);
  return undefined;
}

/** The report of a run that has ended, where it has one. @returns why it cannot be sent */
export async function sendReport(
  {connection, run: {directory}, state}: Remote,
  signal: AbortSignal,
): Promise<string | undefined> {
  const file = path.join(directory, reportFile);
  const stat = statSync(file, {throwIfNoEntry: false});
  if (stat?.isFile() !== true) return undefined;
  const prefix = artifactPrefix(state.artifacts);
  if (prefix === undefined) return elsewhere(state.artifacts);
  await connection.putArtifact(`${prefix}/${reportFile}`, {file, size: stat.size}, signal);
  return undefined;
}

/** A dataset input, as `mlflow.log_input` sends it. @returns why the server does not take it: before MLflow 2.4 it knows none */
async function logDataset(
  connection: Connection,
  {folder, runId}: {readonly folder: string; readonly runId: string},
  {classes, digest, name, samples, shape, split, validation}: Event['data'],
  signal: AbortSignal,
): Promise<string | undefined> {
  const features = [{type: 'tensor', 'tensor-spec': {dtype: 'float32', shape: [-1, ...(shape as readonly number[])]}}];
  const dataset = {
    name,
    digest,
    source_type: 'local',
    source: JSON.stringify({uri: folder}),
    schema: JSON.stringify({mlflow_tensorspec: {features: JSON.stringify(features)}}),
    profile: JSON.stringify({samples, validation, shape, classes}),
  };
  const tags = [{key: 'mlflow.data.context', value: split}];
  try {
    await connection.post('runs/log-inputs', {run_id: runId, datasets: [{tags, dataset}]}, signal);
  } catch (error) {
    const isRefused = error instanceof TrackerError && [400, 404].includes(error.status ?? 0);
    if (!isRefused) throw error;
    return `the server does not take dataset inputs: ${error.message}`;
  }
  return undefined;
}
