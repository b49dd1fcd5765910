import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {backendName} from '../../../../../src/plugins/engines/wasm/backend.ts';
import {composedBatchNormAct, composedBatchNormActGrad} from '../../../../../src/tensor/batch-norm.ts';
import {addAct, clipGradient} from '../../../../../src/tensor/add-act.ts';
import {composedBinRegularizer} from '../../../../../src/tensor/bin-regularizer.ts';
import {composedSoftmaxCrossEntropy} from '../../../../../src/tensor/cross-entropy.ts';
import {composedFakeQuantize, composedFakeQuantizeGrad} from '../../../../../src/tensor/fake-quantize.ts';
import {
  runFused,
  type BatchNormActAttributes,
  type GradientRule,
  type Grid,
} from '../../../../../src/tensor/kernels.ts';
import {adamUpdate, sgdUpdate} from '../../../../../src/tensor/optimizer-updates.ts';
import {expectSameOnBothBackends} from '../../../../helpers/compare-backends.ts';
import {builds, startBuild} from '../../../../helpers/engine-builds.ts';
import {randomTensor} from '../../../../helpers/gradient-check.ts';

const channels = fc.constantFrom(1, 3, 5, 10, 16, 17, 24, 64);
/** Leading axes; now and then large enough that every thread works. */
const leading = fc.oneof(
  {arbitrary: fc.array(fc.integer({min: 1, max: 6}), {minLength: 1, maxLength: 3}), weight: 8},
  {arbitrary: fc.constantFrom([0], [0, 2, 2], [5, 13, 29], [1901]), weight: 2},
);
const shapes = fc.tuple(leading, channels).map(([sizes, c]) => [...sizes, c]);
const seeds = fc.nat({max: 1e6});

const grids: readonly Grid[] = [
  {qmin: 0, qmax: 15, offset: 0},
  {qmin: -8, qmax: 7, offset: 0},
  {qmin: -1, qmax: 0, offset: 0.5},
  {qmin: -2, qmax: 1, offset: 0},
  {qmin: 0, qmax: 255, offset: 0},
];
const rules: fc.Arbitrary<GradientRule> = fc.record({
  input: fc.constantFrom('identity', 'clipped'),
  scale: fc.constantFrom('none', 'clip', 'lsq'),
  gradientScale: fc.constantFrom(1, 0.125),
});
const ranges = fc.constantFrom({min: 0, max: Infinity}, {min: 0, max: 6}, {min: -Infinity, max: Infinity});

/** A fixed seed: where a value lies within rounding error of two grid points, either is right. */
const cases = {numRuns: 20, seed: 20_261_123};

const positive = (shape: readonly number[], seed: number, unit: number): tf.Tensor =>
  tf.mul(tf.add(tf.abs(randomTensor(shape, seed)), 0.2), unit);
const lastOf = (shape: readonly number[]): number => shape.at(-1)!;

describe.each(builds)('%s build, threads: %i', (build, threads) => {
  let stop: () => Promise<void>;
  beforeAll(async () => void (stop = await startBuild(build, threads)));
  afterAll(() => stop());

  describe('SdqFakeQuantize', () => {
    test('is the composed definition, bit for bit, with one scale and with one per channel', () => {
      fc.assert(
        fc.property(shapes, fc.constantFrom(...grids), fc.boolean(), seeds, (shape, grid, perChannel, seed) => {
          expectSameOnBothBackends(
            () => {
              const x = randomTensor(shape, seed);
              const scale = positive(perChannel ? [lastOf(shape)] : [], seed + 1, 0.2);
              return runFused('SdqFakeQuantize', {x, scale}, grid, () => [composedFakeQuantize(x, scale, grid)]);
            },
            {relative: 0, absolute: 0},
          );
        }),
        cases,
      );
    });

    test('rounds ties to even, clips, keeps NaN and takes infinities to the ends of the grid', () => {
      void tf.setBackend(backendName);
      const x = tf.tensor1d([0.25, 0.75, 1.25, -0.25, -0.75, 100, Infinity, -Infinity, NaN]);
      const [y] = runFused('SdqFakeQuantize', {x, scale: tf.scalar(0.5)}, {qmin: -8, qmax: 7, offset: 0}, () => []);
      expect(Array.from(y!.dataSync(), (v) => v + 0)).toEqual([0, 1, 1, 0, -1, 3.5, 3.5, -4, NaN]);
    });
  });

  describe('SdqFakeQuantizeGrad', () => {
    test('is the composed definition for every rule', () => {
      fc.assert(
        fc.property(
          shapes,
          fc.constantFrom(...grids),
          rules,
          fc.boolean(),
          seeds,
          (shape, grid, rule, perChannel, seed) => {
            expectSameOnBothBackends(
              () => {
                const [x, dy] = [randomTensor(shape, seed), randomTensor(shape, seed + 2)];
                const scale = positive(perChannel ? [lastOf(shape)] : [], seed + 1, 0.2);
                return runFused('SdqFakeQuantizeGrad', {x, scale, dy}, {grid, rule}, () =>
                  composedFakeQuantizeGrad(x, scale, dy, grid, rule),
                );
              },
              {relative: 1e-5, absolute: 1e-5},
            );
          },
        ),
        cases,
      );
    });

    test('NaN in x: passes as inside, and makes the LSQ scale gradient NaN, as the composition does', () => {
      for (const scale of ['none', 'clip', 'lsq'] as const) {
        const rule: GradientRule = {input: 'clipped', scale, gradientScale: 1};
        expectSameOnBothBackends(() => {
          const x = tf.tensor1d([NaN, 1, 100, -Infinity, Infinity]);
          const dy = tf.tensor1d([1, 2, 3, 4, 5]);
          const step = tf.scalar(0.25);
          const grid = grids[1]!;
          const all = runFused('SdqFakeQuantizeGrad', {x, scale: step, dy}, {grid, rule}, () =>
            composedFakeQuantizeGrad(x, step, dy, grid, rule),
          );
          return scale === 'lsq' ? [all[0]!, tf.isNaN(all[1]!)] : all;
        });
      }
    });
  });

  describe('SdqBatchNormAct', () => {
    const attributes: fc.Arbitrary<BatchNormActAttributes> = fc
      .tuple(ranges, fc.constantFrom(null, ...grids), rules)
      .map(([range, grid, rule]) => ({...range, epsilon: 1e-5, grid, rule}));
    const parameters = (shape: readonly number[], seed: number): Record<'gamma' | 'beta' | 'scale', tf.Tensor> => ({
      gamma: randomTensor([lastOf(shape)], seed + 1),
      beta: randomTensor([lastOf(shape)], seed + 2),
      scale: positive([], seed + 3, 0.3),
    });

    test('is the composed definition: output, batch mean and biased variance', () => {
      fc.assert(
        fc.property(shapes, attributes, seeds, (shape, attrs, seed) => {
          expectSameOnBothBackends(
            () => {
              const x = tf.add(tf.mul(randomTensor(shape, seed), 3), 1);
              const {gamma, beta, scale} = parameters(shape, seed);
              return runFused('SdqBatchNormAct', {x, gamma, beta, scale}, attrs, () =>
                composedBatchNormAct(x, gamma, beta, scale, attrs),
              );
            },
            {relative: 2e-5, absolute: 2e-5},
          );
        }),
        cases,
      );
    });

    test('its gradient is the composed one: x, gamma, beta and scale', () => {
      fc.assert(
        fc.property(shapes, attributes, seeds, (shape, attrs, seed) => {
          expectSameOnBothBackends(
            () => {
              const x = tf.add(tf.mul(randomTensor(shape, seed), 3), 1);
              const {gamma, beta, scale} = parameters(shape, seed);
              const [mean, variance] = [
                randomTensor([lastOf(shape)], seed + 4),
                positive([lastOf(shape)], seed + 5, 4),
              ];
              const dy = randomTensor(shape, seed + 6);
              return runFused('SdqBatchNormActGrad', {x, gamma, beta, mean, variance, scale, dy}, attrs, () =>
                composedBatchNormActGrad(x, gamma, beta, mean, variance, scale, dy, attrs),
              );
            },
            {relative: 2e-5, absolute: 2e-5},
          );
        }),
        cases,
      );
    });

    test('statistics keep their digits when the mean is a thousand deviations', () => {
      void tf.setBackend(backendName);
      const rows = 40_001;
      const values = Float32Array.from({length: rows * 3}, (_, i) => 1000 + Math.sin(i) + (i % 3));
      const attrs = {min: -Infinity, max: Infinity, epsilon: 0, grid: null, rule: {}};
      const [gamma, beta, scale] = [tf.ones([3]), tf.zeros([3]), tf.scalar(1)];
      const x = tf.tensor(values, [rows, 3]);
      const [y, mean, variance] = runFused('SdqBatchNormAct', {x, gamma, beta, scale}, attrs, () => []);
      const found = {mean: mean!.dataSync(), variance: variance!.dataSync(), y: y!.dataSync()};
      for (let c = 0; c < 3; c++) {
        let [sum, squares] = [0, 0];
        for (let r = 0; r < rows; r++) sum += values[3 * r + c]!;
        for (let r = 0; r < rows; r++) squares += (values[3 * r + c]! - sum / rows) ** 2;
        expect(found.mean[c]! / (sum / rows)).toBeCloseTo(1, 7);
        expect(found.variance[c]! / (squares / rows)).toBeCloseTo(1, 5);
        expect(found.y[c]).toBeCloseTo((values[c]! - sum / rows) / Math.sqrt(squares / rows), 3);
      }
    });

    test('a NaN or an infinity spoils its own channel only', () => {
      for (const bad of [NaN, Infinity, -Infinity]) {
        const attrs = {min: 0, max: Infinity, epsilon: 1e-5, grid: null, rule: {} as GradientRule};
        expectSameOnBothBackends(
          () => {
            const x = tf.concat([tf.tensor2d([[0.5, bad, -1]]), randomTensor([300, 3], 1)]);
            const [gamma, beta, scale] = [tf.ones([3]), tf.zeros([3]), tf.scalar(1)];
            return runFused('SdqBatchNormAct', {x, gamma, beta, scale}, attrs, () =>
              composedBatchNormAct(x, gamma, beta, scale, attrs),
            );
          },
          {relative: 1e-5, absolute: 1e-5},
        );
      }
    });
  });

  describe('SdqAddAct and SdqClipGrad', () => {
    test('are the composed definitions', () => {
      fc.assert(
        fc.property(shapes, ranges, seeds, (shape, range, seed) => {
          expectSameOnBothBackends(
            () => {
              const [a, b] = [randomTensor(shape, seed), tf.mul(randomTensor(shape, seed + 1), 5)];
              const y = addAct(a, b, range);
              return [y, clipGradient(y, randomTensor(shape, seed + 2), range)];
            },
            {relative: 0, absolute: 0},
          );
        }),
        cases,
      );
    });

    test('keep NaN, and let no gradient through it', () => {
      expectSameOnBothBackends(() => {
        const y = addAct(tf.tensor1d([NaN, Infinity, -Infinity, 1]), tf.tensor1d([1, 1, 1, 1]), {min: 0, max: 6});
        return [y, clipGradient(y, tf.ones([4]), {min: 0, max: 6})];
      });
    });
  });

  describe('SdqSoftmaxCrossEntropy', () => {
    test('is the composed definition, large logits included', () => {
      fc.assert(
        fc.property(fc.integer({min: 1, max: 300}), channels, fc.constantFrom(1, 80), seeds, (n, c, unit, seed) => {
          expectSameOnBothBackends(() => {
            const logits = tf.mul(randomTensor([n, c], seed), unit);
            const targets = tf.softmax(randomTensor([n, c], seed + 1));
            return runFused('SdqSoftmaxCrossEntropy', {logits, targets}, {}, () =>
              composedSoftmaxCrossEntropy(logits, targets),
            );
          });
        }),
        cases,
      );
    });
  });

  describe('SdqBinRegularizer', () => {
    test('is the composed definition, with one scale and with one per channel', () => {
      const weights = fc.tuple(fc.integer({min: 1, max: 40}), channels);
      const large = fc.tuple(fc.constant(471), fc.constantFrom(16, 17));
      fc.assert(
        fc.property(
          fc.oneof(weights, large),
          fc.constantFrom(...grids),
          fc.boolean(),
          seeds,
          ([n, c], grid, perChannel, seed) => {
            expectSameOnBothBackends(
              () => {
                const w = randomTensor([n, c], seed);
                const scale = positive(perChannel ? [c] : [], seed + 1, 0.3);
                return runFused('SdqBinRegularizer', {w, scale}, grid, () => composedBinRegularizer(w, scale, grid));
              },
              {relative: 2e-4, absolute: 1e-6},
            );
          },
        ),
        cases,
      );
    });
  });

  test('SdqBinRegularizer: a NaN or an infinity among the weights makes the loss one, and stops nothing', () => {
    void tf.setBackend(backendName);
    for (const bad of [NaN, Infinity, -Infinity]) {
      const w = tf.tensor1d([0.1, bad, -0.2, 0.3]);
      const [loss] = runFused('SdqBinRegularizer', {w, scale: tf.scalar(0.1)}, grids[1]!, () => []);
      expect(Number.isFinite(loss!.dataSync()[0])).toBe(false);
    }
  });

  describe('optimizer updates', () => {
    test('SdqSgdUpdate is the composed definition', () => {
      fc.assert(
        fc.property(shapes, fc.boolean(), seeds, (shape, nesterov, seed) => {
          const attributes = {learningRate: 0.1, momentum: 0.9, nesterov, weightDecay: 1e-3};
          expectSameOnBothBackends(() => {
            const [param, grad, velocity] = [seed, seed + 1, seed + 2].map((s) => randomTensor(shape, s));
            return sgdUpdate(param!, grad!, velocity!, attributes);
          });
        }),
        cases,
      );
    });

    test('SdqAdamUpdate is the composed definition, decoupled decay or not', () => {
      fc.assert(
        fc.property(shapes, fc.boolean(), fc.integer({min: 1, max: 1000}), seeds, (shape, decoupled, step, seed) => {
          const attributes = {
            learningRate: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weightDecay: 0.01,
            decoupled,
            step,
          };
          expectSameOnBothBackends(() => {
            const [param, grad, m] = [seed, seed + 1, seed + 2].map((s) => randomTensor(shape, s));
            return adamUpdate(param!, grad!, m!, positive(shape, seed + 3, 1), attributes);
          });
        }),
        cases,
      );
    });
  });
});
