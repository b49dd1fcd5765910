import {afterAll, beforeAll, describe, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {expectSameOnBothBackends} from '../../../../helpers/compare-backends.ts';
import {builds, startBuild} from '../../../../helpers/engine-builds.ts';
import {randomTensor} from '../../../../helpers/gradient-check.ts';

const sizes = fc.oneof(fc.integer({min: 1, max: 7}), fc.constantFrom(1, 16, 17, 64));
/** Now and then large enough that every thread works. */
const shapes = fc.oneof(
  {
    arbitrary: fc.array(sizes, {minLength: 1, maxLength: 4}).filter((shape) => tf.util.sizeFromShape(shape) < 5000),
    weight: 6,
  },
  {arbitrary: fc.constantFrom([30_003], [1801, 17], [2, 240, 64], [3000, 10], [120, 16, 16]), weight: 1},
);
const seeds = fc.nat({max: 1e6});

describe.each(builds)('%s build, threads: %i', (build, threads) => {
  let stop: () => Promise<void>;
  beforeAll(async () => void (stop = await startBuild(build, threads)));
  afterAll(() => stop());

  describe.each(Object.entries({sum: tf.sum, mean: tf.mean, max: tf.max}))('%s', (name, operation) => {
    test('over any axes is the cpu result', () => {
      fc.assert(
        fc.property(shapes, fc.nat({max: 15}), fc.boolean(), seeds, (shape, subset, keepDims, seed) => {
          const axes = shape.map((_, i) => i).filter((i) => (subset >> i) & 1);
          expectSameOnBothBackends(
            () => operation(tf.add(randomTensor(shape, seed), 0.5), axes.length > 0 ? axes : undefined, keepDims),
            name === 'max' ? {relative: 0, absolute: 0} : {relative: 1e-5, absolute: 1e-5},
          );
        }),
        {numRuns: 60},
      );
    });

    test('NaN and infinities come through as on the cpu', () => {
      for (const bad of [NaN, Infinity, -Infinity]) {
        for (const axis of [0, 1]) {
          const x = (): tf.Tensor => tf.concat([randomTensor([30, 18], 1), tf.fill([1, 18], bad)]);
          expectSameOnBothBackends(() => operation(x(), axis), {relative: 1e-5});
        }
      }
    });

    test('whole numbers keep their type', () => {
      expectSameOnBothBackends(() =>
        operation(
          tf.tensor2d(
            [
              [1, 2, 4],
              [4, 5, 6],
            ],
            [2, 3],
            'int32',
          ),
          0,
        ),
      );
    });
  });

  test('sum and mean of nothing are 0', () => {
    expectSameOnBothBackends(() => [
      tf.sum(tf.zeros([0, 3]), 0),
      tf.mean(tf.zeros([0, 3]), 0),
      tf.sum(tf.zeros([3, 0]), 1),
      tf.sum(tf.zeros([0, 3]), 1),
    ]);
  });

  describe('softmax', () => {
    test('is the cpu result, huge logits included', () => {
      fc.assert(
        fc.property(fc.integer({min: 0, max: 400}), sizes, fc.constantFrom(1, 100), seeds, (n, c, unit, seed) => {
          expectSameOnBothBackends(() => tf.softmax(tf.mul(randomTensor([n, c], seed), unit)));
        }),
        {numRuns: 30},
      );
    });

    test('a NaN or +∞ spoils its row only, −∞ has probability 0', () => {
      expectSameOnBothBackends(() =>
        tf.softmax(
          tf.tensor2d([
            [1, NaN, 0],
            [1, 2, 3],
            [-Infinity, 1, 1],
            [Infinity, 1, 1],
          ]),
        ),
      );
    });
  });
});
