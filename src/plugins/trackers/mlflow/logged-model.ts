/** The exported network as a logged model of MLflow 3: the flavor `onnx`, with signature and input example. */
import {readFileSync, statSync} from 'node:fs';
import path from 'node:path';

import {stringify} from 'yaml';

import {TrackerError, type Event} from '../../../plugin-api/tracker.ts';
import {artifactPrefix, elsewhere, type Answer, type Connection} from './connection.ts';
import {limits, paramEntries} from './entries.ts';
import type {Remote} from './push.ts';

/** A tensor as the journal describes it; a size that is a name may be any. */
interface Value {
  readonly name: string;
  readonly shape: readonly (number | string)[];
}

/** What the journal has of the model. */
interface Model {
  /** Of the ONNX file and of a file with one input, in the run's folder. */
  readonly path: string;
  readonly example: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

/** As PyYAML reads it: YAML 1.1 has times, so that a text like one needs quotes. */
const yaml = {version: '1.1', lineWidth: 0} as const;
const modelName = 'model';
const readyStatus = 'LOGGED_MODEL_READY';
const packages = ['mlflow', 'onnx', 'onnxruntime'];
/** Of the environment that `mlflow models serve` makes. */
const pythonVersion = '3.12';

/**
 * Logs the model as an output of the run, and registers it. Sent twice it is one model and one version.
 * @param registry name of the registered model; undefined: none
 * @returns why it cannot be logged
 */
export async function logModel(
  remote: Remote,
  registry: string | undefined,
  {data, step, ts}: Event,
  signal: AbortSignal,
): Promise<string | undefined> {
  const {connection, run, state} = remote;
  const model = data as unknown as Model;
  const file = path.resolve(run.directory, model.path);
  const example = path.resolve(run.directory, model.example);
  const missing = [file, example].find((name) => statSync(name, {throwIfNoEntry: false})?.isFile() !== true);
  if (missing !== undefined) return `${missing} is not there any more.`;
  try {
    const {artifacts, id, isReady} = await findOrCreate(remote, model, signal);
    const prefix = artifactPrefix(artifacts);
    if (prefix === undefined) return elsewhere(artifacts);
    if (!isReady) {
      const put = (name: string, body: Parameters<Connection['putArtifact']>[1]): Promise<void> =>
        connection.putArtifact(`${prefix}/${name}`, body, signal);
      const inputs = readFileSync(example, 'utf8');
      await put('model.onnx', {file, size: model.bytes});
      await put('input_example.json', inputs);
      await put('serving_input_example.json', JSON.stringify({inputs: JSON.parse(inputs) as unknown}));
      for (const [name, text] of Object.entries(environment)) await put(name, text);
      await put('MLmodel', stringify(description(model, {id, artifacts, run: state.run, ts}), yaml));
      const output = {model_id: id, step: step ?? state.step};
      await connection.post('runs/outputs', {run_id: state.run, models: [output]}, signal);
      await connection.patch(`logged-models/${id}`, {model_id: id, status: readyStatus}, signal);
    }
    if (registry !== undefined) await register(remote, registry, id, signal);
  } catch (error) {
    const isRefused = error instanceof TrackerError && [400, 404].includes(error.status ?? 0);
    if (!isRefused) throw error;
    return `the server does not take logged models, which MLflow 3 has: ${error.message}`;
  }
  return undefined;
}

/** The model at the server: by the run and the content of its file. */
async function findOrCreate(
  {connection, run, state}: Remote,
  {sha256}: Model,
  signal: AbortSignal,
): Promise<{readonly id: string; readonly artifacts: string; readonly isReady: boolean}> {
  const {experiment} = state;
  const filter = `source_run_id = '${state.run}'`;
  const found = await connection.post('logged-models/search', {experiment_ids: [experiment], filter}, signal);
  const mark = {key: 'sdq.sha256', value: sha256};
  const known = ((found['models'] ?? []) as readonly Answer[]).find((each) =>
    infoOf(each).tags.some(({key, value}) => key === mark.key && value === mark.value),
  );
  if (known !== undefined) return infoOf(known);
  const params = paramEntries(run.config).map(({item}) => item);
  const made = await connection.post(
    'logged-models',
    {
      experiment_id: experiment,
      name: modelName,
      model_type: 'quantized',
      source_run_id: state.run,
      params: params.slice(0, limits.params),
      tags: [mark],
    },
    signal,
  );
  const created = infoOf(made['model']);
  for (let from = limits.params; from < params.length; from += limits.params) {
    const rest = {model_id: created.id, params: params.slice(from, from + limits.params)};
    await connection.post(`logged-models/${created.id}/params`, rest, signal);
  }
  return created;
}

/** @throws TrackerError (transient) when it is none */
function infoOf(model: unknown): {
  readonly id: string;
  readonly artifacts: string;
  readonly isReady: boolean;
  readonly tags: readonly {readonly key: string; readonly value: string}[];
} {
  const info = (model as {readonly info?: Answer} | undefined)?.info;
  const [id, artifacts] = [info?.['model_id'], info?.['artifact_uri']];
  if (typeof id !== 'string' || typeof artifacts !== 'string') {
    throw new TrackerError('logged-models: the answer is not one of an MLflow server', {kind: 'transient'});
  }
  const tags = (info?.['tags'] ?? []) as readonly {readonly key: string; readonly value: string}[];
  return {id, artifacts, isReady: info?.['status'] === readyStatus, tags};
}

/** Makes the model the next version of a registered one, which is made too where it is not there. */
async function register({connection, state}: Remote, name: string, id: string, signal: AbortSignal): Promise<void> {
  try {
    await connection.post('registered-models/create', {name}, signal);
  } catch (error) {
    if (!(error instanceof TrackerError) || !/already exists/i.test(error.message)) throw error;
  }
  const source = `models:/${id}`;
  const filter = `run_id = '${state.run}'`;
  const found = await connection.get('model-versions/search', {filter, max_results: '1000'}, signal);
  const versions = (found['model_versions'] ?? []) as readonly {readonly name?: string; readonly source?: string}[];
  if (versions.some((version) => version.name === name && version.source === source)) return;
  await connection.post('model-versions/create', {name, source, run_id: state.run, model_id: id}, signal);
}

/** The file `MLmodel`, as MLflow 3.17 writes it. @param ts milliseconds since 1970-01-01 UTC */
function description(
  {bytes, inputs, outputs}: Model,
  {
    artifacts,
    id,
    run,
    ts,
  }: {readonly id: string; readonly artifacts: string; readonly run: string; readonly ts: number},
): object {
  return {
    artifact_path: artifacts,
    flavors: {
      onnx: {
        code: null,
        data: 'model.onnx',
        onnx_session_options: null,
        providers: ['CUDAExecutionProvider', 'CPUExecutionProvider'],
      },
      python_function: {
        data: 'model.onnx',
        env: {conda: 'conda.yaml', virtualenv: 'python_env.yaml'},
        loader_module: 'mlflow.onnx',
      },
    },
    model_id: id,
    model_size_bytes: bytes,
    model_uuid: id,
    run_id: run,
    saved_input_example_info: {
      artifact_path: 'input_example.json',
      serving_input_path: 'serving_input_example.json',
      type: 'ndarray',
    },
    signature: {
      // A network has one input: without a name, so that an array does.
      inputs: JSON.stringify(inputs.map(({shape}) => tensorOf(shape))),
      outputs: JSON.stringify(outputs.map(({name, shape}) => ({name, ...tensorOf(shape)}))),
      params: null,
    },
    utc_time_created: new Date(ts).toISOString().replace('T', ' ').replace('Z', '000'),
  };
}

function tensorOf(shape: Value['shape']): object {
  const sizes = shape.map((size) => (typeof size === 'number' ? size : -1));
  return {type: 'tensor', 'tensor-spec': {dtype: 'float32', shape: sizes}};
}

/** The files that describe the Python environment of the model. */
const environment: Readonly<Record<string, string>> = {
  'requirements.txt': `${packages.join('\n')}\n`,
  'python_env.yaml': stringify({
    python: pythonVersion,
    build_dependencies: ['pip', 'setuptools', 'wheel'],
    dependencies: ['-r requirements.txt'],
  }),
  'conda.yaml': stringify({
    channels: ['conda-forge'],
    dependencies: [`python=${pythonVersion}`, 'pip', {pip: packages}],
    name: 'mlflow-env',
  }),
};
