import {afterAll, beforeAll, describe, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {expectSameOnBothBackends} from '../../../../helpers/compare-backends.ts';
import {builds, startBuild} from '../../../../helpers/engine-builds.ts';
import {randomTensor} from '../../../../helpers/gradient-check.ts';

const size = fc.oneof(fc.integer({min: 1, max: 20}), fc.constantFrom(1, 64, 65));

describe.each(builds)('%s build, threads: %i', (build, threads) => {
  let stop: () => Promise<void>;
  beforeAll(async () => void (stop = await startBuild(build, threads)));
  afterAll(() => stop());

  describe('matMul', () => {
    test('any sizes, the four transposes, batches broadcast', () => {
      fc.assert(
        fc.property(
          fc.record({
            rows: size,
            length: size,
            columns: size,
            batches: fc.constantFrom<[number[], number[]]>(
              [[], []],
              [[3], [3]],
              [[1], [2]],
              [[5], [1]],
              [
                [2, 2],
                [2, 2],
              ],
              [[0], [0]],
            ),
            transposeA: fc.boolean(),
            transposeB: fc.boolean(),
            seed: fc.nat(),
          }),
          ({rows, length, columns, batches, transposeA, transposeB, seed}) =>
            expectSameOnBothBackends(() => {
              const a = randomTensor([...batches[0], ...(transposeA ? [length, rows] : [rows, length])], seed);
              const b = randomTensor(
                [...batches[1], ...(transposeB ? [columns, length] : [length, columns])],
                seed + 1,
              );
              return tf.matMul(a, b, transposeA, transposeB);
            }),
        ),
        {numRuns: 66},
      );
    });

    test('NaN and infinities reach the sums that contain them', () => {
      expectSameOnBothBackends(() => {
        const a = tf.tensor2d([1, NaN, 2, 3, Infinity, 0, 1, 1, 1, 0, 0, 0], [4, 3]);
        const b = tf.tensor2d([0, 1, -1, 0, 2, 2], [3, 2]);
        return [tf.matMul(a, b), tf.matMul(a, a, true, false), tf.matMul(a, a, false, true)];
      });
    });

    test('large enough for every thread', () => {
      expectSameOnBothBackends(() => {
        const a = randomTensor([131, 70], 1);
        const b = randomTensor([70, 75], 2);
        return [
          tf.matMul(a, b),
          tf.matMul(tf.transpose(a), b, true),
          tf.matMul(a, tf.transpose(b), false, true),
          tf.matMul(tf.transpose(a), tf.transpose(b), true, true),
        ];
      });
    });
  });

  describe('fused matMul', () => {
    test.each<[tf.fused.Activation]>([['linear'], ['relu'], ['relu6'], ['elu'], ['sigmoid'], ['leakyrelu'], ['prelu']])(
      'bias and %s',
      (activation) => {
        expectSameOnBothBackends(() =>
          [false, true].flatMap((transpose) =>
            [randomTensor([9], 3), randomTensor([1, 9], 3), tf.scalar(2), undefined].map((bias) =>
              tf.fused.matMul({
                a: randomTensor(transpose ? [6, 13] : [13, 6], 1),
                b: randomTensor(transpose ? [9, 6] : [6, 9], 2),
                transposeA: transpose,
                transposeB: transpose,
                ...(bias === undefined ? {} : {bias}),
                activation,
                preluActivationWeights: randomTensor([9], 4),
                leakyreluAlpha: 0.1,
              }),
            ),
          ),
        );
      },
    );
  });
});
