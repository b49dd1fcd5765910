import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose, expectGradients, randomTensor, spacedTensor} from '../../helpers/gradient-check.ts';

useCpuBackend();

const random = randomTensor;
/** Away from 0 and positive. */
const positive = (shape: number[], seed: number): tf.Tensor => tf.add(tf.abs(random(shape, seed)), 0.5);

type Pad = 'valid' | 'same' | number | tf.backend_util.ExplicitPadding;
const asymmetric: Pad = [
  [0, 0],
  [0, 2],
  [1, 0],
  [0, 0],
];

describe('Conv2D', () => {
  test.each<[string, number[], number[], [number, number], Pad]>([
    ['3×3, one pixel of padding', [2, 5, 4, 3], [3, 3, 3, 2], [1, 1], 1],
    ['stride 2 that leaves a row over', [1, 6, 7, 2], [3, 3, 2, 3], [2, 2], 1],
    ['different strides and an even filter', [1, 7, 6, 2], [2, 3, 2, 1], [2, 1], 'valid'],
    ['padding on two sides only', [1, 5, 5, 2], [3, 2, 2, 3], [2, 1], asymmetric],
    ['1×1 with stride 2', [2, 5, 3, 3], [1, 1, 3, 2], [2, 2], 0],
    ['padding same', [1, 5, 6, 1], [4, 4, 1, 2], [2, 2], 'same'],
  ])('%s', (_, x, filter, strides, pad) => {
    expectGradients(
      (x, filter) => tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, strides, pad),
      [random(x, 1), random(filter, 2)],
    );
  });

  test('a dilated convolution is refused, not differentiated wrongly', () => {
    const x = random([1, 7, 7, 1], 1) as tf.Tensor4D;
    expect(() =>
      tf.grad((filter) => tf.conv2d(x, filter as tf.Tensor4D, 1, 'valid', 'NHWC', 2))(random([3, 3, 1, 1], 2)),
    ).toThrow('dilations');
  });
});

describe('DepthwiseConv2dNative', () => {
  test.each<[string, number[], number[], [number, number], Pad]>([
    ['3×3, one pixel of padding', [2, 4, 5, 3], [3, 3, 3, 1], [1, 1], 1],
    ['stride 2', [1, 7, 6, 2], [3, 3, 2, 1], [2, 2], 1],
    ['padding on two sides only', [1, 5, 6, 3], [3, 2, 3, 1], [1, 1], asymmetric],
    ['two outputs a channel', [1, 4, 4, 2], [2, 2, 2, 2], [1, 1], 'valid'],
  ])('%s', (_, x, filter, strides, pad) => {
    expectGradients(
      (x, filter) => tf.depthwiseConv2d(x as tf.Tensor4D, filter as tf.Tensor4D, strides, pad),
      [random(x, 3), random(filter, 4)],
    );
  });
});

describe('pooling', () => {
  const shapes: [string, number[], number | [number, number], number | [number, number], Pad][] = [
    ['2×2', [2, 4, 6, 3], 2, 2, 'valid'],
    ['overlapping, padded', [1, 7, 5, 2], 3, 2, 1],
    ['rectangular, padded on two sides', [1, 5, 6, 2], [3, 2], [2, 1], asymmetric],
  ];
  test.each(shapes)('MaxPool %s', (_, x, size, strides, pad) => {
    const f = (x: tf.Tensor): tf.Tensor => tf.maxPool(x as tf.Tensor4D, size, strides, pad);
    expectGradients(f, [spacedTensor(x, 5)]);
  });
  test.each(shapes)('AvgPool %s, padding not counted', (_, x, size, strides, pad) => {
    const f = (x: tf.Tensor): tf.Tensor => tf.avgPool(x as tf.Tensor4D, size, strides, pad);
    expectGradients(f, [random(x, 6)]);
  });
});

describe('BatchMatMul', () => {
  test.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])('transposeA %s, transposeB %s', (transposeA, transposeB) => {
    const a = random(transposeA ? [5, 3] : [3, 5], 7);
    const b = random(transposeB ? [2, 5] : [5, 2], 8);
    expectGradients((a, b) => tf.matMul(a, b, transposeA, transposeB), [a, b]);
  });
  test('a batch against one shared matrix', () => {
    expectGradients((a, b) => tf.matMul(a, b), [random([3, 2, 4], 9), random([1, 4, 5], 10)]);
  });
});

describe('element-wise with broadcasting', () => {
  const operators: [string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor][] = [
    ['Add', tf.add],
    ['Sub', tf.sub],
    ['Multiply', tf.mul],
    ['RealDiv', tf.div],
    ['Maximum', tf.maximum],
    ['Minimum', tf.minimum],
  ];
  const shapes: [number[], number[]][] = [
    [
      [3, 5],
      [3, 5],
    ],
    [[2, 3, 5], [5]],
    [
      [3, 1],
      [2, 1, 5],
    ],
    [[], [3]],
  ];
  test.each(operators.flatMap(([name, f]) => shapes.map(([a, b]) => ({name, f, a, b}))))(
    '$name of $a and $b',
    ({f, a, b}) => {
      expectGradients(f, [random(a, 11), positive(b, 13)], {epsilon: 3e-3});
    },
  );
  test('an operator with the same tensor on both sides adds both gradients', () => {
    expectGradients((x) => tf.add(x, tf.mul(x, x)), [random([7], 13)]);
  });
  test('AddN', () => {
    expectGradients((a, b) => tf.addN([a, b, a]), [random([3, 2], 14), random([3, 2], 15)]);
  });
});

describe('element-wise', () => {
  test.each<[string, (x: tf.Tensor) => tf.Tensor]>([
    ['Relu', tf.relu],
    ['Relu6', (x) => tf.relu6(tf.mul(x, 7))],
    ['ClipByValue', (x) => tf.clipByValue(x, -0.62, 0.83)],
    ['Sigmoid', tf.sigmoid],
    ['Tanh', tf.tanh],
    ['Exp', tf.exp],
    ['Square', tf.square],
    ['Abs', tf.abs],
    ['Neg', tf.neg],
    ['Cast', (x) => tf.cast(x, 'float32')],
    ['Identity', tf.clone],
  ])('%s', (_, f) => {
    expectGradients(f, [tf.add(spacedTensor([3, 7], 16), 0.023)], {epsilon: 2e-3});
  });
  test.each<[string, (x: tf.Tensor) => tf.Tensor]>([
    ['Log', tf.log],
    ['Sqrt', tf.sqrt],
    ['Rsqrt', tf.rsqrt],
  ])('%s', (_, f) => {
    expectGradients(f, [positive([5, 3], 17)], {epsilon: 3e-3});
  });
  test('Relu and Relu6 pass nothing at their corners, as PyTorch does', () => {
    const at = tf.tensor1d([-1, 0, 3, 6, 7]);
    expectClose(tf.grad((x) => tf.relu(x))(at), [0, 0, 1, 1, 1]);
    expectClose(tf.grad((x) => tf.relu6(x))(at), [0, 0, 1, 0, 0]);
  });
});

describe('Softmax and LogSoftmax', () => {
  test('over the last axis', () => {
    expectGradients((x) => tf.softmax(x), [random([3, 5], 18)]);
    expectGradients((x) => tf.logSoftmax(x), [random([3, 5], 19)]);
  });
});

describe('reductions', () => {
  const reductions: [string, (x: tf.Tensor, axis?: number | number[], keep?: boolean) => tf.Tensor][] = [
    ['Sum', tf.sum],
    ['Mean', tf.mean],
    ['Max', tf.max],
  ];
  test.each(reductions)('%s over all, one and several axes', (_, reduce) => {
    const x = spacedTensor([2, 3, 5], 20);
    expectGradients((x) => reduce(x), [x]);
    expectGradients((x) => reduce(x, 1), [x]);
    expectGradients((x) => reduce(x, -1, true), [x]);
    expectGradients((x) => reduce(x, [0, 2]), [x]);
    expectGradients((x) => reduce(x, [0, 1], true), [x]);
  });
  test('equal maxima share the gradient', () => {
    expectClose(tf.grad((x) => tf.max(x))(tf.tensor1d([1, 4, 2, 4])), [0, 0.5, 0, 0.5]);
  });
});

describe('rearranging', () => {
  test.each<[string, number[], (x: tf.Tensor) => tf.Tensor]>([
    ['Reshape', [3, 4], (x) => tf.reshape(x, [2, 6])],
    ['ExpandDims', [3, 4], (x) => tf.expandDims(x, 1)],
    ['Squeeze', [3, 1, 4], (x) => tf.squeeze(x)],
    ['Transpose', [2, 3, 5, 1], (x) => tf.transpose(x, [2, 0, 3, 1])],
    ['Transpose of a matrix', [2, 3], (x) => tf.transpose(x)],
    [
      'PadV2',
      [2, 3, 1],
      (x) =>
        tf.pad(x, [
          [0, 1],
          [2, 0],
          [1, 1],
        ]),
    ],
    ['Slice', [4, 5, 3], (x) => tf.slice(x, [1, 0, 2], [2, 5, 1])],
    ['Slice to the end', [4, 5], (x) => tf.slice(x, [1, 2])],
    ['Slice of a vector', [5], (x) => tf.slice1d(x as tf.Tensor1D, 2, 2)],
    ['Tile', [2, 3], (x) => tf.tile(x, [3, 2])],
    ['broadcastTo', [3, 1], (x) => tf.broadcastTo(x, [2, 3, 4])],
    [
      'SplitV, both parts used',
      [3, 5],
      (x) => tf.sub(...(tf.split(x, [2, 2, 1], 1).slice(0, 2) as [tf.Tensor, tf.Tensor])),
    ],
    ['SplitV, one part used', [4, 2], (x) => tf.split(x, 2, 0)[1]!],
  ])('%s', (_, shape, f) => {
    expectGradients(f, [random(shape, 21)]);
  });
  test('Concat along an inner axis, one tensor used twice', () => {
    expectGradients((a, b) => tf.concat([a, b, a], -1), [random([2, 3], 22), random([2, 1], 23)]);
    expectGradients((a, b) => tf.concat([a, b], 0), [random([1, 3], 24), random([2, 3], 25)]);
  });
});
