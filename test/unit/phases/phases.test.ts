/** Pretraining, search and training at low bits, each as a run calls it. */
import {readFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {evaluateOn} from '../../../src/phases/evaluate.ts';
import {trainingMetric, type PretrainResult, type TrainingMetric} from '../../../src/phases/results.ts';
import type {PhaseContext} from '../../../src/phases/phase.ts';
import {pretrain} from '../../../src/phases/pretrain.ts';
import {search} from '../../../src/phases/search.ts';
import {createModel} from '../../../src/phases/session.ts';
import {train} from '../../../src/phases/train.ts';
import {SdqError} from '../../../src/errors.ts';
import {learningRateFactor} from '../../../src/training/schedules.ts';
import {tensorBytes} from '../../helpers/tensor-bytes.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';
import {madeImages, tinyRun, type TinyOptions, type TinyRun} from '../../helpers/tiny-job.ts';

const accuracyOf = (result: PretrainResult): TrainingMetric =>
  trainingMetric({name: 'accuracy', better: 'higher', isFraction: true}, result);

const root = temporaryFolder();
const batches = 8;
/** Weights that the other phases start from. */
let weights: string;
/** 4 and 3 bits, inputs of 4. */
let strategy: string;

interface Done<T> {
  readonly result: T;
  readonly run: TinyRun;
}

async function done<T>(
  options: Omit<TinyOptions, 'root'>,
  phase: (context: PhaseContext) => Promise<T>,
): Promise<Done<T>> {
  const run = await tinyRun({root, ...options});
  try {
    return {result: await phase(run.context), run};
  } finally {
    await run.close();
  }
}

const sgd = {name: 'sgd', learningRate: 0.1} as const;
const pretraining = {pretrain: {epochs: 5, optimizer: sgd, schedule: {name: 'cosine', warmupEpochs: 0.5}}};
const searching = {
  search: {epochs: 8, target: {meanWeightBits: 4.5}, pin: {}, activationBits: 4, dualRate: 10, dbp: {learningRate: 1}},
};
const training = {
  train: {epochs: 2, optimizer: sgd, binRegularization: {weight: 0.5, rampEpochs: 1.5}, learnScales: true},
};
const input = (): {strategy: string; weights: string; fullPrecision: string} => ({
  strategy,
  weights,
  fullPrecision: weights,
});

let first: Done<Awaited<ReturnType<typeof pretrain>>>;
let found: Done<Awaited<ReturnType<typeof search>>>;
beforeAll(async () => {
  first = await done({changes: pretraining}, pretrain);
  weights = first.result.checkpoint;
  const fromHighest = {search: {...searching.search, start: 'highest'}};
  found = await done({changes: fromHighest}, (context) => search(context, weights));
  strategy = found.result.strategy;
});

/** Rows of the steps, without what is measured in time. */
function steps({run}: Done<unknown>, name: string): Record<string, number>[] {
  return run
    .metrics()
    .filter((row) => `${name}/imagesPerSecond` in row)
    .map((row) =>
      Object.fromEntries(Object.entries(row).filter(([key]) => !/imagesPerSecond|dataWaitFraction/.test(key))),
    );
}

describe('pretrain', () => {
  test('the loss falls and test images are told apart', () => {
    const losses = steps(first, 'pretrain').map((row) => row['pretrain/loss']!);
    expect(losses).toHaveLength(5 * batches);
    expect(losses[0]).toBeGreaterThan(0.8);
    expect(losses.at(-1)).toBeLessThan(losses[0]! / 2);
    expect(accuracyOf(first.result).test).toBeGreaterThan(0.8);
    expect(first.result.steps).toBe(5 * batches);
  });

  test('each step has the rate of the schedule, the first step that of step 0', () => {
    const {schedule} = first.run.session.config.pretrain;
    const rates = steps(first, 'pretrain').map((row) => row['pretrain/learningRate']!);
    rates.forEach((rate, step) =>
      expect(rate).toBeCloseTo(0.1 * learningRateFactor(schedule, step, 5 * batches, batches), 9),
    );
  });

  test('after a good epoch a worse one is told of, and not kept', async () => {
    const optimizer = {name: 'sgd', learningRate: 3, momentum: 0.99} as const;
    const changes = {pretrain: {epochs: 8, optimizer, schedule: {name: 'constant', warmupEpochs: 0}}};
    const {result, run} = await done({changes}, pretrain);
    const accuracies = run
      .metrics()
      .flatMap((row) => ('pretrain/validationAccuracy' in row ? [row['pretrain/validationAccuracy']] : []));
    const best = Math.max(...accuracies);
    expect(accuracies.slice(accuracies.indexOf(best)).some((accuracy) => accuracy < best)).toBe(true);
    expect(accuracyOf(result)).toMatchObject({best, last: accuracies.at(-1)});
    expect(result.epoch).toBe(1 + accuracies.indexOf(best));
  });

  test('of epochs that are equally good the first is kept', async () => {
    const dataset = madeImages();
    for (const split of [dataset.train, dataset.test]) split.labels.fill(0);
    const {result} = await done({dataset, changes: pretraining}, pretrain);
    expect(result).toMatchObject({accuracy: {best: 1, last: 1, test: 1}, epoch: 1});
  });

  test('keeps the weights of the best epoch', async () => {
    const accuracies = first.run
      .metrics()
      .flatMap((row) => ('pretrain/validationAccuracy' in row ? [row['pretrain/validationAccuracy']] : []));
    expect(accuracies).toHaveLength(5);
    const {epoch, checkpoint} = first.result;
    const accuracy = accuracyOf(first.result);
    expect(accuracy).toMatchObject({best: Math.max(...accuracies), last: accuracies.at(-1)});
    expect(epoch).toBe(1 + accuracies.indexOf(accuracy.best!));
    const again = await done({}, async ({session}) => {
      const network = createModel(session, checkpoint);
      const [validation, test] = [
        await evaluateOn(session, network, 'validation'),
        await evaluateOn(session, network, 'test'),
      ];
      network.dispose();
      return [validation!.accuracy, test!.accuracy];
    });
    expect(again.result).toEqual([accuracy.best, accuracy.test]);
  });
});

describe('evaluate', () => {
  test('a network that knows one class only is right for the share of it in each split', async () => {
    const {result} = await done({}, async ({session}) => {
      const network = createModel(session);
      network.parameters.get('fc.bias')!.assign(tf.tensor1d([1000, 0, 0]));
      const evaluated = [];
      for (const part of ['train', 'validation', 'test'] as const)
        evaluated.push((await evaluateOn(session, network, part))!);
      network.dispose();
      return evaluated;
    });
    expect(result.map(({samples}) => samples)).toEqual([64, 33, 30]);
    const right = result.map(({accuracy = NaN, samples}) => accuracy * samples);
    // Image i is of class i modulo 3: 33 of the 97 images that are trained on or held out, 10 of the 30 others.
    expect(right[0]! + right[1]!).toBeCloseTo(33, 4);
    expect(right[2]).toBeCloseTo(10, 4);
  });

  test('no validation images: null', async () => {
    const {result} = await done({changes: {data: {validation: 0}}}, async ({session}) => {
      const network = createModel(session);
      const evaluation = await evaluateOn(session, network, 'validation');
      network.dispose();
      return evaluation;
    });
    expect(result).toBeNull();
  });
});

describe('search', () => {
  test('ends at its target with the bits that its last row tells', () => {
    const {result, run} = found;
    const {layers} = JSON.parse(readFileSync(result.strategy, 'utf8')) as {
      layers: {name: string; params: number; weightBits: number; activationBits: number}[];
    };
    expect(layers.map(({name}) => name)).toEqual(['conv1', 'conv2', 'fc']);
    const last = run.metrics().at(-1)!;
    for (const {name, weightBits} of layers) expect(last[`dbp/${name}/bits`]).toBe(weightBits);
    const params = layers.reduce((sum, layer) => sum + layer.params, 0);
    const mean = layers.reduce((sum, layer) => sum + layer.params * layer.weightBits, 0) / params;
    expect(result.meanWeightBits).toBeCloseTo(mean, 9);
    expect(mean).toBeLessThanOrEqual(4.5);
    expect(result.budgets[0]).toMatchObject({name: 'meanWeightBits', target: 4.5, missedBy: 0});
  });

  test('inputs of fixed bits are rounded while the weight bits are searched', async () => {
    const losses = [];
    for (const activationBits of [8, 1]) {
      const changes = {search: {...searching.search, target: {meanWeightBits: 7}, activationBits}};
      const searched = await done({changes}, (context) => search(context, weights));
      losses.push(searched.run.metrics().find((row) => 'search/loss' in row)!['search/loss']!);
    }
    expect(losses[1]).toBeGreaterThan(1.1 * losses[0]!);
  });

  test('with distillation the teacher is learned, and no label is read', async () => {
    const searched = async (distillation: boolean, wrongLabels: boolean): Promise<Buffer> => {
      const dataset = madeImages();
      if (wrongLabels) dataset.train.labels.fill(0);
      const changes = {search: {...searching.search, start: 'highest', epochs: 1, distillation}};
      const {result} = await done({dataset, changes}, (context) => search(context, weights));
      return tensorBytes(result.checkpoint);
    };
    const taught = await searched(true, false);
    expect(Buffer.compare(await searched(true, true), taught)).toBe(0);
    expect(Buffer.compare(await searched(false, true), await searched(false, false))).not.toBe(0);
  });

  test.each(['taylor', 'hessian'])(
    'sensitivity by %s: fewer bits have higher scores, and no weight moves',
    async (score) => {
      const target = {meanWeightBits: 4.5};
      const changes = {search: {method: 'sensitivity', target, pin: {}, activationBits: 4, options: {score}}};
      const {result, run} = await done({changes}, (context) => search(context, weights));
      expect(result.meanWeightBits).toBeLessThanOrEqual(4.5);
      expect(result.steps).toBe(0);
      expect(Buffer.compare(tensorBytes(result.checkpoint), tensorBytes(weights))).toBe(0);
      const scores = run.metrics().at(-1)!;
      for (const name of ['conv1', 'conv2', 'fc']) {
        const row = [1, 3, 8].map((bits) => scores[`sensitivity/${name}/w${bits}a4`]!);
        expect(row[0]).toBeGreaterThan(row[1]!);
        expect(row[1]).toBeGreaterThan(row[2]!);
        expect(row[2]).toBeGreaterThan(0);
      }
    },
  );

  test('the bits never rise but where a descent is undone, and every move is told', () => {
    const moves = found.run.lines.filter((line) => /^ {2}\S+: \d/.test(line));
    for (const name of ['conv1', 'conv2', 'fc']) {
      const bits = found.run.metrics().flatMap((row) => (`dbp/${name}/bits` in row ? [row[`dbp/${name}/bits`]!] : []));
      const changes = bits.filter((value, i) => i > 0 && value !== bits[i - 1]);
      const told = moves.filter((line) => line.startsWith(`  ${name}:`));
      expect(told.length).toBeGreaterThanOrEqual(changes.length);
      // `search.start: highest`.
      expect(bits[0]).toBe(8);
    }
  });
});

describe('train', () => {
  test('λ_E grows linearly over the ramp, then stays', async () => {
    const trained = await done({changes: training}, (context) => train(context, input()));
    const rows = steps(trained, 'train');
    expect(rows).toHaveLength(2 * batches);
    rows.forEach((row, step) => {
      const lambda = (row['train/loss']! - row['train/taskLoss']!) / row['train/binRegularizer']!;
      expect(lambda).toBeCloseTo(0.5 * Math.min(1, (step + 1) / (1.5 * batches)), 2);
    });
    expect(accuracyOf(trained.result).test).toBeGreaterThan(0.8);
  });

  test('without a teacher the loss of the task is the cross-entropy with the labels', async () => {
    const losses = [];
    for (const teacher of ['none', 'self']) {
      const changes = {
        train: {...training.train, epochs: 1, distillation: {teacher}},
        data: {batchSize: 64, augment: false},
      };
      losses.push(
        await done({changes}, async (context) => {
          await train(context, input());
          return context;
        }),
      );
    }
    const [alone, taught] = losses.map((one) => steps(one, 'train')[0]!['train/taskLoss']!);
    const [accuracy] = losses.map((one) => steps(one, 'train')[0]!['train/accuracy']!);
    // A network that is right about nearly all images is close to the labels, and further from a teacher at another temperature.
    expect(accuracy).toBeGreaterThan(0.8);
    expect(alone).toBeLessThan(0.6);
    expect(taught).not.toBeCloseTo(alone!, 2);
  });

  test('leaves as many tensors after two epochs as after one', async () => {
    const counts: number[] = [];
    for (const epochs of [1, 2]) {
      await done({changes: {train: {...training.train, epochs}}}, async (context) => {
        const before = tf.memory().numTensors;
        await train(context, input());
        counts.push(tf.memory().numTensors - before);
      });
    }
    expect(counts[1]).toBe(counts[0]);
  });
});

describe('stopped after a step and resumed in a new session: the same weights and the same rows', () => {
  const phases = {
    pretrain: {
      changes: pretraining,
      file: 'full-precision.safetensors',
      body: (context: PhaseContext) => pretrain(context),
    },
    search: {
      changes: searching,
      file: 'searched.safetensors',
      body: (context: PhaseContext) => search(context, weights),
    },
    'taught search': {
      changes: {search: {...searching.search, distillation: true}},
      file: 'searched.safetensors',
      body: (context: PhaseContext) => search(context, weights),
    },
    train: {changes: training, file: 'quantized.safetensors', body: (context: PhaseContext) => train(context, input())},
  };

  test.each<[keyof typeof phases, string, number, string[]]>([
    ['pretrain', 'sgd', 11, []],
    ['pretrain', 'adamw', 8, []],
    ['search', 'sgd', 5, []],
    ['taught search', 'sgd', 5, []],
    ['train', 'sgd', 7, []],
    ['train', 'adamw', 9, []],
    // In the first epoch, whose ranges were measured before it, and in the second.
    ['train', 'sgd', 3, ['onnxruntime']],
    ['train', 'adamw', 9, ['onnxruntime']],
  ])('%s with %s, step %i, for %j', async (name, optimizer, stopAfter, hardware) => {
    const {body, changes: settings, file} = phases[name];
    const phase = name.split(' ').at(-1)!;
    const section = (settings as Record<string, Record<string, unknown>>)[phase]!;
    const rate = optimizer === 'sgd' ? 0.1 : 0.01;
    const changes = {[phase]: {...section, optimizer: {name: optimizer, learningRate: rate}}, hardware};
    const whole = await done<unknown>({changes}, body);
    const half = await tinyRun({root, changes, stopAfter});
    const stopped = await body(half.context).catch((error: unknown) => error);
    expect(stopped).toBeInstanceOf(SdqError);
    expect((stopped as SdqError).oclif.exit).toBe(143);
    const rowsBefore = half.metrics().length;
    await half.close();
    const resumed = await done<unknown>({changes, resume: half.run.id}, body);
    expect(resumed.run.metrics().length).toBeGreaterThan(rowsBefore);
    expect(steps(resumed, phase)).toEqual(steps(whole, phase));
    const bytesOf = ({run: {run}}: Done<unknown>): Buffer => tensorBytes(path.join(run.directory, file));
    expect(Buffer.compare(bytesOf(resumed), bytesOf(whole))).toBe(0);
    if (hardware.length === 0) return;
    // The target's roundings are part of it.
    const plain = await done<unknown>({changes: {...changes, hardware: []}}, body);
    expect(Buffer.compare(bytesOf(plain), bytesOf(whole))).not.toBe(0);
  });
});
