import {Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import type {BatchSource} from '../../data/batches.ts';
import {sampleShape, type Dataset} from '../../data/dataset.ts';
import {decodingThreads} from '../../data/decoding-threads.ts';
import {ExitCode, SdqError} from '../../errors.ts';
import {item, last} from '../../lookup.ts';
import {selectDataset} from '../../plugins/datasets/inspect-dataset.ts';

interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

interface StepTimes {
  readonly model: string;
  readonly phase: string;
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

/** The first steps allocate and compile; they are run and not counted. */
const warmUpSteps = 3;
const bits = [1, 2, 3, 4, 5, 6, 7, 8, 32].map(String);
const phases = ['full-precision', 'search', 'train', 'evaluate'] as const;

export default class BenchStep extends SdqCommand {
  static override summary = 'Time single steps of a phase.';
  static override description =
    'On random images, or with --data on those of a data set through the real input pipeline, which also tells how long a step waits for its batch. The first and the last layer stay in full precision. Threads: --set engine.threads=N.';
  static override examples = [
    '<%= config.bin %> bench step',
    '<%= config.bin %> bench step --model resnet20 --batch 128 --weight-bits 4 --activation-bits 4 --steps 20 --json',
    '<%= config.bin %> bench step --phase search --steps 5',
  ];
  static override flags = {
    model: Flags.string({
      summary: "Name of the model; by default the config's, and resnet20 where it has none.",
      helpValue: 'NAME',
    }),
    batch: Flags.integer({summary: 'Images in a step.', min: 1, max: 65_536, default: 128}),
    'weight-bits': Flags.string({
      summary: 'Bits of the weights; a search step chooses between these and one bit less.',
      options: bits,
      default: '4',
    }),
    'activation-bits': Flags.string({
      summary: "Bits of the layers' inputs; by default 4, and 32 (full precision) in a search step.",
      options: bits,
    }),
    steps: Flags.integer({summary: 'Steps to time.', min: 1, max: 100_000, default: 20}),
    engine: Flags.string({summary: "Name of the engine; by default the config's.", helpValue: 'NAME'}),
    phase: Flags.option({
      summary: 'Kind of step: search, train, evaluate, or training in full precision.',
      options: phases,
      default: 'train',
    })(),
    data: Flags.string({summary: 'Name of a data set to take the images from.', helpValue: 'NAME'}),
  };

  async run(): Promise<StepTimes> {
    const {flags} = await this.parse(BenchStep);
    if (flags.phase === 'search' && flags['weight-bits'] === '32') {
      throw new SdqError(
        '--phase search takes 1 to 8 for --weight-bits: a search step chooses between two bitwidths.',
        {
          code: 'invalid-flag',
          exit: ExitCode.usage,
        },
      );
    }
    const {config, registry} = await this.settings({
      kinds: ['engine', 'dataset', 'model', 'task', 'weight-quantizer', 'activation-quantizer'],
    });
    const model = flags.model ?? config.model?.name ?? 'resnet20';
    const definition = registry.get('model', model);
    const selected = flags.data === undefined ? undefined : selectDataset(registry, flags.data, config.data);
    const dataset = await selected?.definition.open(selected.directory, selected.options);
    const task = registry.get('task', config.task.name);
    const [{buildModel}, {startEngine}, {timeSteps}, {registerGradients}, {taskGraph}] = await Promise.all([
      import('../../phases/build-model.ts'),
      import('../../phases/session.ts'),
      import('../../phases/step-benchmark.ts'),
      import('../../tensor/gradients.ts'),
      import('../../phases/task-graph.ts'),
    ]);
    const classes = dataset === undefined ? undefined : task.outputs(dataset, config.task.options);
    const whole = buildModel(
      definition,
      dataset === undefined || classes === undefined
        ? definition.defaults
        : {classes, inputShape: sampleShape(dataset)},
      config.model?.name === model ? config.model.options : {},
    );
    const graph = taskGraph({graph: whole, task: config.task, classes}, registry, (message) => this.notice(message));
    const engine = await startEngine(registry, {...config.engine, name: flags.engine ?? config.engine.name});
    this.defer(() => engine.dispose());
    registerGradients();
    const source =
      dataset === undefined
        ? undefined
        : await this.#batches(
            dataset,
            flags.batch,
            config.seed,
            decodingThreads(config.data?.workers ?? 'auto', engine.threads),
          );
    const isFullPrecision = flags.phase === 'full-precision';
    const weightBits = isFullPrecision ? 32 : Number(flags['weight-bits']);
    const usualActivationBits = flags.phase === 'search' ? 32 : 4;
    const activationBits = isFullPrecision ? 32 : Number(flags['activation-bits'] ?? usualActivationBits);
    const waits: number[] = [];
    const all = await timeSteps({
      graph,
      registry,
      task: await task.load(config.task.options),
      kind: flags.phase === 'full-precision' ? 'train' : flags.phase,
      batch: flags.batch,
      weightBits,
      activationBits,
      steps: warmUpSteps + flags.steps,
      source,
      onWait: (milliseconds) => waits.push(milliseconds),
    });
    const times = all.slice(warmUpSteps);
    const result = {
      model,
      phase: flags.phase,
      batch: flags.batch,
      weightBits,
      activationBits,
      steps: times.length,
      imagesPerSecond: spread(times.map((milliseconds) => (1000 * flags.batch) / milliseconds)),
      stepMs: spread(times),
      dataWaitShare: source === undefined ? null : sum(waits.slice(warmUpSteps)) / sum(times),
      peakRssMiB: process.resourceUsage().maxRSS / 1024,
      engine: engine.name,
      device: engine.device,
      threads: engine.threads,
    };
    const {imagesPerSecond, stepMs, dataWaitShare, peakRssMiB} = result;
    const bitsOf = `W ${weightBits} / A ${activationBits}`;
    this.log(`${model}, ${flags.phase}, batch ${flags.batch}, ${bitsOf}, ${engine.name} (${engine.device})`);
    this.log(`images/s  ${shown(imagesPerSecond)}\nstep ms   ${shown(stepMs)}\npeak RSS  ${peakRssMiB.toFixed(0)} MiB`);
    if (dataWaitShare !== null) this.log(`data wait ${(100 * dataWaitShare).toFixed(2)} % of the step`);
    return result;
  }

  async #batches(dataset: Dataset, batchSize: number, seed: number, workers: number): Promise<BatchSource> {
    if (batchSize > dataset.train.labels.length) {
      throw new SdqError(`A batch of ${batchSize} is more than the ${dataset.train.labels.length} training images.`, {
        code: 'batch-too-large',
        exit: ExitCode.usage,
      });
    }
    const [{openBatches}, {resolveNormalization}] = await Promise.all([
      import('../../data/batches.ts'),
      import('../../data/normalization.ts'),
    ]);
    const normalization = resolveNormalization('dataset', dataset);
    const source = openBatches(dataset, {
      part: 'train',
      validation: 0,
      batchSize,
      mode: 'training',
      augment: true,
      normalization,
      seed,
      workers,
    });
    this.defer(() => source.close());
    return source;
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const median = sorted.length % 2 === 1 ? item(sorted, middle) : (item(sorted, middle - 1) + item(sorted, middle)) / 2;
  return {min: item(sorted, 0), median, max: last(sorted)};
}

const shown = ({min, median, max}: Spread): string => `${median.toFixed(1)} (${min.toFixed(1)} to ${max.toFixed(1)})`;
