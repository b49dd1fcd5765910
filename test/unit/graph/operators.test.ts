import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {SdqError} from '../../../src/errors.ts';
import type {Attribute, Node, Shape} from '../../../src/graph/graph.ts';
import {conversionAxes, type Layout} from '../../../src/graph/layout.ts';
import {eitherLayout, type Operand, type RunOptions} from '../../../src/graph/ops/operator.ts';
import {inferNode, operatorOf} from '../../../src/graph/shape.ts';
import {uniform} from '../../../src/random.ts';
import {gelu} from '../../../src/tensor/gelu.ts';
import {layerNorm} from '../../../src/tensor/layer-norm.ts';
import {leakyRelu} from '../../../src/tensor/leaky-relu.ts';
import {select} from '../../../src/tensor/select.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose, expectGradients, randomTensor, spacedTensor} from '../../helpers/gradient-check.ts';
import {referenceConv, type Array64} from '../../helpers/reference-operators.ts';

useCpuBackend();

type Attributes = Readonly<Record<string, Attribute>>;

const range = (count: number, f: (i: number) => number): number[] => Array.from({length: count}, (_, i) => f(i));
const array = (shape: readonly number[], f: (i: number) => number): Array64 => ({
  shape,
  data: range(
    shape.reduce((a, b) => a * b, 1),
    f,
  ),
});

function nodeOf(op: string, inputs: number, attributes: Attributes): Node {
  return {name: 'node', op, inputs: range(inputs, (i) => i).map((i) => `in${i}`), outputs: ['out'], attributes};
}

function infer(
  op: string,
  values: readonly Shape[],
  parameters: readonly Shape[] = [],
  attributes: Attributes = {},
  signed = true,
) {
  const operands = [
    ...values.map((shape) => ({shape, signed, parameter: false})),
    ...parameters.map((shape) => ({shape, signed: true, parameter: true})),
  ].map((operand, i) => ({name: `in${i}`, ...operand}));
  return inferNode(
    nodeOf(op, operands.length, attributes),
    new Map(operands.map((operand) => [operand.name, operand])),
  );
}

const fused = {gelu, layerNorm, leakyRelu, select};
/** For operators that need to know no more. */
const imageOptions: RunOptions = {
  fused,
  layout: 'channels-last',
  images: 2,
  inputs: [],
  output: {name: 'out', shape: [], signed: true, parameter: false},
};

const converted = (x: tf.Tensor, from: Layout, to: Layout): tf.Tensor =>
  tf.transpose(x, conversionAxes(x.rank, from, to));

/**
 * The operator on tensors in ONNX's order: values and parameters are brought into the layout that it asks for.
 * @param layout of the values where it takes either
 */
function run(
  op: string,
  values: readonly tf.Tensor[],
  parameters: readonly tf.Tensor[] = [],
  attributes: Attributes = {},
  layout: Layout = 'channels-last',
): tf.Tensor {
  const node = nodeOf(op, values.length + parameters.length, attributes);
  const operator = operatorOf(node);
  const operands = [
    ...values.map(({shape}) => ({shape: shape.slice(1), signed: true, parameter: false})),
    ...parameters.map(({shape}) => ({shape, signed: true, parameter: true})),
  ].map((operand, i) => ({name: `in${i}`, ...operand})) as Operand[] as [Operand, ...Operand[]];
  const known = inferNode(node, new Map(operands.map((operand) => [operand.name, operand])));
  const given = operands.map(({parameter, shape}) => (parameter || shape.length < 2 ? 'plain' : layout)) as [
    Layout,
    ...Layout[],
  ];
  const {inputs, output} = (operator.layout ?? eitherLayout)(node, operands, given);
  const laidOut = parameters.map((w, i) => {
    const axes = operator.axes?.(node, values.length + i, operands, inputs);
    return axes === undefined ? w : tf.transpose(w, [...axes]);
  });
  const tensors = [...values.map((x) => converted(x, 'plain', inputs)), ...laidOut];
  const images = values[0]!.shape[0];
  const y = operator.run(tf, node, tensors, {fused, layout: inputs, images, inputs: operands, output: known});
  return converted(y, output, 'plain');
}

/** Also checks that the inferred shape is the one that comes out. */
function apply(
  op: string,
  values: readonly Array64[],
  parameters: readonly Array64[] = [],
  attributes: Attributes = {},
): tf.Tensor {
  const tensors = (arrays: readonly Array64[]) => arrays.map(({shape, data}) => tf.tensor([...data], [...shape]));
  const y = run(op, tensors(values), tensors(parameters), attributes);
  const plain = run(op, tensors(values), tensors(parameters), attributes, 'plain');
  expectClose(plain, y.dataSync());
  const inferred = infer(
    op,
    values.map(({shape}) => shape.slice(1)),
    parameters.map(({shape}) => shape),
    attributes,
  );
  expect(y.shape.slice(1)).toEqual(inferred.shape);
  return y;
}

describe('Conv', () => {
  const x = array([1, 4, 4, 3], (i) => (i % 7) - 3);
  const w = array([4, 2, 2, 3], (i) => (i % 5) - 2);
  const bias = array([4], (i) => [1, -1, 0.5, 0][i]!);

  // From PyTorch 1.13: conv2d(F.pad(x, …), w, bias, …).
  test('groups, strides and asymmetric padding as PyTorch', () => {
    const y = apply('Conv', [x], [w, bias], {group: 2, strides: [2, 1], pads: [0, 2, 1, 1]});
    expectClose(
      y,
      [
        5, 10, 0, 6, 7, 6, -4, 7, -13, -11, 10, -8, 0, -7, -5, 6, 4.5, -3.5, -6.5, 6.5, 5.5, 11.5, 0.5, 5.5, -7, -7, 11,
        -10, -9, -14, -2, 7,
      ],
    );
  });

  test('dilation as PyTorch', () => {
    const y = apply('Conv', [x], [w, bias], {group: 2, strides: [1, 2], dilations: [2, 1], pads: [1, 2, 2, 1]});
    expectClose(
      y,
      [
        3, -3, -4, 0, 4, -2, 2, 0, -2, 5, -3, 0, -10, 8, 0, 4, 3, -9, 3, -4, 4.5, -7.5, 4.5, -1.5, 1.5, 5.5, 1.5, 5.5,
        -1.5, 0.5, -3, 10, -3, 6, 3, 3, -7, -2, 2, 0,
      ],
    );
  });

  test('depthwise with two outputs a channel as PyTorch', () => {
    const filter = array([8, 1, 3, 3], (i) => (i % 4) - 1.5);
    const y = apply('Conv', [x], [filter], {group: 4, strides: [2, 2], pads: [1, 1, 1, 1]});
    expectClose(
      y,
      [
        4, 2, -4, -2.5, 0, 2, 0, 4.5, 6, -1.5, 2.5, 3.5, -4, -2.5, -2.5, 4.5, 8.5, -6, -3, 1, -2.5, -4, -7, 9, -2, -4,
        -5.5, 3.5, 2, 0, -2.5, -3.5,
      ],
    );
  });

  test.each<[string, Parameters<typeof referenceConv>[3]]>([
    ['rate 36, larger than the image', {dilations: [36, 36], pads: [36, 36, 36, 36], strides: [1, 1], group: 1}],
    ['rate 12, depthwise, of stride 2', {dilations: [12, 12], pads: [12, 12, 12, 12], strides: [2, 2], group: 4}],
    ['taps behind the image on one side only', {dilations: [9, 5], pads: [4, 0, 20, 9], strides: [1, 2], group: 2}],
  ])('dilation, %s, equals the loop', (_, attributes) => {
    const draw = uniform(7, 'bench');
    const values = array([3, 4, 7, 6], () => draw() - 0.5);
    const weights = array([4, 4 / attributes.group, 3, 3], () => draw() - 0.5);
    const expected = referenceConv(values, weights, null, attributes);
    tf.tidy(() => {
      const y = apply('Conv', [values], [weights], {...attributes});
      expect(y.shape).toEqual(expected.shape);
      expectClose(y, expected.data);
    });
  });

  test('any geometry equals the loop in double precision, and the inferred shape', () => {
    const small = fc.integer({min: 1, max: 3});
    const pads = fc.integer({min: 0, max: 2});
    const geometry = fc.record({
      batch: fc.integer({min: 1, max: 2}),
      group: small,
      inputs: small,
      outputs: small,
      size: fc.tuple(fc.integer({min: 1, max: 7}), fc.integer({min: 1, max: 7})),
      kernel: fc.tuple(small, small),
      strides: fc.tuple(small, small),
      dilations: fc.tuple(fc.integer({min: 1, max: 2}), fc.integer({min: 1, max: 2})),
      pads: fc.tuple(pads, pads, pads, pads),
      biased: fc.boolean(),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(geometry, ({batch, group, inputs, outputs, size, kernel, strides, dilations, pads, biased, seed}) => {
        fc.pre(size[0] + pads[0] + pads[2] > dilations[0] * (kernel[0] - 1));
        fc.pre(size[1] + pads[1] + pads[3] > dilations[1] * (kernel[1] - 1));
        const draw = uniform(seed, 'bench');
        const values = array([batch, inputs * group, ...size], () => draw() - 0.5);
        const weights = array([outputs * group, inputs, ...kernel], () => draw() - 0.5);
        const added = biased ? array([outputs * group], () => draw() - 0.5) : null;
        const expected = referenceConv(values, weights, added?.data ?? null, {strides, pads, dilations, group});
        tf.tidy(() => {
          const y = apply('Conv', [values], added === null ? [weights] : [weights, added], {
            strides,
            pads,
            dilations,
            group,
          });
          expect(y.shape).toEqual(expected.shape);
          expectClose(y, expected.data);
        });
      }),
      {numRuns: 150},
    );
  });

  test.each<[string, Attributes, number[]]>([
    ['plain', {strides: [2, 1], pads: [1, 0, 2, 1]}, [3, 2, 3, 2]],
    ['grouped and dilated', {group: 2, dilations: [2, 1], pads: [0, 1, 1, 0]}, [4, 1, 2, 3]],
    ['depthwise', {group: 2, strides: [2, 2], pads: [1, 0, 0, 1]}, [4, 1, 3, 2]],
  ])('gradients of a %s convolution equal finite differences', (_name, attributes, shape) => {
    const bias = randomTensor([shape[0]!], 3);
    expectGradients(
      (x, w, b) => run('Conv', [x], [w, b], attributes),
      [randomTensor([2, 2, 5, 4], 1), randomTensor(shape, 2), bias],
    );
  });

  test('the fused activation equals the activation alone', () => {
    for (const group of [1, 2, 4]) {
      const node = nodeOf('Conv', 3, {group, pads: [1, 1, 1, 1]});
      const operator = operatorOf(node);
      const inputs = [randomTensor([2, 5, 5, 4], 1), randomTensor([3, 3, 4 / group, 4], 2), randomTensor([4], 3)];
      const plain = operator.run(tf, node, inputs, imageOptions);
      expectClose(operator.run(tf, node, inputs, {...imageOptions, activation: 'relu'}), tf.relu(plain).dataSync());
      expectClose(
        operator.run(tf, node, inputs, {...imageOptions, activation: 'relu6'}),
        tf.clipByValue(plain, 0, 6).dataSync(),
      );
    }
  });

  test('costs outputs × weights of one, and weights with bias', () => {
    const operands: Operand[] = [
      {name: 'x', shape: [4, 9, 7], signed: true, parameter: false},
      {name: 'w', shape: [6, 2, 3, 3], signed: true, parameter: true},
      {name: 'b', shape: [6], signed: true, parameter: true},
    ];
    const node = {...nodeOf('Conv', 3, {group: 2, strides: [2, 2]}), inputs: ['x', 'w', 'b']};
    const output = inferNode(node, new Map(operands.map((operand) => [operand.name, operand])));
    // 4 × 3 outputs a channel, 6 channels, each of 2 · 3 · 3 products.
    expect(operatorOf(node).cost(node, operands, output)).toEqual({macs: 4 * 3 * 6 * 18, parameters: 6 * 18 + 6});
  });
});

describe('pooling', () => {
  const x = array([1, 1, 5, 6], (i) => i + 1);
  const negative = array([1, 1, 5, 6], (i) => -i - 1);
  const three = {kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1]};

  // From PyTorch 1.13: avg_pool2d and max_pool2d of 1 … 30.
  test.each<[string, string, Array64, Attributes, number[]]>([
    ['AveragePool', 'without the padding', x, three, [4.5, 6, 8, 13.5, 15, 17, 22.5, 24, 26]],
    ['AveragePool', 'with the padding', x, {...three, count_include_pad: 1}, [2, 4, 16 / 3, 9, 15, 17, 10, 16, 52 / 3]],
    [
      'AveragePool',
      'with the padding, rounded up',
      x,
      {...three, count_include_pad: 1, ceil_mode: 1},
      [2, 4, 16 / 3, 3, 9, 15, 17, 9, 10, 16, 52 / 3, 9],
    ],
    [
      'AveragePool',
      'without the padding, rounded up',
      x,
      {...three, ceil_mode: 1},
      [4.5, 6, 8, 9, 13.5, 15, 17, 18, 22.5, 24, 26, 27],
    ],
    [
      'AveragePool',
      'not square, rounded up',
      x,
      {kernel_shape: [2, 3], strides: [3, 2], ceil_mode: 1},
      [5, 7, 8.5, 23, 25, 26.5],
    ],
    ['MaxPool', 'of negative values with padding', negative, three, [-1, -2, -4, -7, -8, -10, -19, -20, -22]],
    [
      'MaxPool',
      'rounded up',
      negative,
      {...three, ceil_mode: 1},
      [-1, -2, -4, -6, -7, -8, -10, -12, -19, -20, -22, -24],
    ],
    [
      'MaxPool',
      'rounded up, but without a window behind the input',
      x,
      {kernel_shape: [2, 2], strides: [3, 3], pads: [1, 1, 1, 1], ceil_mode: 1},
      [1, 4, 6, 19, 22, 24],
    ],
    ['MaxPool', 'of one pixel: subsampling', x, {kernel_shape: [1, 1], strides: [2, 3]}, [1, 4, 13, 16, 25, 28]],
    ['GlobalAveragePool', 'of all', x, {}, [15.5]],
  ])('%s %s as PyTorch', (op, _what, input, attributes, expected) => {
    expectClose(apply(op, [input], [], attributes), expected);
  });

  test('the average with padding on one side only counts what ONNX counts', () => {
    const ones = array([1, 2, 3, 3], () => 1);
    const attributes = {kernel_shape: [2, 2], strides: [2, 2], pads: [1, 0, 0, 1]};
    expectClose(
      apply('AveragePool', [ones], [], attributes),
      range(8, () => 1),
    );
    // One row of zeros above and one column to the right: the corner window has one pixel inside.
    const counted = [0.5, 0.25, 1, 0.5];
    expectClose(apply('AveragePool', [ones], [], {...attributes, count_include_pad: 1}), [...counted, ...counted]);
  });

  test.each<[string, Attributes]>([
    ['AveragePool', three],
    ['AveragePool', {...three, count_include_pad: 1, ceil_mode: 1}],
    ['AveragePool', {kernel_shape: [2, 2], strides: [2, 2], pads: [1, 0, 0, 1]}],
    ['MaxPool', {...three, ceil_mode: 1}],
    ['MaxPool', {kernel_shape: [1, 1], strides: [2, 2]}],
    ['GlobalAveragePool', {}],
  ])('the gradient of %s %j equals finite differences', (op, attributes) => {
    expectGradients((x) => run(op, [x], [], attributes), [spacedTensor([2, 2, 5, 4], 1)]);
  });
});

describe('fully connected layers', () => {
  const x = array([2, 3], (i) => i - 2);
  const w = array([2, 3], (i) => i);
  // [[−2, −1, 0], [1, 2, 3]] · [[0, 1, 2], [3, 4, 5]]ᵀ
  const product = [-1, -10, 8, 26];

  test('Gemm takes weights [out, in] with transB, else [in, out], and a bias', () => {
    const bias = array([2], (i) => 10 * i);
    expectClose(apply('Gemm', [x], [w, bias], {transB: 1}), [-1, 0, 8, 36]);
    const turned = array([3, 2], (i) => (i % 2) * 3 + (i >> 1));
    expectClose(apply('Gemm', [x], [turned]), product);
    expectClose(apply('MatMul', [x], [turned]), product);
  });

  test('MatMul works on the last axis of rows', () => {
    const rows = array([1, 2, 3], (i) => i - 2);
    const turned = array([3, 2], (i) => (i % 2) * 3 + (i >> 1));
    const y = apply('MatMul', [rows], [turned]);
    expect(y.shape).toEqual([1, 2, 2]);
    expectClose(y, product);
  });

  test('gradients equal finite differences', () => {
    const inputs = [randomTensor([2, 3], 1), randomTensor([4, 3], 2), randomTensor([4], 3)];
    expectGradients((x, w, b) => run('Gemm', [x], [w, b], {transB: 1}), inputs);
    expectGradients((x, w) => run('MatMul', [x], [w]), [randomTensor([2, 2, 3], 1), randomTensor([3, 4], 2)]);
  });
});

describe('element-wise operators', () => {
  const x = array([1, 7], (i) => [-4, -3, -1, 0, 1, 3, 4][i]!);

  test.each<[string, Attributes, number[]]>([
    ['Relu', {}, [0, 0, 0, 0, 1, 3, 4]],
    ['Clip', {min: -2, max: 2.5}, [-2, -2, -1, 0, 1, 2.5, 2.5]],
    ['Clip', {max: 1}, [-4, -3, -1, 0, 1, 1, 1]],
    ['Clip', {min: 0, max: 6}, [0, 0, 0, 0, 1, 3, 4]],
    // PyTorch 1.13's hardswish; 1 / (1 + e^−x).
    ['HardSwish', {}, [0, 0, -1 / 3, 0, 2 / 3, 3, 4]],
    ['Sigmoid', {}, [-4, -3, -1, 0, 1, 3, 4].map((v) => 1 / (1 + Math.exp(-v)))],
    ['HardSigmoid', {alpha: 1 / 6, beta: 0.5}, [0, 0, 1 / 3, 0.5, 2 / 3, 1, 1]],
    ['HardSigmoid', {}, [0, 0, 0.3, 0.5, 0.7, 1, 1]],
    ['LeakyRelu', {alpha: 0.25}, [-1, -0.75, -0.25, 0, 1, 3, 4]],
    ['LeakyRelu', {}, [-0.04, -0.03, -0.01, 0, 1, 3, 4]],
    ['Identity', {}, [-4, -3, -1, 0, 1, 3, 4]],
    ['Dropout', {ratio: 0.9}, [-4, -3, -1, 0, 1, 3, 4]],
  ])('%s %j', (op, attributes, expected) => {
    expectClose(apply(op, [x], [], attributes), expected);
  });

  test.each<[string, Attributes]>([
    ['Relu', {}],
    ['Clip', {min: -0.33, max: 0.47}],
    ['HardSwish', {}],
    ['Sigmoid', {}],
    ['HardSigmoid', {alpha: 2, beta: 0.4}],
    ['LeakyRelu', {alpha: 0.2}],
  ])('the gradient of %s equals finite differences', (op, attributes) => {
    expectGradients((x) => run(op, [x], [], attributes), [spacedTensor([2, 7], 1, 0.17)], {epsilon: 1e-3});
  });

  test('Dropout keeps the expectation and draws the same for the same generator', () => {
    const node = nodeOf('Dropout', 1, {ratio: 0.2});
    const ones = tf.ones([100, 100]);
    const drop = () =>
      operatorOf(node)
        .run(tf, node, [ones], {...imageOptions, draw: uniform(1, 'dropout', 2, 3)})
        .dataSync();
    const values = drop();
    expect(new Set(values)).toEqual(new Set([0, Math.fround(1.25)]));
    const kept = values.filter((value) => value > 0).length / values.length;
    // Binomial(10,000, 0.8): four standard deviations are 0.016.
    expect(Math.abs(kept - 0.8)).toBeLessThan(0.016);
    expect(drop()).toEqual(values);
  });

  test('BatchNormalization by running statistics', () => {
    const images = array([1, 2, 1, 2], (i) => [1, 2, 3, 4][i]!);
    const parameters = [
      [2, 3],
      [0.5, -1],
      [1, 2],
      [3, 8],
    ].map((values) => array([2], (i) => values[i]!));
    const y = apply('BatchNormalization', [images], parameters, {epsilon: 1});
    // γ (x − μ) / √(σ² + 1) + β with √4 = 2 and √9 = 3.
    expectClose(y, [0.5, 1.5, 0, 1]);
  });

  test.each<[string, number[]]>([
    ['Equal', [0, 0, 1, 0, 0, 0]],
    ['Greater', [0, 0, 0, 1, 1, 0]],
    ['GreaterOrEqual', [0, 0, 1, 1, 1, 0]],
    ['Less', [1, 1, 0, 0, 0, 0]],
    ['LessOrEqual', [1, 1, 1, 0, 0, 0]],
  ])('%s gives 0 and 1, of no number 0', (op, expected) => {
    const values = array([1, 6], (i) => [-Infinity, -1, 0.5, 0.75, Infinity, NaN][i]!);
    expectClose(apply(op, [values], [array([1], () => 0.5)]), expected);
  });

  test.each<[string, number[]]>([
    ['And', [0, 0, 0, 1]],
    ['Or', [0, 1, 1, 1]],
    ['Xor', [0, 1, 1, 0]],
  ])('%s combines conditions', (op, expected) => {
    const [a, b] = [array([1, 2, 1], (i) => i), array([1, 1, 2], (i) => i)];
    expectClose(apply(op, [a, b]), expected);
    expectClose(apply(op, [a], [array([1, 2], (i) => i)]), expected);
    expectClose(
      apply('Not', [array([1, 4], (i) => expected[i]!)]),
      expected.map((value) => 1 - value),
    );
  });

  test('Add and Mul broadcast between values and with parameters', () => {
    const a = array([2, 2, 1, 3], (i) => i);
    const channel = array([2, 2, 1, 1], (i) => i + 1);
    expectClose(apply('Mul', [a, channel]), [0, 1, 2, 6, 8, 10, 18, 21, 24, 36, 40, 44]);
    const offsets = array([2, 1, 1], (i) => 10 * i);
    const shifted = [0, 1, 2, 13, 14, 15, 6, 7, 8, 19, 20, 21];
    expectClose(apply('Add', [a], [offsets]), shifted);
    expectClose(apply('Add', [a], [array([1, 2, 1, 1], (i) => 10 * i)]), shifted);
    expectClose(
      apply('Mul', [a], [array([1], () => 2)]),
      range(12, (i) => 2 * i),
    );
    expectClose(apply('Add', [array([2, 3], (i) => i)], [array([3], (i) => -i)]), [0, 0, 0, 3, 3, 3]);
  });

  test('gradients of broadcasting equal finite differences', () => {
    const inputs = [randomTensor([2, 3, 2, 2], 1), randomTensor([2, 3, 1, 1], 2)];
    expectGradients((a, b) => run('Mul', [a, b]), inputs);
    expectGradients((a, b) => run('Add', [a], [b]), [inputs[0]!, randomTensor([3, 1, 1], 3)]);
  });
});

describe('operators on the layout', () => {
  const x = array([2, 2, 2, 3], (i) => i);

  test('Flatten and Reshape keep ONNX order: channel, row, column', () => {
    const inOrder = range(24, (i) => i);
    expectClose(apply('Flatten', [x]), inOrder);
    for (const shape of [
      [0, -1],
      [-1, 12],
      [0, 4, 3],
      [0, 3, 2, 2],
      [0, 0, -1, 1],
      [0, 2, 2, 3],
    ]) {
      expectClose(apply('Reshape', [x], [], {shape}), inOrder);
    }
    expectClose(apply('Reshape', [array([2, 12], (i) => i)], [], {shape: [0, 2, 2, 3]}), inOrder);
  });

  test('Concat works along ONNX axes', () => {
    const [a, b] = [array([1, 1, 2, 2], (i) => i), array([1, 1, 2, 2], (i) => 10 + i)];
    expectClose(apply('Concat', [a, b], [], {axis: 1}), [0, 1, 2, 3, 10, 11, 12, 13]);
    expectClose(apply('Concat', [a, b], [], {axis: 2}), [0, 1, 2, 3, 10, 11, 12, 13]);
    expectClose(apply('Concat', [a, b], [], {axis: -1}), [0, 1, 10, 11, 2, 3, 12, 13]);
    expectClose(apply('Concat', [array([1, 2], (i) => i), array([1, 3], (i) => i)], [], {axis: 1}), [0, 1, 0, 1, 2]);
  });

  test('Pad takes ONNX order: begins of all axes, then ends', () => {
    const one = array([1, 1, 1, 2], (i) => i + 1);
    const y = apply('Pad', [one], [], {pads: [0, 1, 0, 0, 0, 0, 1, 2], value: -1});
    expect(y.shape).toEqual([1, 2, 2, 4]);
    expectClose(y, [-1, -1, -1, -1, -1, -1, -1, -1, 1, 2, -1, -1, -1, -1, -1, -1]);
    expectClose(apply('Pad', [array([1, 2], (i) => i + 1)], [], {pads: [0, 1, 0, 2]}), [0, 1, 2, 0, 0]);
  });

  test.each<[string, Attributes]>([
    ['Flatten', {}],
    ['Reshape', {shape: [0, 3, 2, 2]}],
    ['Pad', {pads: [0, 1, 0, 1, 0, 0, 2, 0], value: 3}],
    ['Identity', {}],
  ])('the gradient of %s equals finite differences', (op, attributes) => {
    expectGradients((x) => run(op, [x], [], attributes), [randomTensor([2, 2, 2, 3], 1)]);
  });

  test('the gradient of Concat equals finite differences', () => {
    const inputs = [randomTensor([2, 2, 2, 3], 1), randomTensor([2, 1, 2, 3], 2)];
    expectGradients((a, b) => run('Concat', [a, b], [], {axis: 1}), inputs);
  });
});

describe('sign of the output', () => {
  test.each<[string, Attributes, boolean, boolean]>([
    ['Relu', {}, true, false],
    ['Sigmoid', {}, true, false],
    ['Clip', {min: 0, max: 6}, true, false],
    ['Clip', {min: -1, max: 1}, true, true],
    ['Clip', {min: -1, max: 1}, false, false],
    ['HardSigmoid', {}, true, false],
    ['LeakyRelu', {}, true, true],
    ['LeakyRelu', {}, false, false],
    ['HardSwish', {}, true, true],
    ['HardSwish', {}, false, false],
    ['MaxPool', {kernel_shape: [2, 2]}, false, false],
    ['MaxPool', {kernel_shape: [2, 2]}, true, true],
    ['AveragePool', {kernel_shape: [2, 2]}, false, false],
    ['GlobalAveragePool', {}, false, false],
    ['Flatten', {}, false, false],
    ['Reshape', {shape: [0, -1]}, false, false],
    ['Dropout', {}, false, false],
    ['Identity', {}, false, false],
    ['Pad', {pads: [0, 0, 0, 0, 0, 1, 0, 0]}, false, false],
    ['Pad', {pads: [0, 0, 0, 0, 0, 1, 0, 0], value: -1}, false, true],
  ])('%s %j of an input that can be negative: %p is %p', (op, attributes, input, output) => {
    expect(infer(op, [[2, 4, 4]], [], attributes, input).signed).toBe(output);
  });

  test('weights make it signed, and so does one signed summand', () => {
    expect(infer('Conv', [[2, 4, 4]], [[1, 2, 1, 1]], {}, false).signed).toBe(true);
    expect(infer('Add', [[2], [2]], [], {}, false).signed).toBe(false);
    expect(infer('Add', [[2]], [[2]], {}, false).signed).toBe(true);
    expect(infer('Concat', [[2], [2]], [], {axis: 1}, false).signed).toBe(false);
  });
});

describe('gradients equal finite differences', () => {
  const image = spacedTensor([2, 2, 3, 4], 1, 0.07);
  const above = tf.add(tf.abs(image), 0.5);

  test.each<[string, Attributes]>([
    ['Abs', {}],
    ['Celu', {alpha: 1.5}],
    ['Cos', {}],
    ['Elu', {alpha: 0.7}],
    ['Erf', {}],
    ['Exp', {}],
    ['Gelu', {}],
    ['Gelu', {approximate: 'tanh'}],
    ['Mish', {}],
    ['Neg', {}],
    ['Selu', {}],
    ['Sin', {}],
    ['Softplus', {}],
    ['Softsign', {}],
    ['Tanh', {}],
    ['Softmax', {axis: -1}],
    ['Softmax', {axis: 1}],
    ['LogSoftmax', {axis: 2}],
    ['ReduceL1', {axes: [2]}],
    ['ReduceL2', {axes: [1, 3], keepdims: 0}],
    ['ReduceMax', {axes: [2]}],
    ['ReduceMean', {axes: [1], keepdims: 0}],
    ['ReduceMin', {axes: [-1]}],
    ['ReduceSum', {axes: [2, 3]}],
    ['ReduceSumSquare', {axes: [2]}],
    ['Transpose', {perm: [0, 3, 1, 2]}],
    ['Squeeze', {axes: []}],
    ['Unsqueeze', {axes: [2]}],
    ['Slice', {starts: [2, 3], ends: [-5, 0], axes: [2, 3], steps: [-2, -1]}],
    ['Gather', {axis: 3, indices: [3, 0, 3, -2], indices_shape: [2, 2]}],
    ['GlobalMaxPool', {}],
    ['DepthToSpace', {blocksize: 1}],
    ['SpaceToDepth', {blocksize: 1}],
    ['Resize', {mode: 'nearest', sizes: [5, 3]}],
    ['Resize', {mode: 'cubic', sizes: [2, 7]}],
  ])('of %s %j', (op, attributes) => {
    expectGradients((x) => run(op, [x], [], attributes), [image], {epsilon: 1e-2});
  });

  test.each(['Log', 'Reciprocal', 'Sqrt'])('of %s, above 0', (op) => {
    expectGradients((x) => run(op, [x]), [above], {epsilon: 3e-3});
  });

  test.each<[string, number[][]]>([
    ['Div', [[2, 3, 1]]],
    ['Max', [[3, 4]]],
    ['Min', [[4]]],
    ['Pow', [[2, 1, 1]]],
    ['Sub', [[1, 2, 1, 4]]],
    ['LayerNormalization', [[4], [4]]],
    ['InstanceNormalization', [[2], [2]]],
  ])('of %s with parameters %j', (op, shapes) => {
    const parameters = shapes.map((shape, i) => tf.add(tf.abs(spacedTensor(shape, i + 2, 0.31)), 0.337));
    expectGradients((x, ...others) => run(op, [x], others), [above, ...parameters], {epsilon: 3e-3, absolute: 5e-3});
  });

  test('of Where, and through it none of the condition', () => {
    const [shared, row] = [spacedTensor([3, 4], 2, 0.3), spacedTensor([2, 2, 1, 4], 3, 0.2)];
    for (const layout of ['plain', 'channels-last'] as const) {
      const chosen = (x: tf.Tensor, a: tf.Tensor, b: tf.Tensor) => {
        const condition = run('Greater', [x], [tf.tensor1d([0.11, -0.23, 0.04, 0])], {}, layout);
        return tf.add(run('Where', [condition, tf.square(x), b], [], {}, layout), tf.mul(a, x));
      };
      expectGradients(chosen, [image, shared, row], {epsilon: 1e-3});
      expectGradients((x, b) => run('Where', [tf.step(x), x], [b], {}, layout), [image, shared], {epsilon: 1e-3});
    }
  });

  test.each(['Ceil', 'Floor', 'Round', 'Sign', 'Not'])('of %s: none', (op) => {
    const [gradient] = tf.grads((x) => tf.add(x, run(op, [x])))([image]);
    expectClose(
      gradient!,
      range(image.size, () => 1),
    );
  });

  test('what Where does not choose may be infinite', () => {
    const x = tf.tensor2d([[1, -Infinity, NaN, 4]]);
    const mask = tf.tensor1d([1, 0, 0, 1]);
    const node = nodeOf('Where', 3, {});
    const operands = [[4], [4], []].map((shape, i) => ({name: `in${i}`, shape, signed: true, parameter: i !== 1}));
    const options = {...imageOptions, layout: 'plain' as const, inputs: operands};
    const y = (input: tf.Tensor) => operatorOf(node).run(tf, node, [mask, input, tf.scalar(7)], options);
    expectClose(y(x), [1, 7, 7, 4]);
    expectClose(tf.grads(y)([x], tf.tensor2d([[2, Infinity, NaN, 3]]))[0]!, [2, 0, 0, 3]);
  });

  test('of PRelu and GroupNormalization', () => {
    expectGradients((x, slope) => run('PRelu', [x], [slope]), [image, randomTensor([2, 1, 1], 2)], {epsilon: 3e-3});
    const inputs = [randomTensor([2, 4, 3], 1), randomTensor([4], 2), randomTensor([4], 3)];
    expectGradients((x, ...w) => run('GroupNormalization', [x], w, {num_groups: 2}), inputs);
  });

  test('of MatMul of two values, one of them repeated', () => {
    const inputs = [randomTensor([2, 2, 3, 2], 1), randomTensor([2, 1, 2, 4], 2)];
    expectGradients((a, b) => run('MatMul', [a, b]), inputs);
  });

  test('of ConvTranspose and of Conv over rows', () => {
    const inputs = [randomTensor([2, 2, 3, 2], 1), randomTensor([2, 3, 2, 3], 2), randomTensor([3], 3)];
    const attributes = {strides: [2, 1], pads: [1, 0, 0, 1], output_padding: [1, 0]};
    expectGradients((x, w, b) => run('ConvTranspose', [x], [w, b], attributes), inputs);
    const rows = [randomTensor([2, 4, 7], 1), randomTensor([6, 2, 3], 2), randomTensor([6], 3)];
    expectGradients((x, w, b) => run('Conv', [x], [w, b], {group: 2, pads: [1, 0], strides: [2]}), rows);
  });

  test.each<[string, Attributes]>([
    ['MaxPool', {kernel_shape: [3], strides: [2], pads: [1, 0]}],
    ['AveragePool', {kernel_shape: [3], strides: [2], pads: [1, 1]}],
    ['AveragePool', {kernel_shape: [2], pads: [1, 0], count_include_pad: 1}],
    ['Pad', {mode: 'reflect', pads: [0, 1, 3, 0, 0, 2]}],
    ['Pad', {mode: 'edge', pads: [0, 0, 2, 0, 3, 0]}],
    ['Pad', {mode: 'wrap', pads: [0, 2, 1, 0, 0, 4]}],
  ])('of %s over rows, %j', (op, attributes) => {
    expectGradients((x) => run(op, [x], [], attributes), [spacedTensor([2, 3, 5], 1, 0.07)], {epsilon: 1e-2});
  });

  test('of Expand and Reshape', () => {
    expectGradients((x) => run('Expand', [x], [], {shape: [3, 4]}), [randomTensor([2, 3, 1], 1)]);
    expectGradients((x) => run('Reshape', [x], [], {shape: [0, 3, 8]}), [image]);
  });
});

describe('what does not go together is refused by node, finding and allowance', () => {
  const conv = [[8, 4, 3, 3]];
  test.each<[string, Shape[], Shape[], Attributes, RegExp]>([
    ['Conv', [[3, 8, 8]], conv, {}, /weights \[8, 4, 3, 3\] in 1 groups want 4 input channels .* "in0" has 3 channels/],
    ['Conv', [[12, 8, 8]], conv, {group: 3}, /in 3 groups want 12 input channels and whole groups/],
    ['Conv', [[4, 8]], conv, {}, /input "in0" has the shape \[4, 8\]; it takes an image/],
    ['Conv', [[4, 2, 8]], conv, {}, /the window is 3 high, but the padded input only 2/],
    ['Conv', [[4, 8, 4]], conv, {dilations: [1, 2]}, /the window is 5 wide, but the padded input only 4/],
    ['Conv', [[4, 8, 8]], conv, {kernel_shape: [5, 5]}, /"kernel_shape" is \[5, 5\]; the weights are \[8, 4, 3, 3\]/],
    ['Conv', [[4, 8, 8]], conv, {strides: [0, 1]}, /"strides" is \[0,1\]; it takes 2 whole numbers from 1/],
    ['Conv', [[4, 8, 8]], conv, {pads: [1, 1]}, /"pads" is \[1,1\]; it takes 4 whole numbers from 0/],
    [
      'Conv',
      [[4, 8, 8]],
      conv,
      {auto_pad: 'SAME_UPPER'},
      /attribute "auto_pad" is not supported. Supported: kernel_shape/,
    ],
    ['Conv', [[4, 8, 8]], [...conv, [7]], {}, /parameter "in2" has the shape \[7\]; it must be \[8\]/],
    [
      'Conv',
      [
        [4, 8, 8],
        [8, 4, 3],
      ],
      [],
      {},
      /input "in1" has the shape \[8, 4, 3\]; it must be a parameter/,
    ],
    ['Conv', [[4, 8, 8]], [], {}, /it has 1 inputs; it takes 2 to 3/],
    ['Gemm', [[4]], [[3, 5]], {transB: 1}, /"in1" has the shape \[3, 5\]; it must be \[3, 4\]/],
    ['Gemm', [[4]], [[4, 5]], {alpha: 2}, /"alpha" is 2; it takes 1/],
    ['Gemm', [[4, 2]], [[4, 5]], {}, /it takes one axis of features/],
    ['MatMul', [[4]], [[4]], {}, /"in0" \[N, 4\] and "in1" \[4\] are not \[..., rows, n\] and \[..., n, columns\]/],
    ['MatMul', [[2, 4]], [[5, 4]], {}, /"in0" \[N, 2, 4\] and "in1" \[5, 4\] are not/],
    [
      'MatMul',
      [
        [2, 3, 4],
        [3, 4, 5],
      ],
      [],
      {},
      /"in0" \[N, 2\] and "in1" \[N, 3\] do not broadcast/,
    ],
    ['Softmax', [[4]], [], {axis: 0}, /"axis" is 0, the axis of the batch/],
    ['ReduceMean', [[4, 2]], [], {axes: [0, 1]}, /"axes" is 0, 1; the axis of the batch cannot be among them/],
    ['Slice', [[4]], [], {starts: [4], ends: [9], axes: [1]}, /nothing of "in0" \[N, 4\] is left/],
    ['Slice', [[4]], [], {starts: [1], ends: [9], axes: [0]}, /it takes a part of the batch, axis 0 of \[N, 4\]/],
    ['Gather', [[4]], [], {axis: 1, indices: [4], indices_shape: []}, /index 4 is beyond the 4 entries/],
    ['Squeeze', [[4, 2]], [], {axes: [1]}, /"axes" is 1; the input \[N, 4, 2\] is not 1 there/],
    ['LayerNormalization', [[4, 2]], [[3]], {}, /"in1" has the shape \[3\]; it must be \[2\]/],
    ['GroupNormalization', [[4, 2]], [[4], [4]], {num_groups: 3}, /"num_groups" is 3; it must divide the 4 channels/],
    ['DepthToSpace', [[6, 2, 2]], [], {blocksize: 2}, /"blocksize" is 2; its square must divide the 6 channels/],
    ['SpaceToDepth', [[6, 3, 2]], [], {blocksize: 2}, /"blocksize" is 2; it must divide the image, 3 × 2/],
    ['Resize', [[6, 3, 2]], [], {sizes: [3]}, /its sizes or scales are 3; it takes 2 numbers above 0/],
    [
      'ConvTranspose',
      [[6, 3, 2]],
      [[4, 3, 2, 2]],
      {},
      /"in1" has the shape \[4, 3, 2, 2\]; it must be a parameter \[6,/,
    ],
    [
      'Pad',
      [[4, 3]],
      [],
      {mode: 'reflect', pads: [0, 0, 3, 0, 0, 0]},
      /an axis of 3 takes pads up to 2 in the mode reflect/,
    ],
    ['Pad', [[4, 3]], [], {mode: 'wrap', pads: [0, 0, 0, 0, 5, 0]}, /an axis of 4 takes pads up to 4 in the mode wrap/],
    ['Expand', [[4, 1]], [], {shape: [3, 5]}, /do not broadcast to one shape/],
    ['BatchNormalization', [[4, 2, 2]], [[4], [4], [3], [4]], {}, /"in3" has the shape \[3\]; it must be \[4\]/],
    [
      'Add',
      [
        [4, 2, 2],
        [3, 2, 2],
      ],
      [],
      {},
      /"in0" \[N, 4, 2, 2\] and "in1" \[N, 3, 2, 2\] do not broadcast/,
    ],
    ['Add', [[4, 2, 2]], [[4]], {}, /do not broadcast/],
    ['Mul', [], [[4], [4]], {}, /both inputs are parameters/],
    ['Relu', [], [[4]], {}, /"in0" is a parameter; it must be a computed value/],
    ['Clip', [[4]], [], {min: 2, max: 1}, /"min" is 2; it must not be above "max", 1/],
    ['Clip', [[4]], [], {min: 'low'}, /"min" is "low"; it takes a number/],
    ['MaxPool', [[1, 4, 4]], [], {}, /attribute "kernel_shape" is missing; it takes 2 whole numbers from 1/],
    [
      'MaxPool',
      [[1, 4, 4]],
      [],
      {kernel_shape: [2, 2], pads: [2, 0, 0, 0]},
      /"pads" is 2, 0, 0, 0; each must be below the kernel 2 × 2/,
    ],
    ['MaxPool', [[1, 9, 9]], [], {kernel_shape: [2, 2], dilations: [2, 2]}, /"dilations" is 2, 2; pooling takes 1, 1/],
    [
      'Concat',
      [
        [4, 2, 2],
        [4, 2, 3],
      ],
      [],
      {axis: 1},
      /"in1" has the shape \[N, 4, 2, 3\]; beside axis 1 it must be that of the others, \[N, 4, 2, 2\]/,
    ],
    ['Concat', [[4], [4]], [], {axis: 0}, /"axis" is 0; it takes 1 … 1/],
    ['Pad', [[4]], [], {pads: [1, 0, 0, 0]}, /"pads" is \[1, 0, 0, 0\]; the batch axis takes 0/],
    ['Pad', [[4]], [], {pads: [0, 0, 0, 0], mode: 'mirror'}, /"mode" is "mirror"; it takes "constant"/],
    ['Flatten', [[4]], [], {axis: 2}, /"axis" is 2; it takes -2 … 1/],
    ['Flatten', [[4]], [], {axis: 0}, /"axis" is 0; sdq keeps the batch axis separate/],
    [
      'Reshape',
      [[4, 3]],
      [],
      {shape: [0, 5, -1]},
      /\[N, 4, 3\] has 12 elements an image, which do not make \[0, 5, -1\]/,
    ],
    ['Reshape', [[4, 3]], [], {shape: [2, 12]}, /\[N, 4, 3\] has 12 elements an image, which do not make \[2, 12\]/],
    ['Reshape', [[4, 3]], [], {shape: [0, -1, -1]}, /has one -1 at most/],
    ['LeakyRelu', [[4]], [], {alpha: 'x'}, /attribute "alpha" is "x"/],
    ['Dropout', [[4]], [], {ratio: 1}, /"ratio" is 1; it takes 0 to below 1/],
  ])('%s of %j with %j and %j', (op, values, parameters, attributes, message) => {
    const error = (() => {
      try {
        infer(op, values, parameters, attributes);
      } catch (thrown) {
        return thrown as SdqError;
      }
      return undefined;
    })();
    expect(error).toBeInstanceOf(SdqError);
    expect(error!.message).toMatch(message);
    expect(error!.message).toContain(`Node "node" (${op}): `);
    expect(error!.oclif.exit).toBe(3);
  });

  test('an unknown operator, with the nearest name', () => {
    expect(() => infer('Convolution', [[4]])).toThrow(/Node "node": the operator Convolution is not supported/);
    expect(() => infer('Conc', [[4]])).toThrow(
      expect.objectContaining({
        suggestions: ['Did you mean "Conv"?', expect.stringMatching(/^Supported operators: Abs, Add, /)],
      }),
    );
  });
});
