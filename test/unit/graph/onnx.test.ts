import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder, type GraphBuilder} from '../../../src/graph/builder.ts';
import {initialWeights} from '../../../src/graph/initialize.ts';
import {createNetwork} from '../../../src/graph/network.ts';
import {fromOnnx} from '../../../src/graph/onnx/from-onnx.ts';
import {encodeOnnx, onnxMetadata} from '../../../src/graph/onnx/proto.ts';
import {integerTensor} from '../../../src/graph/onnx/tensors.ts';
import {onnxVersion, toOnnx} from '../../../src/graph/onnx/to-onnx.ts';
import {operators} from '../../../src/graph/ops/index.ts';
import {normal, uniform} from '../../../src/random.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectSameInRuntime} from '../../helpers/onnx-runtime.ts';

useCpuBackend();

type Build = (g: GraphBuilder) => string;

const vector = (g: GraphBuilder, name: string, ...shape: number[]): string =>
  g.parameter({name, shape, role: 'bias', initializer: {kind: 'uniform', bound: 1}});

const flags = (g: GraphBuilder, name: string, ...shape: number[]): string => {
  const values = Float32Array.from({length: shape.reduce((a, b) => a * b, 1)}, (_, i) => (i % 3 === 1 ? 1 : 0));
  return g.parameter({name, shape, role: 'constant', initializer: {kind: 'fixed', values}});
};

/** A ViT's attention: the batch is not the first axis in between. */
function attention(g: GraphBuilder): string {
  const tokens = g.node('Reshape', 'tokens', [g.input], {shape: [0, 7, 15]});
  const all = g.node('MatMul', 'qkv', [tokens, vector(g, 'w', 15, 18)]);
  const parts = g.node('Reshape', 'parts', [all], {shape: [0, 7, 3, 2, 3]});
  const order = g.node('Transpose', 'order', [parts], {perm: [2, 0, 3, 1, 4]});
  const [q, k, v] = ['q', 'k', 'v'].map((name, index) =>
    g.node('Gather', name, [order], {axis: 0, indices: [index], indices_shape: []}),
  ) as [string, string, string];
  const scores = g.node('MatMul', 'scores', [q, g.node('Transpose', 'kt', [k], {perm: [0, 1, 3, 2]})]);
  const heads = g.node('MatMul', 'heads', [g.node('Softmax', 'probabilities', [scores]), v]);
  return g.node('Reshape', 'y', [g.node('Transpose', 'back', [heads], {perm: [0, 2, 1, 3]})], {shape: [0, 7, 6]});
}

/** Windows of an image merged with the batch, as Swin does, and taken apart again. */
function windows(g: GraphBuilder): string {
  const last = g.node('Transpose', 'last', [g.input], {perm: [0, 2, 3, 1]});
  const parts = g.node('Reshape', 'parts', [last], {shape: [0, 7, 5, 1, 3]});
  const merged = g.node('Reshape', 'windows', [g.node('Transpose', 'turned', [parts], {perm: [0, 2, 1, 3, 4]})], {
    shape: [-1, 7, 3],
  });
  const mixed = g.node('MatMul', 'mixed', [merged, vector(g, 'w', 3, 3)]);
  const normal = g.node('LayerNormalization', 'normal', [mixed, vector(g, 'scale', 3), vector(g, 'shift', 3)]);
  return g.node('Reshape', 'y', [normal], {shape: [-1, 5, 7, 3]});
}

/** A ViT's class token before the others. */
function classToken(g: GraphBuilder): string {
  const tokens = g.node('Reshape', 'r', [g.input], {shape: [0, 7, 15]});
  const token = g.node('Expand', 'e', [vector(g, 'token', 1, 1, 15)], {shape: [-1, 1, 15]});
  return g.node('Concat', 'y', [token, tokens], {axis: 1});
}

/** One node that reads the graph's input, and parameters of these shapes. */
const on = (op: string, attributes: Parameters<GraphBuilder['node']>[3] = {}, ...shapes: number[][]): Build => {
  return (g) => g.node(op, 'y', [g.input, ...shapes.map((shape, i) => vector(g, `p${i}`, ...shape))], attributes);
};
const eight = (g: GraphBuilder): string => g.conv('c', g.input, {channels: 8, kernel: 1});
const positive = (g: GraphBuilder): string => g.node('Softplus', 's', [g.input]);

/** Each operator, with every attribute that changes what it computes. */
const cases: readonly [string, Build][] = [
  ['Conv, padded unevenly', (g) => g.node('Conv', 'y', [g.input, vector(g, 'w', 4, 3, 3, 2)], {pads: [0, 1, 2, 0]})],
  ['Conv, dilated, strided', (g) => g.conv('y', g.input, {channels: 5, kernel: 3, stride: 2, dilation: 2, bias: true})],
  ['Conv, depthwise', (g) => g.conv('y', g.input, {channels: 6, kernel: 3, group: 3, bias: true})],
  ['BatchNormalization', (g) => g.batchNorm('y', g.input)],
  ['Relu', (g) => g.node('Relu', 'y', [g.input])],
  ['Sigmoid', (g) => g.node('Sigmoid', 'y', [g.input])],
  ['HardSigmoid', (g) => g.node('HardSigmoid', 'y', [g.input])],
  ['HardSigmoid, of PyTorch', (g) => g.node('HardSigmoid', 'y', [g.input], {alpha: 1 / 6, beta: 0.5})],
  ['LeakyRelu', (g) => g.node('LeakyRelu', 'y', [g.input])],
  ['LeakyRelu, steeper', (g) => g.node('LeakyRelu', 'y', [g.input], {alpha: 0.3})],
  ['HardSwish', (g) => g.node('HardSwish', 'y', [g.input])],
  ['Identity', (g) => g.node('Identity', 'y', [g.input])],
  ['Clip', (g) => g.node('Clip', 'y', [g.input], {min: 0, max: 6})],
  ['Clip, open above', (g) => g.node('Clip', 'y', [g.input], {min: -0.5})],
  ['Pad, wrapped', (g) => g.node('Pad', 'y', [g.input], {pads: [0, 0, 2, 1, 0, 0, 0, 3], mode: 'wrap'})],
  ['Clip, open below', (g) => g.node('Clip', 'y', [g.input], {max: 0.25})],
  ['Dropout', (g) => g.node('Dropout', 'y', [g.input], {ratio: 0.5})],
  ['Add, of values', (g) => g.node('Add', 'y', [g.input, g.node('Relu', 'r', [g.input])])],
  ['Add, of a parameter', (g) => g.node('Add', 'y', [g.input, vector(g, 'b', 3, 1, 1)])],
  ['Mul, of a parameter of one image', (g) => g.node('Mul', 'y', [vector(g, 'b', 1, 3, 7, 5), g.input])],
  ['Concat', (g) => g.node('Concat', 'y', [g.input, g.node('Relu', 'r', [g.input])], {axis: 1})],
  ['Concat, from the end', (g) => g.node('Concat', 'y', [g.input, g.node('Relu', 'r', [g.input])], {axis: -2})],
  ['Pad', (g) => g.node('Pad', 'y', [g.input], {pads: [0, 1, 2, 0, 0, 0, 1, 3], value: -1.5})],
  ['MaxPool', (g) => g.maxPool('y', g.input, {kernel: 3, stride: 2, padding: 1})],
  [
    'MaxPool, rounded up',
    (g) => g.node('MaxPool', 'y', [g.input], {kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1}),
  ],
  ...[0, 1].map((count): [string, Build] => [
    `AveragePool, padding counted ${count}`,
    (g) =>
      g.node('AveragePool', 'y', [g.input], {
        kernel_shape: [3, 2],
        strides: [2, 1],
        pads: [1, 0, 1, 1],
        dilations: [1, 1],
        count_include_pad: count,
      }),
  ]),
  ['GlobalAveragePool', (g) => g.node('GlobalAveragePool', 'y', [g.input])],
  ['Flatten, Gemm', (g) => g.linear('y', g.node('Flatten', 'f', [g.input]), {features: 4})],
  [
    'Gemm, not transposed, without bias',
    (g) => g.node('Gemm', 'y', [g.node('Flatten', 'f', [g.input]), vector(g, 'w', 105, 4)]),
  ],
  ['Reshape', (g) => g.node('Reshape', 'y', [g.input], {shape: [0, 5, -1, 3]})],
  ['Transpose', on('Transpose', {perm: [0, 2, 3, 1]})],
  ['Transpose, reversed but for the batch', on('Transpose', {perm: [0, 3, 2, 1]})],
  [
    'Flatten, of two axes',
    (g) =>
      g.node('Flatten', 'y', [g.node('Unsqueeze', 'u', [g.node('Flatten', 'f', [g.input])], {axes: [2]})], {axis: -2}),
  ],
  ['Squeeze', (g) => g.node('Squeeze', 'y', [g.node('ReduceMean', 'm', [g.input], {axes: [-2]})], {axes: [2]})],
  ['Unsqueeze', on('Unsqueeze', {axes: [1, -1]})],
  ['Slice', on('Slice', {starts: [1, -4], ends: [3, 100], axes: [1, 2]})],
  ['Slice, in steps, backwards', on('Slice', {starts: [6, 0], ends: [-100, 5], axes: [2, 3], steps: [-2, 3]})],
  ['Gather', on('Gather', {axis: 1, indices: [-1], indices_shape: []})],
  ['Gather, several', on('Gather', {axis: -2, indices: [3, 0, 3, -1], indices_shape: [4]})],
  ['Gather, a table', on('Gather', {axis: 3, indices: [3, 0, 3, -1], indices_shape: [2, 2]})],
  // A Softmax at the end is left out when a network is imported.
  ...(
    [
      ['Softmax', -1],
      ['Softmax, of channels', 1],
      ['LogSoftmax', 2],
    ] as const
  ).map(([name, axis]): [string, Build] => [
    name,
    (g) => g.node('Neg', 'y', [g.node(name.split(',')[0]!, 's', [g.input], {axis})]),
  ]),
  ...['ReduceL1', 'ReduceL2', 'ReduceMax', 'ReduceMean', 'ReduceMin', 'ReduceSum', 'ReduceSumSquare'].flatMap(
    (op): [string, Build][] => [
      [op, on(op, {axes: [2, -1], keepdims: 0})],
      [`${op}, of channels`, on(op, {axes: [1], keepdims: 0})],
      [`${op}, of one axis, kept`, on(op, {axes: [3]})],
      [`${op}, of one axis`, on(op, {axes: [2], keepdims: 0})],
    ],
  ),
  ['LayerNormalization', on('LayerNormalization', {}, [5], [5])],
  ['LayerNormalization, of the image', on('LayerNormalization', {axis: 1, epsilon: 0.01}, [3, 7, 5])],
  ['InstanceNormalization', on('InstanceNormalization', {epsilon: 0.01}, [3], [3])],
  [
    'GroupNormalization',
    (g) => g.node('GroupNormalization', 'y', [eight(g), vector(g, 's', 8), vector(g, 'b', 8)], {num_groups: 2}),
  ],
  ['DepthToSpace', (g) => g.node('DepthToSpace', 'y', [eight(g)], {blocksize: 2})],
  ['DepthToSpace, depth first', (g) => g.node('DepthToSpace', 'y', [eight(g)], {blocksize: 2, mode: 'CRD'})],
  [
    'SpaceToDepth',
    (g) =>
      g.node('SpaceToDepth', 'y', [g.node('Pad', 'p', [g.input], {pads: [0, 0, 1, 1, 0, 0, 0, 0]})], {blocksize: 2}),
  ],
  ['GlobalMaxPool', on('GlobalMaxPool')],
  ['Expand', (g) => g.node('Expand', 'y', [g.node('ReduceMean', 'm', [g.input], {axes: [2]})], {shape: [3, 4, 5]})],
  ['Expand, Concat, a class token', classToken],
  [
    'ConvTranspose',
    on('ConvTranspose', {strides: [2, 3], pads: [1, 0, 0, 1], output_padding: [1, 2]}, [3, 4, 3, 2], [4]),
  ],
  ['ConvTranspose, in groups, dilated', on('ConvTranspose', {group: 3, dilations: [2, 1]}, [3, 2, 3, 2])],
  [
    'Conv, of rows',
    (g) =>
      g.node(
        'Conv',
        'y',
        [g.node('Reshape', 'r', [g.input], {shape: [0, 3, 35]}), vector(g, 'w', 4, 3, 5), vector(g, 'b', 4)],
        {strides: [2], pads: [1, 2], dilations: [2]},
      ),
  ],
  ...(['nearest', 'linear', 'cubic'] as const).flatMap((mode) =>
    ['half_pixel', 'align_corners', 'asymmetric', 'pytorch_half_pixel'].map((coordinates): [string, Build] => [
      `Resize, ${mode}, ${coordinates}`,
      on('Resize', {mode, coordinate_transformation_mode: coordinates, sizes: [4, 11]}),
    ]),
  ),
  ...(['linear', 'cubic'] as const).map((mode): [string, Build] => [
    `Resize, ${mode}, antialiased`,
    on('Resize', {mode, antialias: 1, sizes: [3, 9]}),
  ]),
  [
    'Resize, by scales',
    on('Resize', {
      mode: 'nearest',
      coordinate_transformation_mode: 'asymmetric',
      nearest_mode: 'floor',
      scales: [2, 1.75],
    }),
  ],
  ...[
    'Abs',
    'Ceil',
    'Celu',
    'Cos',
    'Elu',
    'Erf',
    'Exp',
    'Floor',
    'Gelu',
    'Mish',
    'Neg',
    'Round',
    'Selu',
    'Sign',
    'Sin',
    'Softplus',
    'Softsign',
    'Tanh',
  ].map((op): [string, Build] => [op, on(op)]),
  ['Gelu, by tanh', on('Gelu', {approximate: 'tanh'})],
  ['Celu, steeper', on('Celu', {alpha: 2.5})],
  ['Elu, steeper', on('Elu', {alpha: 0.3})],
  ...['Log', 'Reciprocal', 'Sqrt'].map((op): [string, Build] => [op, (g) => g.node(op, 'y', [positive(g)])]),
  ['Cast', on('Cast', {to: 1})],
  ...['Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual'].map((op): [string, Build] => [
    `${op}, Where`,
    (g) => g.node('Where', 'y', [g.node(op, 'c', [g.input, vector(g, 'b', 3, 1, 1)]), vector(g, 'a', 5), g.input]),
  ]),
  ...['And', 'Or', 'Xor'].map((op): [string, Build] => [
    `${op}, Not, Where`,
    (g) => {
      const above = g.node('Greater', 'c', [g.input, g.node('Neg', 'n', [g.input])]);
      const mask = g.node('Not', 'd', [g.node(op, 'o', [above, flags(g, 'mask', 7, 1)])]);
      return g.node('Where', 'y', [mask, g.node('Exp', 'e', [g.input]), vector(g, 'b', 1)]);
    },
  ]),
  ['Where, of a mask', (g) => g.node('Where', 'y', [flags(g, 'mask', 3, 7, 5), g.input, vector(g, 'b', 7, 1)])],
  ...['Div', 'Max', 'Min', 'Sub'].flatMap((op): [string, Build][] => [
    [op, (g) => g.node(op, 'y', [g.input, g.node('Exp', 'e', [g.input])])],
    [`${op}, of the last axis`, on(op, {}, [5])],
  ]),
  ['Mul, of the last axis', on('Mul', {}, [5])],
  ['Pow', (g) => g.node('Pow', 'y', [positive(g), vector(g, 'b', 3, 1, 1)])],
  ['PRelu', on('PRelu', {}, [3, 1, 1])],
  ['MatMul, Transpose, Gather, attention', attention],
  ['MatMul, LayerNormalization, windows of an image', windows],
  [
    'MatMul',
    (g) => g.node('MatMul', 'y', [g.node('Reshape', 'r', [g.input], {shape: [-1, 15, 7]}), vector(g, 'w', 7, 4)]),
  ],
];

test('there is a case for every operator', () => {
  expect([...operators.keys()].filter((op) => !cases.some(([name]) => name.split(', ').includes(op)))).toEqual([]);
});

test.each(cases)('%s: ONNX Runtime computes what the network computes', async (_, build) => {
  const g = graphBuilder('case', [3, 7, 5]);
  const graph = g.build(build(g));
  const draw = uniform(1, 'bench');
  const weights = initialWeights(graph, 1);
  // Running statistics of 0 and 1 would hide a mistake; a variance is above 0.
  for (const [name, {data}] of weights) {
    if (name.includes('running')) data.forEach((_, i) => (data[i] = Math.abs(normal(draw)) + 0.1));
  }
  const network = createNetwork(graph, weights);
  const exported = toOnnx(graph, await network.weights(), ({inputs}) => inputs);
  // In the oldest version that has the operators: ONNX Runtime refuses those that it has not, or in another form.
  const {irVersion, opset} = onnxVersion(graph, 17);
  await expectSameInRuntime(network, {graph: exported, irVersion, opsets: {'': opset}});
  network.dispose();
});

// The shape that a class token is expanded to is computed in the file.
const imported = cases.filter(([name]) => !name.endsWith('a class token'));

test.each(imported)('%s: what is written can be imported, and computes the same', async (_, build) => {
  const g = graphBuilder('case', [3, 7, 5]);
  const graph = g.build(build(g));
  const network = createNetwork(graph, initialWeights(graph, 1));
  const bytes = encodeOnnx({
    graph: toOnnx(graph, await network.weights(), ({inputs}) => inputs),
    irVersion: 10,
    opsets: {'': 21},
    producerVersion: '0',
    metadata: {},
  });
  const {graph: back, weights} = fromOnnx(bytes, 'case.onnx');
  const again = createNetwork(back, weights);
  const draw = uniform(2, 'bench');
  const x = tf.tensor(
    Float32Array.from({length: 210}, () => 2 * normal(draw)),
    [2, 7, 5, 3],
  );
  const [first, second] = [network, again].map((net) => net.forward(x, {training: false}).arraySync());
  expect(second).toEqual(first);
  network.dispose();
  again.dispose();
});

describe('constants', () => {
  test.each([
    ['int2', [1, -1, -2, 0, 1], [0b00_10_11_01, 0b01]],
    ['int4', [1, -2, 7, -8, 3], [0xe1, 0x87, 0x03]],
    ['int8', [-128, 127], [0x80, 0x7f]],
    ['int16', [-2, 300], [0xfe, 0xff, 0x2c, 0x01]],
    ['int64', [-1], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ['uint8', [0, 255], [0, 255]],
  ] as const)('%s are packed as ONNX says', (type, values, bytes) => {
    expect([...integerTensor('c', type, [values.length], values).bytes]).toEqual(bytes);
  });

  test('metadata can be read back; what is no model has none', () => {
    const g = graphBuilder('case', [3, 7, 5]);
    const graph = g.build(g.node('Relu', 'y', [g.input]));
    const model = {graph: toOnnx(graph, new Map(), ({inputs}) => inputs), irVersion: 10, opsets: {'': 21}};
    const bytes = encodeOnnx({...model, producerVersion: '0', metadata: {a: 'ä', b: ''}});
    expect([...onnxMetadata(bytes)!]).toEqual([
      ['a', 'ä'],
      ['b', ''],
    ]);
    expect(onnxMetadata(Buffer.from('no model'))).toBeUndefined();
    expect(onnxMetadata(bytes.subarray(0, bytes.length - 3))).toBeUndefined();
    expect(onnxMetadata(new Uint8Array())).toBeUndefined();
  });
});
