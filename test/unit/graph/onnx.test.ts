import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder, type GraphBuilder} from '../../../src/graph/builder.ts';
import {initialWeights} from '../../../src/graph/initialize.ts';
import {createNetwork} from '../../../src/graph/network.ts';
import {fromOnnx} from '../../../src/graph/onnx/from-onnx.ts';
import {encodeOnnx, onnxMetadata} from '../../../src/graph/onnx/proto.ts';
import {integerTensor} from '../../../src/graph/onnx/tensors.ts';
import {toOnnx} from '../../../src/graph/onnx/to-onnx.ts';
import {operators} from '../../../src/graph/ops/index.ts';
import {normal, uniform} from '../../../src/random.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectSameInRuntime} from '../../helpers/onnx-runtime.ts';

useCpuBackend();

type Build = (g: GraphBuilder) => string;

const vector = (g: GraphBuilder, name: string, ...shape: number[]): string =>
  g.parameter({name, shape, role: 'bias', initializer: {kind: 'uniform', bound: 1}});

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
  const exported = toOnnx(graph, network.weights(), ({inputs}) => inputs);
  await expectSameInRuntime(network, {graph: exported, irVersion: 10, opsets: {'': 21}});
  network.dispose();
});

test.each(cases)('%s: what is written can be imported, and computes the same', (_, build) => {
  const g = graphBuilder('case', [3, 7, 5]);
  const graph = g.build(build(g));
  const network = createNetwork(graph, initialWeights(graph, 1));
  const bytes = encodeOnnx({
    graph: toOnnx(graph, network.weights(), ({inputs}) => inputs),
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
