import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {backendName} from '../../../../../src/plugins/engines/wasm/backend.ts';
import {expectSameOnBothBackends} from '../../../../helpers/compare-backends.ts';
import {builds, startBuild} from '../../../../helpers/engine-builds.ts';
import {randomTensor} from '../../../../helpers/gradient-check.ts';

const sizes = fc.oneof(fc.integer({min: 1, max: 7}), fc.constantFrom(0, 1, 16, 17));
/** Now and then large enough that every thread works. */
const shapes = fc.oneof(
  {arbitrary: fc.array(sizes, {maxLength: 4}).filter((shape) => tf.util.sizeFromShape(shape) < 3000), weight: 9},
  {arbitrary: fc.constantFrom([30_003], [1801, 17]), weight: 1},
);
const seeds = fc.nat({max: 1e6});
const cases = {numRuns: 20};
const exactly = {relative: 0, absolute: 0};

const special = [NaN, Infinity, -Infinity, 0, -0, 1, -1, 0.5, 1.5, 2.5, -0.5, 6, 7, 1e-38, 3e38];
/** Every pair of special values. */
const pairs = (): [tf.Tensor, tf.Tensor] => [
  tf.tensor1d(special.flatMap((a) => special.map(() => a))),
  tf.tensor1d(special.flatMap(() => special)),
];

const binary = {
  add: tf.add,
  sub: tf.sub,
  mul: tf.mul,
  div: tf.div,
  maximum: tf.maximum,
  minimum: tf.minimum,
} as const;

const exactUnary = {
  relu: tf.relu,
  relu6: tf.relu6,
  clip: (x: tf.Tensor) => tf.clipByValue(x, -0.5, 1.25),
  sqrt: tf.sqrt,
  square: tf.square,
  neg: tf.neg,
  abs: tf.abs,
  round: tf.round,
} as const;

const roundedUnary = {
  rsqrt: tf.rsqrt,
  exp: tf.exp,
  log: tf.log,
  sigmoid: tf.sigmoid,
  tanh: tf.tanh,
  erf: tf.erf,
} as const;

describe.each(builds)('%s build, threads: %i', (build, threads) => {
  let stop: () => Promise<void>;
  beforeAll(async () => void (stop = await startBuild(build, threads)));
  afterAll(() => stop());

  describe.each(Object.entries(binary))('%s', (_, operation) => {
    test('of the same shape is exactly the cpu result', () => {
      fc.assert(
        fc.property(shapes, seeds, (shape, seed) => {
          expectSameOnBothBackends(() => operation(randomTensor(shape, seed), randomTensor(shape, seed + 1)), exactly);
        }),
        cases,
      );
    });

    test('broadcasts a scalar, last axes and anything else, from either side', () => {
      fc.assert(
        fc.property(
          fc.array(fc.oneof(fc.integer({min: 1, max: 6}), fc.constantFrom(16, 17)), {minLength: 1, maxLength: 3}),
          fc.integer({min: 0, max: 3}),
          fc.nat({max: 7}),
          fc.boolean(),
          seeds,
          (shape, from, ones, swap, seed) => {
            const small = shape
              .map((size, axis) => ((ones >> axis) & 1 ? 1 : size))
              .slice(Math.min(from, shape.length));
            expectSameOnBothBackends(() => {
              const [a, b] = [randomTensor(shape, seed), randomTensor(small, seed + 1)];
              return swap ? operation(b, a) : operation(a, b);
            }, exactly);
          },
        ),
        {numRuns: 40},
      );
    });

    test('broadcasts a channel of a tensor that every thread works on', () => {
      for (const channels of [1, 17, 64]) {
        expectSameOnBothBackends(() => {
          const [x, c] = [randomTensor([Math.ceil(30_000 / channels), channels], 1), randomTensor([channels], 2)];
          return [operation(x, c), operation(c, x)];
        }, exactly);
      }
    });

    test('broadcasts axes in the middle and from both sides, large and small', () => {
      const shapes: readonly [number[], number[]][] = [
        [
          [3, 40, 33],
          [3, 1, 33],
        ],
        [
          [3, 40, 17],
          [3, 40, 1],
        ],
        [
          [2, 1, 5, 1],
          [1, 3, 1, 6],
        ],
        [
          [2, 3, 1, 5, 7],
          [2, 1, 4, 5, 1],
        ],
        [
          [40, 1, 70],
          [1, 30, 1],
        ],
        [
          [0, 3, 2],
          [1, 3, 1],
        ],
      ];
      for (const [a, b] of shapes) {
        expectSameOnBothBackends(() => {
          const [x, y] = [randomTensor(a, 1), randomTensor(b, 2)];
          return [operation(x, y), operation(y, x)];
        }, exactly);
      }
    });

    test('treats NaN, infinities and zeros as the cpu does', () => {
      expectSameOnBothBackends(() => operation(...pairs()), exactly);
    });

    test('leaves whole numbers to the cpu kernel', () => {
      const whole = (): [tf.Tensor, tf.Tensor] => [
        tf.tensor1d([7, -8, 2 ** 30], 'int32'),
        tf.tensor1d([2, 3, 2 ** 30], 'int32'),
      ];
      expectSameOnBothBackends(() => operation(...whole()), exactly);
    });
  });

  describe.each(Object.entries(exactUnary))('%s', (_, operation) => {
    test('is exactly the cpu result, special values included', () => {
      fc.assert(
        fc.property(shapes, seeds, (shape, seed) => {
          expectSameOnBothBackends(() => operation(tf.mul(randomTensor(shape, seed), 4)), exactly);
        }),
        cases,
      );
      expectSameOnBothBackends(() => operation(tf.tensor1d(special)), exactly);
    });
  });

  describe.each(Object.entries(roundedUnary))('%s', (_, operation) => {
    test('is the cpu result up to rounding, special values included', () => {
      fc.assert(
        fc.property(shapes, seeds, (shape, seed) => {
          expectSameOnBothBackends(() => operation(tf.mul(randomTensor(shape, seed), 4)), {relative: 1e-6});
        }),
        cases,
      );
      expectSameOnBothBackends(() => operation(tf.tensor1d(special)), {relative: 1e-6});
    });
  });

  test('the sign of zero: relu drops it, clip and neg keep it', () => {
    void tf.setBackend(backendName);
    const zero = tf.tensor1d([-0]);
    const values = [tf.relu(zero), tf.clipByValue(zero, 0, 1), tf.neg(tf.tensor1d([0]))].map((t) => t.dataSync()[0]);
    expect(values).toEqual([0, -0, -0]);
  });

  test('addN adds one, two and many tensors', () => {
    fc.assert(
      fc.property(shapes, fc.integer({min: 1, max: 5}), seeds, (shape, count, seed) => {
        expectSameOnBothBackends(
          () => tf.addN(Array.from({length: count}, (_, i) => randomTensor(shape, seed + i))),
          exactly,
        );
      }),
      cases,
    );
  });
});
