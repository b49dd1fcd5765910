import {afterAll, beforeAll, describe, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import type {Engine} from '../../../../../src/plugin-api/registry.ts';
import {expectSameOnBothBackends, startBackends} from '../../../../helpers/compare-backends.ts';
import {randomTensor} from '../../../../helpers/gradient-check.ts';

let engine: Engine;
beforeAll(async () => void (engine = await startBackends()));
afterAll(() => engine.dispose());

const exactly = {relative: 0, absolute: 0};
/** Shapes of rank 1 to 4, sizes 0 included, now and then large enough for both threads. */
const shapes = fc.array(fc.oneof(fc.integer({min: 1, max: 9}), fc.constantFrom(0, 1, 16, 17)), {
  minLength: 1,
  maxLength: 4,
});
const draw = fc.nat();

/** The same draw of an index below `below` for each place. */
const pick = (seed: number, place: number, below: number): number =>
  Math.floor((((seed * (place + 7) * 2654435761) % 2 ** 32) / 2 ** 32) * below);

describe('Fill, ZerosLike, OnesLike', () => {
  test.each([[[]], [[0, 3]], [[7]], [[33, 1001]]])('fill %j', (shape: number[]) => {
    expectSameOnBothBackends(
      () => [
        tf.fill(shape, -1.5),
        tf.fill(shape, 3, 'int32'),
        tf.zerosLike(tf.fill(shape, 2)),
        tf.onesLike(tf.fill(shape, NaN)),
        tf.onesLike(tf.fill(shape, 2, 'int32')),
      ],
      exactly,
    );
  });
});

describe('Cast', () => {
  test('converts between float32, int32 and bool as the oracle does, and the result can be computed with', () => {
    expectSameOnBothBackends(() => {
      const float = tf.tensor1d([-2.7, -0.2, 0, 0.4, 3.9, NaN]);
      const int = tf.tensor1d([-3, 0, 7], 'int32');
      const bool = tf.tensor1d([true, false], 'bool');
      return [
        tf.cast(float, 'int32'),
        tf.cast(float, 'bool'),
        tf.add(tf.zeros([3]), tf.cast(int, 'float32')),
        tf.cast(int, 'bool'),
        tf.concat([tf.zeros([2]), tf.cast(bool, 'float32')]),
        tf.cast(bool, 'int32'),
      ];
    }, exactly);
  });
});

describe('copies of boxes', () => {
  test('PadV2 puts any border around any shape', () => {
    fc.assert(
      fc.property(shapes, draw, (shape, seed) => {
        const paddings = shape.map((_, i): [number, number] => [pick(seed, i, 3), pick(seed, i + 9, 3)]);
        expectSameOnBothBackends(() => tf.pad(randomTensor(shape, seed), paddings, 0.5), exactly);
      }),
    );
  });

  test('Slice takes any box out of any shape, floats and integers', () => {
    fc.assert(
      fc.property(shapes, draw, (shape, seed) => {
        const begin = shape.map((size, i) => pick(seed, i, size));
        const size = shape.map((all, i) => pick(seed, i + 9, all - begin[i]! + 1));
        expectSameOnBothBackends(() => {
          const x = randomTensor(shape, seed);
          return [tf.slice(x, begin, size), tf.slice(tf.cast(tf.mul(x, 100), 'int32'), begin, size)];
        }, exactly);
      }),
    );
  });

  test('Transpose permutes the axes in any order', () => {
    fc.assert(
      fc.property(shapes, draw, (shape, seed) => {
        const axes = shape.map((_, i) => i).sort((a, b) => pick(seed, a, 1000) - pick(seed, b, 1000));
        expectSameOnBothBackends(() => tf.transpose(randomTensor(shape, seed), axes), exactly);
      }),
    );
  });

  test.each([
    [
      [2, 3, 4, 1, 5, 2, 3],
      [0, 4, 1, 2, 3, 5, 6],
    ],
    [
      [2, 3, 2, 3, 2, 3, 2],
      [6, 4, 2, 0, 1, 3, 5],
    ],
  ])('Transpose of seven axes: %j by %j', (shape, axes) => {
    expectSameOnBothBackends(() => tf.transpose(randomTensor(shape, 1), axes), exactly);
  });

  test('Reverse turns any set of axes around', () => {
    fc.assert(
      fc.property(shapes, draw, (shape, seed) => {
        const axes = shape.map((_, i) => i).filter((i) => pick(seed, i, 2) === 1);
        expectSameOnBothBackends(() => tf.reverse(randomTensor(shape, seed), axes), exactly);
      }),
    );
  });

  test('Concat joins tensors of different sizes along any axis', () => {
    fc.assert(
      fc.property(shapes, draw, (shape, seed) => {
        const axis = pick(seed, 0, shape.length);
        expectSameOnBothBackends(() => {
          const parts = [0, 1, 2].map((k) =>
            randomTensor(
              shape.map((size, i) => (i === axis ? pick(seed, k, 5) : size)),
              seed + k,
            ),
          );
          return tf.concat(parts, axis);
        }, exactly);
      }),
    );
  });

  test('Tile repeats any shape along its axes', () => {
    fc.assert(
      fc.property(shapes, draw, (shape, seed) => {
        const repetitions = shape.map((_, i) => pick(seed, i, 3) + 1);
        expectSameOnBothBackends(() => tf.tile(randomTensor(shape, seed), repetitions), exactly);
      }),
      {numRuns: 40},
    );
  });
});

describe('entries by index', () => {
  const indices = (seed: number, length: number, count: number, first = 0): tf.Tensor1D =>
    tf.tensor1d(
      Array.from({length}, (_, i) => first + pick(seed, i, count)),
      'int32',
    );

  test('GatherV2 takes entries along any axis, in any order, as often as asked', () => {
    fc.assert(
      fc.property(shapes, draw, (shape, seed) => {
        const axis = pick(seed, 0, shape.length);
        const taken = indices(seed, shape[axis] === 0 ? 0 : 5, shape[axis]!);
        expectSameOnBothBackends(() => {
          const x = randomTensor(shape, seed);
          return [tf.gather(x, taken, axis), tf.gather(tf.cast(tf.mul(x, 100), 'int32'), taken, axis)];
        }, exactly);
      }),
    );
  });

  test('UnsortedSegmentSum adds the rows of a segment; a row of segment −1 is left out', () => {
    fc.assert(
      fc.property(shapes, fc.integer({min: 1, max: 9}), draw, (shape, segments, seed) => {
        expectSameOnBothBackends(
          () => {
            const ids = indices(seed, shape[0]!, segments + 1, -1);
            return tf.unsortedSegmentSum(randomTensor(shape, seed), ids, segments);
          },
          {relative: 1e-6, absolute: 1e-6},
        );
      }),
    );
  });
});
