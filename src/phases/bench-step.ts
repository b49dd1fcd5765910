/** `sdq bench step`: the network, engine and images of a step benchmark, and its figures. */
import type {Config} from '../config/config-types.ts';
import {openBatches, type BatchSource} from '../data/batches.ts';
import {sampleShape, type Dataset} from '../data/dataset.ts';
import {decodingThreads} from '../data/decoding-threads.ts';
import {resolveNormalization} from '../data/normalization.ts';
import {ExitCode, SdqError} from '../errors.ts';
import {item, last} from '../lookup.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {selectDataset} from './inspect-dataset.ts';
import {registerGradients} from '../tensor/gradients.ts';
import {buildModel} from './build-model.ts';
import {dataContext, taskOf} from './model-graph.ts';
import {startEngine} from './session.ts';
import {timeSteps} from './step-benchmark.ts';
import {taskGraph} from './task-graph.ts';

export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export interface StepTimes {
  readonly model: string;
  readonly phase: BenchOptions['phase'];
  readonly batch: number;
  readonly weightBits: number;
  readonly activationBits: number;
  readonly steps: number;
  readonly imagesPerSecond: Spread;
  readonly stepMs: Spread;
  readonly dataWaitShare: number | null;
  readonly peakRssMiB: number;
  readonly engine: string;
  readonly device: string;
  readonly threads: number;
}

interface BenchOptions {
  /** Default: the config's, and resnet20 where it has none. */
  readonly model: string | undefined;
  /** Default: the config's. */
  readonly engine: string | undefined;
  /** Name of a data set; without one the images are random, in the shape of the config's data set. */
  readonly data: string | undefined;
  readonly phase: 'full-precision' | 'search' | 'train' | 'evaluate';
  readonly batch: number;
  /** 1 to 8, or 32; 32 in the phase `full-precision`. */
  readonly weightBits: number;
  /** Default: 4, and 32 in a search. */
  readonly activationBits: number | undefined;
  /** Steps to time. */
  readonly steps: number;
  /** As `taskGraph`. */
  readonly notice: (message: string) => void;
  /** Given what closes the engine and the input pipeline. */
  readonly defer: (dispose: () => Promise<void> | void) => void;
}

/** The first steps allocate and compile; they are run and not counted. */
const warmUpSteps = 3;

/** @throws SdqError (exit 2) for a batch that is larger than the data set, (exit 3) for what `sdq train` refuses too */
export async function benchmarkSteps(config: Config, registry: Registry, options: BenchOptions): Promise<StepTimes> {
  const {batch, data, defer, notice, phase} = options;
  const model = options.model ?? config.model?.name ?? 'resnet20';
  const definition = registry.get('model', model);
  const selected = data === undefined ? undefined : selectDataset(registry, data, config.data);
  const dataset = await selected?.definition.open(selected.directory, selected.options);
  const settings = taskOf(config, definition);
  const task = registry.get('task', settings.name);
  const asked =
    dataset === undefined
      ? await dataContext({...config, task: settings}, registry, notice)
      : {classes: task.outputs(dataset, settings.options), inputShape: sampleShape(dataset)};
  const context = asked ?? definition.defaults;
  const whole = buildModel(definition, context, config.model?.name === model ? config.model.options : {});
  const graph = taskGraph({graph: whole, task: settings, classes: asked?.classes}, registry, notice);
  const engine = await startEngine(registry, {...config.engine, name: options.engine ?? config.engine.name});
  defer(() => engine.dispose());
  registerGradients();
  const workers = decodingThreads(config.data?.workers ?? 'auto', engine.threads);
  const source =
    dataset === undefined ? undefined : trainingBatches(dataset, {batchSize: batch, seed: config.seed, workers});
  if (source !== undefined) defer(() => source.close());
  const isFullPrecision = phase === 'full-precision';
  const weightBits = isFullPrecision ? 32 : options.weightBits;
  const activationBits = isFullPrecision ? 32 : (options.activationBits ?? (phase === 'search' ? 32 : 4));
  const waits: number[] = [];
  const all = await timeSteps({
    graph,
    registry,
    task: await task.load(settings.options, {...context, dataset}),
    kind: isFullPrecision ? 'train' : phase,
    batch,
    weightBits,
    activationBits,
    steps: warmUpSteps + options.steps,
    source,
    onWait: (milliseconds) => waits.push(milliseconds),
  });
  const times = all.slice(warmUpSteps);
  return {
    model,
    phase,
    batch,
    weightBits,
    activationBits,
    steps: times.length,
    imagesPerSecond: spread(times.map((milliseconds) => (1000 * batch) / milliseconds)),
    stepMs: spread(times),
    dataWaitShare: source === undefined ? null : sum(waits.slice(warmUpSteps)) / sum(times),
    peakRssMiB: process.resourceUsage().maxRSS / 1024,
    engine: engine.name,
    device: engine.device,
    threads: engine.threads,
  };
}

function trainingBatches(
  dataset: Dataset,
  {batchSize, seed, workers}: {readonly batchSize: number; readonly seed: number; readonly workers: number},
): BatchSource {
  if (batchSize > dataset.train.labels.length) {
    throw new SdqError(`A batch of ${batchSize} is more than the ${dataset.train.labels.length} training images.`, {
      code: 'batch-too-large',
      exit: ExitCode.usage,
    });
  }
  const normalization = resolveNormalization('dataset', dataset);
  return openBatches(dataset, {
    part: 'train',
    validation: 0,
    batchSize,
    mode: 'training',
    augment: true,
    normalization,
    seed,
    workers,
  });
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const median = sorted.length % 2 === 1 ? item(sorted, middle) : (item(sorted, middle - 1) + item(sorted, middle)) / 2;
  return {min: item(sorted, 0), median, max: last(sorted)};
}
