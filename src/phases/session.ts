/** What every phase works with: the settings, a started engine, the opened data set, and where progress is reported. */
import type {Config} from '../config/config-types.ts';
import {openBatches, type BatchSource} from '../data/batches.ts';
import {decodingThreads} from '../data/decoding-threads.ts';
import {sampleShape, type Dataset} from '../data/dataset.ts';
import {limited} from '../data/limit.ts';
import {resolveNormalization, type Normalization} from '../data/normalization.ts';
import type {Part} from '../data/splits.ts';
import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {readFileBounded} from '../files.ts';
import {parseDarknet} from '../graph/darknet.ts';
import type {Graph, Weights} from '../graph/graph.ts';
import {headParameters} from '../graph/head.ts';
import {initialWeights} from '../graph/initialize.ts';
import {createNetwork, type Network} from '../graph/network.ts';
import {listed, matchWeights} from '../graph/weights.ts';
import type {Engine, Registry} from '../plugin-api/registry.ts';
import {registerGradients} from '../tensor/gradients.ts';
import type {Metric, Task} from '../training/task.ts';
import {buildModel} from './build-model.ts';
import {selectDataset} from './inspect-dataset.ts';
import {taskGraph} from './task-graph.ts';
import {readTensorFile} from './tensor-file.ts';

/** A config that names a model and a data set. */
export type JobConfig = Config & {
  readonly model: NonNullable<Config['model']>;
  readonly data: NonNullable<Config['data']>;
};

/** Where a phase tells how far it is. */
export interface Reporter {
  /** Says what the job consists of, in order, by the beginning of its labels: the time left is then that of all of it too. */
  plan?(work: readonly {readonly name: string; readonly steps: number}[]): void;
  /**
   * @param label what runs, e.g. `search, epoch 2/4`; up to the comma it names the work, whose time left is shown
   * @param done steps (or bytes) so far
   * @param total of how many; undefined where nobody knows
   * @param detail figures, e.g. `loss 0.43, 3.1 bits`
   */
  update(label: string, done: number, total: number | undefined, detail?: string): void;
  /** A line that stays. */
  line(text: string): void;
}

export interface Session {
  readonly config: JobConfig;
  readonly registry: Registry;
  readonly engine: Engine;
  readonly dataset: Dataset;
  readonly normalization: Normalization;
  readonly task: SessionTask;
  readonly reporter: Reporter;
  /** Stops threads and frees memory. */
  close(): Promise<void>;
}

/** The config's task on the session's data set. */
interface SessionTask extends Task {
  /** The primary one: the best epoch is chosen by it. */
  readonly metric: Metric;
  readonly metrics: readonly Metric[];
  /** Outputs of the network for one image. */
  readonly outputs: number;
  /** What the user should know of the data set. */
  readonly caution: string | undefined;
}

/** 4 GiB: the largest file of weights that is read. */

/**
 * Starts the engine and opens the data set.
 * @throws SdqError (exit 6) when the engine or the data set is not available, (exit 3) when a file is broken
 */
export async function openSession(config: JobConfig, registry: Registry, reporter: Reporter): Promise<Session> {
  const {definition, directory, options} = selectDataset(registry, config.data.name, config.data);
  const dataset = limited(await definition.open(directory, options), config.data.limit);
  dataset.notices?.forEach((notice) => reporter.line(notice));
  const normalization = resolveNormalization(config.data.normalization, dataset);
  const task = await loadTask(registry, config.task, dataset);
  const engine = await startEngine(registry, config.engine);
  registerGradients();
  return {config, registry, engine, dataset, normalization, task, reporter, close: () => engine.dispose()};
}

/** @throws SdqError (exit 3) where the data set does not yield what the task learns */
async function loadTask(registry: Registry, {name, options}: Config['task'], dataset: Dataset): Promise<SessionTask> {
  const definition = registry.get('task', name);
  const outputs = definition.outputs(dataset, options);
  const {metrics} = definition;
  const task = await definition.load(options, {classes: outputs, inputShape: sampleShape(dataset), dataset});
  return {...task, metric: metrics[0], metrics, outputs, caution: definition.caution?.(dataset, options)};
}

/** `auto` takes the available engine of the highest rank on this machine. @throws SdqError (exit 6) that names what is missing */
export async function startEngine(registry: Registry, {name, threads}: Config['engine']): Promise<Engine> {
  if (name !== 'auto') return registry.get('engine', name).start({threads});
  const probed = await Promise.all(
    registry.list('engine').map(async (definition) => ({definition, ...(await definition.probe({threads}))})),
  );
  const [fastest] = probed.filter(({available}) => available).toSorted((a, b) => b.rank - a.rank);
  if (fastest !== undefined) return fastest.definition.start({threads});
  const reasons = probed.map(({definition, reason}) => `${definition.name}: ${reason}`);
  throw new SdqError(`No engine is available. ${reasons.join(' ')}`, {
    code: 'no-engine',
    exit: ExitCode.notAvailable,
    suggestions: ['sdq doctor'],
  });
}

/** Batches of one part of the data set; the caller closes the source. */
export function openPart(session: Session, part: Part, mode: 'training' | 'evaluation', seed: number): BatchSource {
  const {config, dataset, engine, normalization} = session;
  const {batchSize, validation, augment} = config.data;
  const workers = decodingThreads(config.data.workers, engine.threads);
  return openBatches(dataset, {part, mode, validation, batchSize, augment, normalization, seed, workers});
}

/** The graph of a model for this session's data set and task. @param notice as `taskGraph` */
export function buildGraph(
  {config, registry, dataset, task}: Session,
  model: {readonly name: string; readonly options?: Readonly<Record<string, unknown>>},
  notice: (message: string) => void = () => undefined,
): Graph {
  const context = {classes: task.outputs, inputShape: sampleShape(dataset)};
  const graph = buildModel(registry.get('model', model.name), context, model.options ?? {});
  const isTeacher = model !== config.model;
  return taskGraph({graph, task: config.task, classes: task.outputs, isTeacher}, registry, notice);
}

/**
 * The weights of a file for a graph, all of them.
 * @throws SdqError (exit 3) naming the file and what is missing, broken or of the wrong shape
 */
export function readWeights(graph: Graph, file: string): Weights {
  return fittingWeights(graph, tensorsFor(graph, file), file);
}

/** Of a file that names its tensors, or of darknet's that counts them. @param resetHead as `parseDarknet` */
function tensorsFor(graph: Graph, file: string, resetHead = false): {readonly tensors: Weights} {
  if (!file.endsWith('.weights')) return readTensorFile(file);
  return {tensors: parseDarknet(graph, readFileBounded(file), file, resetHead)};
}

/** The same of a file that was read. @param fresh parameters that the file is not asked for, with their values */
export function fittingWeights(
  graph: Graph,
  found: {readonly tensors: Weights},
  file: string,
  fresh: Weights = new Map(),
): Weights {
  const matched = matchWeights(graph, found, file, new Set(fresh.keys()));
  const weights = new Map([...matched.weights, ...fresh]);
  const missing = matched.missing.filter((name) => !fresh.has(name));
  if (missing.length === 0) return weights;
  throw invalidInput(
    'weights-missing',
    `${file} lacks ${missing.length} of the ${graph.parameters.length} tensors of ${graph.name}: ${listed(missing)}.`,
    [`sdq model show ${graph.name} lists the layers; sdq model show ${file} what the file holds.`],
  );
}

/**
 * What full-precision training starts from: fresh weights, or those of `model.weights`, with `model.head: reset` but for
 * the last layer.
 */
export function startWeights({config}: Session, graph: Graph): Weights {
  const {head, weights: file} = config.model;
  if (file === undefined) return initialWeights(graph, config.seed);
  if (head !== 'reset') return readWeights(graph, file);
  const last = headParameters(graph);
  const tensorFile = tensorsFor(graph, file, true);
  return fittingWeights(
    graph,
    tensorFile,
    file,
    initialWeights(graph, config.seed, ({name}) => last.has(name)),
  );
}

/** Whether a run begins with full-precision training. */
export const pretrains = ({model}: JobConfig): boolean => model.weights === undefined || model.head === 'reset';

/** The session's model with the weights of a file, or freshly initialised from the seed. */
export function createModel(
  session: Session,
  weights?: string,
  observed?: (graph: Graph) => ReadonlySet<string>,
): Network {
  const graph = buildGraph(session, session.config.model);
  return createNetwork(
    graph,
    weights === undefined ? initialWeights(graph, session.config.seed) : readWeights(graph, weights),
    observed?.(graph),
  );
}
