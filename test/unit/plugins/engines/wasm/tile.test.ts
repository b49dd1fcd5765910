import {afterAll, beforeAll, describe, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {expectSameOnBothBackends} from '../../../../helpers/compare-backends.ts';
import {builds, startBuild} from '../../../../helpers/engine-builds.ts';
import {randomTensor} from '../../../../helpers/gradient-check.ts';

const exactly = {relative: 0, absolute: 0};

describe.each(builds)('%s build, threads: %i', (build, threads) => {
  let stop: () => Promise<void>;
  beforeAll(async () => void (stop = await startBuild(build, threads)));
  afterAll(() => stop());

  describe('tf.tile', () => {
    test('repeats any axes any number of times', () => {
      const axis = fc.record({size: fc.constantFrom(0, 1, 1, 1, 2, 3, 17), times: fc.integer({min: 0, max: 4})});
      fc.assert(
        fc.property(fc.array(axis, {minLength: 1, maxLength: 4}), (axes) => {
          const shape = axes.map(({size}) => size);
          const times = axes.map(({times}) => times);
          expectSameOnBothBackends(() => tf.tile(randomTensor(shape, 1), times), exactly);
        }),
      );
    });

    test('spreads a mean over its image on every thread, and keeps whole numbers', () => {
      expectSameOnBothBackends(
        () => [
          tf.broadcastTo(randomTensor([5, 1, 1, 17], 1), [5, 20, 21, 17]),
          tf.broadcastTo(randomTensor([1], 2), [31_000]),
          tf.tile(tf.tensor2d([[1, 2, 3]], [1, 3], 'int32'), [2, 2]),
          tf.tile(tf.tensor1d([true, false], 'bool'), [2]),
        ],
        exactly,
      );
    });
  });
});
