import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {composedGelu, composedGeluGrad} from '../../../../../src/tensor/gelu.ts';
import {registerGradients} from '../../../../../src/tensor/gradients.ts';
import {runFused} from '../../../../../src/tensor/kernels.ts';
import {composedLeakyRelu, composedLeakyReluGrad} from '../../../../../src/tensor/leaky-relu.ts';
import {composedLayerNorm, composedLayerNormGrad} from '../../../../../src/tensor/layer-norm.ts';
import {expectSameOnBothBackends} from '../../../../helpers/compare-backends.ts';
import {builds, startBuild} from '../../../../helpers/engine-builds.ts';
import {randomTensor} from '../../../../helpers/gradient-check.ts';

/** x, x · Φ(x) and its derivative, by Python's `math.erfc` in float64. */
const gelus = [
  [-6, -5.919525870226207e-9, -3.5468709453902015e-8],
  [-4.5, -1.5289529061285276e-5, -6.852916185634458e-5],
  [-3, -0.004049694094890287, -0.011945647204183927],
  [-1.7, -0.07576128668952323, -0.11531796878216473],
  [-0.6, -0.16455187065004415, 0.07431835601499381],
  [-0.01, -0.004960106436853684, 0.49202142034750757],
  [0, 0, 0.5],
  [0.3, 0.18537342665668577, 0.7323277668271098],
  [1, 0.8413447460685429, 1.0833154705876864],
  [2.2, 2.1694124154703034, 1.0641406567482106],
  [5, 4.99999856674214, 1.0000071469460017],
  [30, 30, 1],
] as const;

const rows = fc.oneof(fc.integer({min: 1, max: 9}), fc.constantFrom(70, 131));
const widths = fc.oneof(fc.integer({min: 1, max: 40}), fc.constantFrom(64, 1025));
const cases = {numRuns: 10};

describe.each(builds)('%s build, threads: %i', (build, threads) => {
  let stop: () => Promise<void>;
  beforeAll(async () => {
    registerGradients();
    stop = await startBuild(build, threads);
  });
  afterAll(() => stop());

  test('Gelu and its derivative are those of float64', () => {
    tf.tidy(() => {
      const x = tf.tensor1d(gelus.map(([at]) => at));
      const absent = (): never => {
        throw new Error('the kernel is not registered');
      };
      const [y] = runFused('SdqGelu', {x}, {approximate: false}, absent);
      const [dx] = runFused('SdqGeluGrad', {x, dy: tf.onesLike(x)}, {approximate: false}, absent);
      const [values, slopes] = [y!.dataSync(), dx!.dataSync()];
      for (const [i, [at, value, slope]] of gelus.entries()) {
        expect(Math.abs(values[i]! - value)).toBeLessThan(1.5e-7 * Math.max(1, Math.abs(at)));
        expect(Math.abs(slopes[i]! - slope)).toBeLessThan(4e-7);
      }
    });
  });

  test.each([[false], [true]])('Gelu and its gradient, by tanh: %s', (approximate) => {
    fc.assert(
      fc.property(rows, widths, fc.nat(), (n, c, seed) => {
        expectSameOnBothBackends(
          () => {
            const x = tf.mul(randomTensor([n, c], seed), 3);
            const dy = randomTensor([n, c], seed + 1);
            return [
              ...runFused('SdqGelu', {x}, {approximate}, () => [composedGelu(x, {approximate})]),
              ...runFused('SdqGeluGrad', {x, dy}, {approximate}, () => [composedGeluGrad(x, dy, {approximate})]),
            ];
          },
          // tanh of float32 near 1 leaves few digits of 1 − tanh², on both sides.
          {relative: approximate ? 1e-5 : 1e-6},
        );
      }),
      cases,
    );
  });

  test('LeakyRelu and its gradient', () => {
    fc.assert(
      fc.property(rows, widths, fc.nat(), (n, c, seed) => {
        expectSameOnBothBackends(() => {
          const [x, dy] = [randomTensor([n, c], seed), randomTensor([n, c], seed + 1)];
          const attributes = {alpha: 0.1};
          return [
            ...runFused('SdqLeakyRelu', {x}, attributes, () => [composedLeakyRelu(x, attributes)]),
            ...runFused('SdqLeakyReluGrad', {x, dy}, attributes, () => [composedLeakyReluGrad(x, dy, attributes)]),
          ];
        });
      }),
      cases,
    );
  });

  test.each([[1e-5], [0.1]])('layer normalisation and its gradient, epsilon %d', (epsilon) => {
    fc.assert(
      fc.property(rows, widths, fc.nat(), (n, c, seed) => {
        expectSameOnBothBackends(
          () => {
            // Neighbouring columns differ: 1 / deviation of a narrow row that is almost constant would magnify the rounding of both sides.
            const x = tf.add(tf.mul(randomTensor([n, c], seed), 0.2), tf.mod(tf.range(0, c), 3));
            const [gamma, beta] = [randomTensor([c], seed + 1), randomTensor([c], seed + 2)];
            const dy = randomTensor([n, c], seed + 3);
            return [
              ...runFused('SdqLayerNorm', {x, gamma, beta}, {epsilon}, () => [
                composedLayerNorm(x, gamma, beta, {epsilon}),
              ]),
              // One element has no deviation: its gradient is rounding times 1 / √epsilon.
              ...(c < 3
                ? []
                : runFused('SdqLayerNormGrad', {x, gamma, dy}, {epsilon}, () =>
                    composedLayerNormGrad(x, gamma, dy, {epsilon}),
                  )),
            ];
          },
          {relative: 2e-5, absolute: 1e-5},
        );
      }),
      cases,
    );
  });

  test('softmax and its gradient, large logits and rows longer than a block', () => {
    fc.assert(
      fc.property(rows, widths, fc.constantFrom(1, 30), fc.nat(), (n, c, size, seed) => {
        expectSameOnBothBackends(
          () => {
            const x = tf.mul(randomTensor([n, c], seed), size);
            return [tf.softmax(x), tf.grad((logits) => tf.softmax(logits))(x, randomTensor([n, c], seed + 1))];
          },
          {relative: 2e-6},
        );
      }),
      cases,
    );
  });
});
