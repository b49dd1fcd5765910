import {describe, expect, test} from '@jest/globals';

import {graphBuilder} from '../../../src/graph/builder.ts';
import {graphDigest} from '../../../src/graph/digest.ts';
import type {Graph} from '../../../src/graph/graph.ts';
import {initialWeights} from '../../../src/graph/initialize.ts';
import {layerTable} from '../../../src/graph/layer-table.ts';
import {inverse, transposed} from '../../../src/graph/layout.ts';
import {inferShapes} from '../../../src/graph/shape.ts';

function small(): Graph {
  const net = graphBuilder('small', [3, 8, 8]);
  let x = net.conv('conv', net.input, {channels: 4, kernel: 3, stride: 2});
  x = net.node('Relu', 'relu', [net.batchNorm('bn', x)]);
  return net.build(net.linear('fc', net.node('Flatten', 'flat', [x]), {features: 5}));
}

describe('inferShapes', () => {
  test('gives shape and sign of every value and parameter', () => {
    const known = inferShapes(small());
    expect(known.get('relu')).toEqual({name: 'relu', shape: [4, 4, 4], signed: false, parameter: false});
    expect(known.get('fc')!.shape).toEqual([5]);
    expect(known.get('fc.weight')).toMatchObject({shape: [5, 64], parameter: true});
  });

  const graph = small();
  test.each<[string, Partial<Graph>, string]>([
    [
      'an input that is not there',
      {nodes: graph.nodes.slice(1)},
      'Node "bn" (BatchNormalization): input "conv" is neither',
    ],
    ['nodes out of order', {nodes: [...graph.nodes].reverse()}, 'Node "fc" (Gemm): input "flat" is neither'],
    [
      'two nodes of one name',
      {nodes: graph.nodes.map((node) => ({...node, name: 'n'}))},
      'two nodes have the name "n"',
    ],
    [
      'a value defined twice',
      {nodes: [...graph.nodes, {...graph.nodes[0]!, name: 'again'}]},
      '"conv" is defined twice',
    ],
    ['an output that no node makes', {outputs: ['nothing']}, 'its output "nothing" is not the output of a node'],
    ['a parameter as output', {outputs: ['fc.bias']}, 'its output "fc.bias" is not the output of a node'],
    [
      'an impossible input',
      {input: {name: 'input', shape: [3, 0, 8]}},
      '"input" has the shape [3, 0, 8]; sizes are whole numbers from 1',
    ],
    [
      'a node with two outputs',
      {nodes: graph.nodes.map((node) => ({...node, outputs: [...node.outputs, `${node.name}2`]}))},
      'Node "conv" (Conv): it has 2 outputs; sdq supports 1',
    ],
  ])('refuses %s', (_what, change, message) => {
    expect(() => inferShapes({...graph, ...change})).toThrow(message);
  });
});

describe('layerTable', () => {
  test('counts by hand', () => {
    const {layers, parameters, macs} = layerTable(small());
    const conv = 4 * 3 * 9;
    expect(layers.map(({name, params, macs, inputSigned}) => ({name, params, macs, inputSigned}))).toEqual([
      {name: 'conv', params: conv, macs: conv * 16, inputSigned: true},
      {name: 'fc', params: 320, macs: 320, inputSigned: false},
    ]);
    expect(parameters).toBe(conv + 2 * 4 + 320 + 5);
    expect(macs).toBe(conv * 16 + 320);
  });

  test('a network of fully connected layers and one of the VGG family have their table too', () => {
    const mlp = graphBuilder('mlp', [1, 28, 28]);
    let x = mlp.node('Flatten', 'flat', [mlp.input]);
    x = mlp.node('Relu', 'relu1', [mlp.linear('fc1', x, {features: 300})]);
    x = mlp.node('Relu', 'relu2', [mlp.linear('fc2', x, {features: 100})]);
    // LeNet-300-100 (LeCun et al., 1998): 266,610 parameters.
    expect(layerTable(mlp.build(mlp.linear('fc3', x, {features: 10}))).parameters).toBe(266_610);

    const vgg = graphBuilder('vgg11', [3, 224, 224]);
    let y = vgg.input;
    [64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0].forEach((channels, index) => {
      const name = `features.${index}`;
      y =
        channels === 0
          ? vgg.maxPool(name, y, {kernel: 2, stride: 2})
          : vgg.node('Relu', `${name}.relu`, [vgg.conv(name, y, {channels, kernel: 3, bias: true})]);
    });
    y = vgg.node('Flatten', 'flatten', [y]);
    y = vgg.node('Dropout', 'drop1', [vgg.node('Relu', 'relu1', [vgg.linear('classifier.0', y, {features: 4096})])]);
    y = vgg.node('Dropout', 'drop2', [vgg.node('Relu', 'relu2', [vgg.linear('classifier.3', y, {features: 4096})])]);
    const {parameters, macs} = layerTable(vgg.build(vgg.linear('classifier.6', y, {features: 1000})));
    // torchvision's vgg11: 132,863,336 parameters, 7.61 GMACs.
    expect(parameters).toBe(132_863_336);
    expect(macs / 1e9).toBeCloseTo(7.61, 2);
  });
});

describe('graphDigest', () => {
  test('depends on structure, not on the name, the initialisation or the order of attributes', () => {
    const graph = small();
    const digest = graphDigest(graph);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    const same: Graph = {
      ...graph,
      name: 'other',
      nodes: graph.nodes.map((node) => ({
        ...node,
        attributes: Object.fromEntries(Object.entries(node.attributes).reverse()),
      })),
      parameters: graph.parameters.map((parameter) => ({...parameter, initializer: {kind: 'constant', value: 0}})),
    };
    expect(graphDigest(same)).toBe(digest);
    const changed = graph.nodes.map((node) =>
      node.op === 'Conv' ? {...node, attributes: {...node.attributes, group: 2}} : node,
    );
    expect(graphDigest({...graph, nodes: changed})).not.toBe(digest);
    expect(graphDigest({...graph, outputs: ['flat']})).not.toBe(digest);
  });
});

describe('initialWeights', () => {
  test('has the distribution asked for', () => {
    const net = graphBuilder('wide', [64, 8, 8]);
    const x = net.conv('conv', net.input, {channels: 128, kernel: 3, fan: 'in'});
    const y = net.node('Flatten', 'flat', [net.node('GlobalAveragePool', 'pool', [net.batchNorm('bn', x)])]);
    const weights = initialWeights(net.build(net.linear('fc', y, {features: 400})), 5);
    const conv = weights.get('conv.weight')!.data;
    const mean = conv.reduce((sum, value) => sum + value, 0) / conv.length;
    const deviation = Math.sqrt(conv.reduce((sum, value) => sum + value * value, 0) / conv.length);
    // 73,728 draws: the relative standard error of the deviation is 1 / √(2n) = 0.26 %.
    const wanted = Math.sqrt(2 / (64 * 9));
    expect(Math.abs(mean)).toBeLessThan((4 * wanted) / Math.sqrt(conv.length));
    expect(Math.abs(deviation / wanted - 1)).toBeLessThan(0.01);
    const linear = weights.get('fc.weight')!.data;
    const bound = 1 / Math.sqrt(128);
    expect(Math.max(...linear.map(Math.abs))).toBeLessThanOrEqual(Math.fround(bound));
    expect(linear.reduce((sum, value) => sum + value * value, 0) / linear.length / (bound ** 2 / 3)).toBeCloseTo(1, 1);
    expect(new Set(weights.get('bn.running_var')!.data)).toEqual(new Set([1]));
    expect(new Set(weights.get('bn.bias')!.data)).toEqual(new Set([0]));
  });

  test('is a function of the seed', () => {
    const [a, b, c] = [1, 1, 2].map((seed) => initialWeights(small(), seed).get('conv.weight')!.data);
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
  });
});

describe('layout', () => {
  test('transposed moves axes as named, and inverse moves them back', () => {
    const oihw = {shape: [2, 3, 1, 2], data: Float32Array.from({length: 12}, (_, i) => i)};
    const hwio = transposed(oihw, [2, 3, 1, 0]);
    expect(hwio.shape).toEqual([1, 2, 3, 2]);
    // [h, w, i, o] is element o · 6 + i · 2 + w.
    expect([...hwio.data]).toEqual([0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11]);
    expect(transposed(hwio, inverse([2, 3, 1, 0]))).toEqual(oihw);
  });
});
