import {afterAll, beforeAll, describe, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {expectSameOnBothBackends, runKernel} from '../../../../helpers/compare-backends.ts';
import {builds, startBuild} from '../../../../helpers/engine-builds.ts';
import {randomTensor} from '../../../../helpers/gradient-check.ts';

const geometry = fc
  .record({
    batch: fc.constantFrom(0, 1, 2, 5),
    height: fc.integer({min: 4, max: 12}),
    width: fc.integer({min: 4, max: 12}),
    channels: fc.constantFrom(1, 3, 5, 16, 17, 64),
    kernel: fc.tuple(fc.integer({min: 1, max: 4}), fc.integer({min: 1, max: 4})),
    strides: fc.tuple(fc.integer({min: 1, max: 3}), fc.integer({min: 1, max: 3})),
    pad: fc.constantFrom('same' as const, 'valid' as const, 0, 1),
  })
  .filter(({kernel, pad}) => pad !== 1 || Math.min(...kernel) > 1)
  // tfjs computes both output sizes of a numeric padding from the first stride.
  .filter(({strides, pad}) => typeof pad === 'string' || strides[0] === strides[1]);
const seeds = fc.nat({max: 1e6});
const cases = {numRuns: 25};

describe.each(builds)('%s build, threads: %i', (build, threads) => {
  let stop: () => Promise<void>;
  beforeAll(async () => void (stop = await startBuild(build, threads)));
  afterAll(() => stop());

  describe.each([
    [tf.MaxPool, tf.MaxPoolGrad],
    [tf.AvgPool, tf.AvgPoolGrad],
  ])('%s', (forward, backward) => {
    test('and its gradient are the cpu results for any window, stride and padding', () => {
      fc.assert(
        fc.property(geometry, seeds, ({batch, height, width, channels, kernel, strides, pad}, seed) => {
          expectSameOnBothBackends(() => {
            // Rounded, so that windows have equal maxima.
            const x = tf.round(tf.mul(randomTensor([batch, height, width, channels], seed), 2));
            const attributes = {filterSize: kernel, strides, pad, dimRoundingMode: 'floor'};
            const y = runKernel(forward, {x}, attributes);
            const dy = randomTensor(y.shape, seed + 1);
            return [y, runKernel(backward, {dy, input: x, output: y}, attributes)];
          });
        }),
        cases,
      );
    });

    test('a window of one element subsamples', () => {
      expectSameOnBothBackends(() => {
        const x = tf.concat(
          [randomTensor([2, 5, 9, 17], 1), tf.fill([2, 1, 9, 17], NaN), randomTensor([2, 3, 9, 17], 2)],
          1,
        );
        const attributes = {filterSize: 1, strides: [1, 2], pad: 'valid'};
        const y = runKernel(forward, {x}, attributes);
        return [y, runKernel(backward, {dy: randomTensor(y.shape, 8), input: x, output: y}, attributes)];
      });
    });

    test('the stem of a ResNet, 3×3 at stride 2, on every thread', () => {
      expectSameOnBothBackends(() => {
        const x = tf.round(randomTensor([2, 17, 16, 64], 7));
        const attributes = {filterSize: 3, strides: 2, pad: 1, dimRoundingMode: 'floor'};
        const y = runKernel(forward, {x}, attributes);
        return [y, runKernel(backward, {dy: randomTensor(y.shape, 8), input: x, output: y}, attributes)];
      });
    });

    test('NaN and infinities as on the cpu', () => {
      expectSameOnBothBackends(() => {
        const x = tf.tensor4d([NaN, 1, -Infinity, 2, Infinity, 3, 0, NaN, NaN], [1, 3, 3, 1]);
        const attributes = {filterSize: 2, strides: 1, pad: 'valid'};
        return runKernel(forward, {x}, attributes);
      });
    });
  });
});
