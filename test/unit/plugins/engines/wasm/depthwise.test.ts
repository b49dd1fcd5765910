import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {expectSameOnBothBackends, runKernel} from '../../../../helpers/compare-backends.ts';
import {builds, startBuild} from '../../../../helpers/engine-builds.ts';
import {randomTensor} from '../../../../helpers/gradient-check.ts';

type Shape4 = [number, number, number, number];

interface Case {
  readonly x: Shape4;
  readonly filter: Shape4;
  readonly strides: [number, number];
  readonly dilations: [number, number];
  readonly pad: 'same' | 'valid' | number;
  readonly seed: number;
}

const infoOf = ({x, filter, strides, dilations, pad}: Case): tf.backend_util.Conv2DInfo =>
  tf.backend_util.computeConv2DInfo(x, filter, strides, dilations, pad, undefined, true);

const square = (max: number): fc.Arbitrary<[number, number]> =>
  fc.integer({min: 1, max}).map((value): [number, number] => [value, value]);

const cases = (dilation: number): fc.Arbitrary<Case> =>
  fc
    .record({
      x: fc.tuple(
        fc.constantFrom(0, 1, 3),
        fc.integer({min: 1, max: 10}),
        fc.integer({min: 1, max: 10}),
        fc.constantFrom(1, 3, 5, 16, 17, 64),
      ),
      kernel: fc.tuple(fc.integer({min: 1, max: 4}), fc.integer({min: 1, max: 4})),
      multiplier: fc.constantFrom(1, 1, 1, 2),
      strides: square(3),
      dilations: square(dilation),
      pad: fc.constantFrom<Case['pad']>('same', 'valid', 1),
      seed: fc.nat(),
    })
    .map(({x, kernel, multiplier, ...rest}) => ({x, filter: [...kernel, x[3], multiplier] as Shape4, ...rest}))
    .filter((c) => {
      // The oracle takes one or the other.
      if (c.strides[0] > 1 && c.dilations[0] > 1) return false;
      const info = infoOf(c);
      return info.outHeight > 0 && info.outWidth > 0;
    });

/** Normal draws; the element at `special` is NaN where this is a place in the tensor. */
function drawn(shape: readonly number[], seed: number, special = -1): tf.Tensor {
  const values = randomTensor(shape, seed).dataSync().slice();
  if (special >= 0 && special < values.length) values[special] = NaN;
  return tf.tensor(values, [...shape]);
}

const attributes = ({strides, dilations, pad}: Case): object => ({strides, dilations, pad, dataFormat: 'NHWC'});
const inputGradient = (c: Case, special?: number): tf.Tensor =>
  runKernel(
    tf.DepthwiseConv2dNativeBackpropInput,
    {dy: drawn(infoOf(c).outShape, c.seed), filter: drawn(c.filter, c.seed + 1, special)},
    {...attributes(c), inputShape: c.x},
  );
const filterGradient = (c: Case, special?: number): tf.Tensor =>
  runKernel(
    tf.DepthwiseConv2dNativeBackpropFilter,
    {x: drawn(c.x, c.seed), dy: drawn(infoOf(c).outShape, c.seed + 1, special)},
    {...attributes(c), filterShape: c.filter},
  );
const forward = (c: Case, special?: number): tf.Tensor =>
  runKernel(
    tf.DepthwiseConv2dNative,
    {x: drawn(c.x, c.seed), filter: drawn(c.filter, c.seed + 1, special)},
    attributes(c),
  );

/** The gradient of the filter with the dy that `inputGradient` draws. */
const dwOf = (c: Case): tf.Tensor =>
  runKernel(
    tf.DepthwiseConv2dNativeBackpropFilter,
    {x: drawn(c.x, c.seed), dy: drawn(infoOf(c).outShape, c.seed)},
    {...attributes(c), filterShape: c.filter},
  );

describe.each(builds)('%s build, threads: %i', (build, threads) => {
  let stop: () => Promise<void>;
  beforeAll(async () => void (stop = await startBuild(build, threads)));
  afterAll(() => stop());

  describe('depthwise convolution', () => {
    test('any shape, stride, padding and dilation', () => {
      fc.assert(
        fc.property(cases(3), (c) => expectSameOnBothBackends(() => forward(c))),
        {numRuns: 40},
      );
    });

    test('both gradients of any shape, stride and padding', () => {
      fc.assert(
        fc.property(cases(1), (c) => expectSameOnBothBackends(() => [inputGradient(c), filterGradient(c)])),
        {numRuns: 40},
      );
    });

    test.each([1, 3, 12, 36])('gradients of rate %d are the adjoint of the forward pass', (rate) => {
      for (const stride of [1, 2, 3]) {
        const c: Case = {
          x: [3, 13, 10, 17],
          filter: [3, 3, 17, 1],
          strides: [stride, stride],
          dilations: [rate, rate],
          pad: rate,
          seed: stride,
        };
        tf.tidy(() => {
          const dot = (a: tf.Tensor, b: tf.Tensor): number => tf.sum(tf.mul(a, b)).dataSync()[0]!;
          const [y, dy] = [forward(c), drawn(infoOf(c).outShape, c.seed)];
          const size = 1e-5 * Math.sqrt(dot(y, y) * dot(dy, dy));
          expect(Math.abs(dot(drawn(c.x, c.seed), inputGradient(c)) - dot(y, dy))).toBeLessThanOrEqual(size);
          const filterPart = dot(drawn(c.filter, c.seed + 1), dwOf(c));
          expect(Math.abs(filterPart - dot(y, dy))).toBeLessThanOrEqual(size);
        });
      }
    });

    test('a NaN goes where the oracle has it', () => {
      fc.assert(
        fc.property(cases(1), fc.nat(40), (c, special) =>
          expectSameOnBothBackends(() => [forward(c, special), inputGradient(c, special), filterGradient(c, special)]),
        ),
        {numRuns: 13},
      );
    });

    test.each<[size: number, stride: number, channels: number, width: number, pad: Case['pad']]>([
      [3, 1, 48, 23, 'same'],
      [3, 1, 5, 71, 1],
      [3, 1, 20, 1, 1],
      [3, 2, 36, 23, 'same'],
      [3, 2, 20, 70, 1],
      [3, 2, 17, 71, 'same'],
      [3, 2, 8, 70, 'valid'],
      [3, 2, 7, 1, 1],
      [3, 2, 6, 2, 'same'],
      [5, 1, 21, 23, 'same'],
      [5, 1, 8, 3, 4],
      [5, 2, 40, 23, 'same'],
      [5, 2, 9, 34, 2],
      [7, 1, 16, 23, 'same'],
      [7, 1, 3, 6, 'same'],
      [7, 2, 33, 23, 'same'],
      [12, 1, 4, 30, 'same'],
      [4, 3, 17, 23, 'same'],
    ])('%d pixels wide, of stride %d on %d channels, rows of %d, padding %s', (size, stride, channels, width, pad) => {
      const c: Case = {
        x: [2, 4, width, channels],
        filter: [3, size, channels, 1],
        strides: [stride, stride],
        dilations: [1, 1],
        pad,
        seed: 1,
      };
      expectSameOnBothBackends(() => [forward(c), inputGradient(c), filterGradient(c)]);
    });

    test.each([
      [3, 2],
      [5, 1],
      [5, 2],
      [7, 1],
    ])('%d pixels wide, of stride %d, fused with bias and relu6', (size, strides) => {
      expectSameOnBothBackends(() =>
        tf.fused.depthwiseConv2d({
          x: tf.mul<tf.Tensor4D>(randomTensor([2, 6, 21, 18], 1), 4),
          filter: randomTensor([3, size, 18, 1], 2) as tf.Tensor4D,
          strides,
          pad: 'same',
          bias: randomTensor([18], 3),
          activation: 'relu6',
        }),
      );
    });

    test.each<[tf.fused.Activation | undefined]>([['relu'], ['relu6'], ['linear'], ['elu'], ['prelu'], [undefined]])(
      'fused with bias and %s',
      (activation) => {
        expectSameOnBothBackends(() =>
          tf.fused.depthwiseConv2d({
            x: tf.mul<tf.Tensor4D>(randomTensor([2, 6, 5, 19], 1), 4),
            filter: randomTensor([3, 3, 19, 1], 2) as tf.Tensor4D,
            strides: 1,
            pad: 'same',
            bias: randomTensor([19], 3),
            ...(activation === undefined ? {} : {activation}),
            preluActivationWeights: randomTensor([19], 4),
          }),
        );
      },
    );
  });
});
