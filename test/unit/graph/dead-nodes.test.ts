/** Nodes that do not lead to a network's output are no part of it. */
import {describe, expect, test} from '@jest/globals';

import {graphBuilder} from '../../../src/graph/builder.ts';
import {layerTable} from '../../../src/graph/layer-table.ts';
import {fromOnnx} from '../../../src/graph/onnx/from-onnx.ts';
import {encodeOnnx, type OnnxNode} from '../../../src/graph/onnx/proto.ts';
import {floatTensor} from '../../../src/graph/onnx/tensors.ts';
import {leadingTo} from '../../../src/graph/reachable.ts';

const node = (op: string, output: string, ...inputs: string[]): OnnxNode => ({
  name: output,
  op,
  inputs,
  outputs: [output],
});
const weight = (name: string, ...shape: number[]) =>
  floatTensor(name, {shape, data: new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(0.1)});

describe('a file with an auxiliary head', () => {
  const file = (...dead: OnnxNode[]) =>
    encodeOnnx({
      irVersion: 8,
      opsets: {'': 17},
      producerVersion: '0',
      metadata: {},
      graph: {
        name: 'net',
        inputs: [{name: 'x', shape: ['N', 3, 4, 4]}],
        outputs: [{name: 'y', shape: ['N', 4]}],
        initializers: [
          weight('a.weight', 4, 3, 1, 1),
          weight('dangling.weight', 32, 4, 1, 1),
          weight('b.weight', 4, 4, 1, 1),
        ],
        nodes: [
          node('Conv', 'a', 'x', 'a.weight'),
          ...dead,
          node('Conv', 'b', 'a', 'b.weight'),
          node('GlobalAveragePool', 'pool', 'b'),
          node('Flatten', 'y', 'pool'),
        ],
      },
    });

  test('has neither its layers nor its weights', () => {
    const bytes = file(node('Conv', 'dangling', 'a', 'dangling.weight'), node('Relu', 'dangling.relu', 'dangling'));
    const {graph, weights} = fromOnnx(bytes, 'net.onnx');
    const {layers, parameters} = layerTable(graph);
    expect(layers.map(({name}) => name)).toEqual(['a', 'b']);
    expect(parameters).toBe(12 + 16);
    expect([...weights.keys()]).toEqual(['a.weight', 'b.weight']);
  });

  test('is not refused for an operator that is only there', () => {
    const {graph} = fromOnnx(file(node('NonMaxSuppression', 'boxes', 'a')), 'net.onnx');
    expect(graph.nodes.map(({op}) => op)).toEqual(['Conv', 'Conv', 'GlobalAveragePool', 'Flatten']);
  });
});

test('a built graph has none either', () => {
  const g = graphBuilder('net', [3, 4, 4]);
  const a = g.conv('a', g.input, {channels: 4, kernel: 1});
  g.batchNorm('aside.bn', g.conv('aside', a, {channels: 8, kernel: 3}));
  const graph = g.build(g.conv('b', a, {channels: 2, kernel: 1}));
  expect(graph.nodes.map(({name}) => name)).toEqual(['a', 'b']);
  expect(graph.parameters.map(({name}) => name)).toEqual(['a.weight', 'b.weight']);
});

test('of a node with several outputs one is enough; the order stays', () => {
  const nodes = [
    {inputs: ['x'], outputs: ['p', 'q']},
    {inputs: ['p'], outputs: ['unread']},
    {inputs: ['q', 'x'], outputs: ['y']},
  ];
  expect(leadingTo(nodes, ['y'])).toEqual([nodes[0], nodes[2]]);
});
