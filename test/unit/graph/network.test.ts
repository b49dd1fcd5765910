import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder} from '../../../src/graph/builder.ts';
import type {Graph, Node} from '../../../src/graph/graph.ts';
import {initialWeights} from '../../../src/graph/initialize.ts';
import {hasWeights, inputSites, layerTable} from '../../../src/graph/layer-table.ts';
import {createNetwork, type ForwardOptions, type InputQuantizer, type Network} from '../../../src/graph/network.ts';
import {layOut} from '../../../src/graph/lay-out.ts';
import {conversionAxes} from '../../../src/graph/layout.ts';
import type {RunOptions} from '../../../src/graph/ops/operator.ts';
import {executionPlan} from '../../../src/graph/plan.ts';
import {inferShapes, operatorOf} from '../../../src/graph/shape.ts';
import {models} from '../../../src/plugins/models/index.ts';
import {normal, uniform} from '../../../src/random.ts';
import {fakeQuantize} from '../../../src/tensor/fake-quantize.ts';
import {gelu} from '../../../src/tensor/gelu.ts';
import type {GradientRule, Grid} from '../../../src/tensor/kernels.ts';
import {layerNorm} from '../../../src/tensor/layer-norm.ts';
import {leakyRelu} from '../../../src/tensor/leaky-relu.ts';
import {select} from '../../../src/tensor/select.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose, randomTensor} from '../../helpers/gradient-check.ts';

useCpuBackend();

/**
 * A bit of everything: a stem with bias and batch-norm, a residual block with a shortcut that subsamples and one with a
 * convolution, depthwise and grouped convolutions, a dilated one, branches, a gate, a linear bottleneck, a pool.
 * `smooth` puts Sigmoid where the other has Relu, for finite differences.
 */
function mixed(smooth = false): Graph {
  const net = graphBuilder('mixed', [2, 7, 6]);
  const activation = (name: string, x: string): string => net.node(smooth ? 'Sigmoid' : 'Relu', name, [x]);
  let x = net.conv('stem', net.input, {channels: 4, kernel: 3, bias: true});
  x = activation('stem.relu', net.batchNorm('stem.bn', x));
  let y = activation('a.relu', net.batchNorm('a.bn', net.conv('a', x, {channels: 6, kernel: 3, stride: 2})));
  y = net.batchNorm('b.bn', net.conv('b', y, {channels: 6, kernel: 3, group: 6}));
  const past = net.node('Pad', 'pad', [net.maxPool('thin', x, {kernel: 1, stride: 2})], {
    pads: [0, 1, 0, 0, 0, 1, 0, 0],
  });
  x = activation('ab.relu', net.node('Add', 'ab', [y, past]));
  const left = net.conv('left', x, {channels: 4, kernel: 1, bias: true});
  const right = net.node(
    smooth ? 'Identity' : 'Clip',
    'right.clip',
    [net.batchNorm('right.bn', net.conv('right', x, {channels: 6, kernel: 3, dilation: 2, group: 2}))],
    smooth ? {} : {min: 0, max: 6},
  );
  const gate = net.node('Sigmoid', 'gate.sigmoid', [net.node('GlobalAveragePool', 'gate.pool', [right])]);
  x = net.node('Concat', 'concat', [left, net.node('Mul', 'gated', [right, gate])], {axis: 1});
  x = net.batchNorm('neck.bn', net.conv('neck', x, {channels: 4, kernel: 1}));
  x = activation(
    'last.relu',
    net.conv('last', net.node('Identity', 'same', [x]), {channels: 4, kernel: 1, bias: true}),
  );
  x = net.node('AveragePool', 'pool', [x], {kernel_shape: [2, 2], pads: [1, 0, 0, 1]});
  x = net.node('Dropout', 'drop', [net.node('Flatten', 'flat', [x])]);
  return net.build(net.linear('fc', x, {features: 3}));
}

/** Every parameter and statistic away from its first value, so that nothing is hidden by a 0 or a 1. */
function shaken(graph: Graph, amount = 0.3): Network {
  const draw = uniform(1, 'bench');
  const weights = new Map(
    [...initialWeights(graph, 1)].map(([name, {shape, data}]) => [
      name,
      {shape, data: data.map((value) => (name.endsWith('running_var') ? 0.5 + draw() : value + amount * normal(draw)))},
    ]),
  );
  return createNetwork(graph, weights);
}

function optionsOf(graph: Graph, node: Node, images: number): RunOptions {
  const {nodeLayouts, operands} = layOut(graph, inferShapes(graph));
  return {
    fused: {gelu, layerNorm, leakyRelu, select},
    layout: nodeLayouts.get(node.name)!.inputs,
    images,
    inputs: node.inputs.map((name) => operands.get(name)!),
    output: operands.get(node.outputs[0]!)!,
  };
}

/** Runs each node by its operator alone; batch-norm by batch statistics is composed. */
function unfused(network: Network, x: tf.Tensor, options: ForwardOptions): tf.Tensor {
  const {graph, layers} = network;
  const values = new Map<string, tf.Tensor>([...network.parameters, ...network.statistics, [graph.input.name, x]]);
  const {layouts, nodeLayouts} = layOut(graph, inferShapes(graph));
  for (const node of graph.nodes) {
    const layout = nodeLayouts.get(node.name)!.inputs;
    let inputs = node.inputs.map((name) => {
      const tensor = values.get(name)!;
      const lies = layouts.get(name);
      return lies === undefined ? tensor : tf.transpose(tensor, conversionAxes(tensor.rank, lies, layout));
    });
    const layer = layers.find(({name}) => name === node.name);
    if (layer !== undefined) {
      const [, w, ...bias] = inputs as [tf.Tensor, tf.Tensor, ...tf.Tensor[]];
      const rounded = inputSites(layer).map((site) => {
        const quantizer = options.activation?.(site) ?? null;
        const value = inputs[site.operand]!;
        return quantizer === null ? value : fakeQuantize(value, quantizer.scale, quantizer.grid, quantizer.rule);
      });
      inputs = hasWeights(layer) ? [...rounded, options.weight?.(layer, w) ?? w, ...bias] : rounded;
    }
    if (node.op === 'BatchNormalization' && options.training) {
      const {mean, variance} = tf.moments(inputs[0]!, inputs[0]!.shape.map((_, axis) => axis).slice(0, -1));
      inputs = [...inputs.slice(0, 3), mean, variance];
    }
    values.set(node.outputs[0]!, operatorOf(node).run(tf, node, inputs, optionsOf(graph, node, x.shape[0])));
  }
  return values.get(graph.outputs[0]!)!;
}

const clipped: GradientRule = {input: 'clipped', scale: 'clip', gradientScale: 1};
const unsigned: Grid = {qmin: 0, qmax: 15, offset: 0};
const signed: Grid = {qmin: -8, qmax: 7, offset: 0};

/** One quantizer a value, as a caller that shares them would give. */
function quantizers({layers}: Network): NonNullable<ForwardOptions['activation']> {
  const made = new Map<string, InputQuantizer>();
  for (const {value, signed: isSigned} of layers.flatMap(inputSites)) {
    made.set(value, {grid: isSigned ? signed : unsigned, scale: tf.scalar(0.21), rule: clipped});
  }
  return ({value}) => made.get(value)!;
}

const rounded: NonNullable<ForwardOptions['weight']> = (_layer, w) => fakeQuantize(w, tf.scalar(0.05), signed, clipped);

/** Gradients by parameter name. */
function gradients(network: Network, loss: () => tf.Tensor): Map<string, tf.Tensor> {
  const {grads} = tf.variableGrads(() => loss() as tf.Scalar, [...network.parameters.values()]);
  return new Map([...network.parameters].map(([name, variable]) => [name, grads[variable.name]!]));
}

describe('forward', () => {
  const x = () => randomTensor([3, 7, 6, 2], 7);

  test.each([true, false])('in one go equals node by node (training: %p)', (training) => {
    const network = shaken(mixed());
    const options = {training};
    expectClose(network.forward(x(), options), unfused(network, x(), options).dataSync(), {absolute: 2e-5});
  });

  test.each([true, false])('with quantized weights and activations equals node by node (training: %p)', (training) => {
    const network = shaken(mixed());
    // A scale at which no value lies on the edge between two steps by rounding of the last place.
    const options = {training, weight: rounded, activation: quantizers(network)};
    expectClose(network.forward(x(), options), unfused(network, x(), options).dataSync(), {absolute: 2e-4});
  });

  test.each(['resnet20', 'mobilenet-v2', 'cnn-small'])('of %s: folded evaluation equals node by node', (name) => {
    const model = models.find((definition) => definition.name === name)!;
    const context = {classes: 10, inputShape: [1, 16, 16]} as const;
    const graph = model.build(context, name === 'mobilenet-v2' ? {stem: 'cifar', width: 0.25} : {});
    // Little enough that a deep network does not amplify the last place of float32.
    const network = shaken(graph, 0.03);
    const images = randomTensor([2, 16, 16, 1], 3);
    const expected = unfused(network, images, {training: false}).dataSync();
    const size = Math.max(...expected.map(Math.abs));
    expectClose(network.forward(images, {training: false}), expected, {absolute: 2e-5 * size});
  });

  test.each([false, true])('gradients of all parameters equal those of node by node (quantized: %p)', (quantized) => {
    const network = shaken(mixed());
    const options = {training: true, ...(quantized ? {weight: rounded, activation: quantizers(network)} : {})};
    const input = x();
    const fused = gradients(network, () => tf.sum(tf.square(network.forward(input, options))));
    const single = gradients(network, () => tf.sum(tf.square(unfused(network, input, options))));
    for (const [name, expected] of single) {
      const size = tf.max(tf.abs(expected)).dataSync()[0]!;
      expectClose(fused.get(name)!, expected.dataSync(), {absolute: 2e-4 * Math.max(size, 0.1)});
    }
  });

  test.each([true, false])('gradients of all parameters equal finite differences (training: %p)', (training) => {
    const network = shaken(mixed(true));
    const target = randomTensor([3, 3], 11);
    const loss = () => tf.sum(tf.mul(network.forward(x(), {training}), target));
    const analytic = gradients(network, loss);
    for (const [name, variable] of network.parameters) {
      const base = variable.dataSync<'float32'>().slice();
      // First, middle and last coordinate of each parameter.
      for (const at of new Set([0, base.length >> 1, base.length - 1])) {
        const [low, high] = [-1e-2, 1e-2].map((delta) =>
          tf.tidy(() => {
            const moved = base.slice();
            moved[at]! += delta;
            variable.assign(tf.tensor(moved, variable.shape));
            return loss().dataSync()[0]!;
          }),
        ) as [number, number];
        variable.assign(tf.tensor(base, variable.shape));
        const found = analytic.get(name)!.dataSync()[at]!;
        const expected = (high - low) / 2e-2;
        // The loss has float32's precision.
        expect({name, at, close: Math.abs(found - expected) <= 2e-3 + 1e-2 * Math.abs(expected)}).toEqual({
          name,
          at,
          close: true,
        });
      }
    }
  });

  test('leaves no tensor behind, in evaluation or in a step', () => {
    const network = shaken(mixed());
    const input = x();
    const activation = quantizers(network);
    const before = tf.memory().numTensors;
    network.forward(input, {training: false, weight: rounded, activation}).dispose();
    expect(tf.memory().numTensors).toBe(before);
    const {value, grads} = tf.variableGrads(
      () =>
        tf.sum<tf.Scalar>(
          network.forward(input, {training: true, weight: rounded, activation, onBatchStatistics: () => undefined}),
        ),
      [...network.parameters.values()],
    );
    tf.dispose([value, grads]);
    expect(tf.memory().numTensors).toBe(before);
    network.dispose();
    expect(tf.memory().numTensors).toBe(before - network.parameters.size - network.statistics.size);
  });

  test('frees each value after its last reader, so that evaluation of a deep network stays small', () => {
    const net = graphBuilder('deep', [4, 16, 16]);
    let value = net.input;
    for (let i = 0; i < 20; i++) value = net.conv(`conv${i}`, value, {channels: 4, kernel: 1});
    const network = createNetwork(net.build(value), initialWeights(net.build(value), 0));
    const input = tf.zeros([4, 16, 16, 4]);
    const before = tf.memory().numBytes;
    let most = 0;
    network.forward(input, {
      training: false,
      onActivation: () => (most = Math.max(most, tf.memory().numBytes - before)),
    });
    // The value that is read now, and none before it.
    expect(most).toBe(4 * input.size);
  });

  test('hands the batch statistics of each batch-norm to the caller', () => {
    const network = shaken(mixed());
    const seen = new Map<string, [number[], number[]]>();
    network.forward(x(), {
      training: true,
      onBatchStatistics: (node, mean, variance) => seen.set(node, [[...mean.dataSync()], [...variance.dataSync()]]),
    });
    expect([...seen.keys()]).toEqual([...network.norms.keys()]);
    const {graph, parameters} = network;
    const stem = operatorOf(graph.nodes[0]!).run(
      tf,
      graph.nodes[0]!,
      [x(), parameters.get('stem.weight')!, parameters.get('stem.bias')!],
      optionsOf(graph, graph.nodes[0]!, 3),
    );
    const {mean, variance} = tf.moments(stem, [0, 1, 2]);
    const count = 3 * 7 * 6;
    expectClose(seen.get('stem.bn')![0], mean.dataSync());
    expectClose(seen.get('stem.bn')![1], tf.mul(variance, count / (count - 1)).dataSync());
    expect(network.norms.get('stem.bn')!.momentum).toBe(0.9);
    expect(network.norms.get('stem.bn')!.mean).toBe(network.statistics.get('stem.bn.running_mean'));
  });

  test('shows each layer its input in full precision, also where it is quantized', () => {
    const network = shaken(mixed());
    const seen = (options: Partial<ForwardOptions>) => {
      const inputs = new Map<string, Float32Array>();
      network.forward(x(), {
        training: true,
        ...options,
        onActivation: (site, input) => inputs.set(site.id, input.dataSync<'float32'>().slice()),
      });
      return inputs;
    };
    const plain = seen({});
    expect([...plain.keys()]).toEqual(network.layers.map(({name}) => name));
    // The quantizer of the second layer changes what follows, but not what that layer is shown.
    const quantized = seen({activation: quantizers(network)});
    expect(quantized.get('stem')).toEqual(plain.get('stem'));
    expect(new Set(quantized.get('a')).size).toBeGreaterThan(100);
  });

  test('quantizes a value once for layers that share the quantizer, and asks once a layer', async () => {
    const net = graphBuilder('shared', [2, 4, 4]);
    const x = net.node('Relu', 'relu', [net.input]);
    const both = net.node(
      'Add',
      'add',
      ['l', 'r'].map((name) => net.conv(name, x, {channels: 2, kernel: 1})),
    );
    const graph = net.build(both);
    const network = createNetwork(graph, initialWeights(graph, 0));
    const rounds = async (activation: NonNullable<ForwardOptions['activation']>): Promise<number> => {
      const {kernels} = await tf.profile(() => network.forward(tf.ones([1, 4, 4, 2]), {training: true, activation}));
      return kernels.filter(({name}) => name === 'Round').length;
    };
    const make = (): InputQuantizer => ({grid: unsigned, scale: tf.scalar(0.1), rule: clipped});
    const one = make();
    let asked = 0;
    const shared = await rounds(() => {
      asked++;
      return one;
    });
    expect({shared, asked}).toEqual({shared: 1, asked: 2});
    expect(await rounds(make)).toBe(2);
  });

  test('draws dropout only when it is given a generator', () => {
    const network = shaken(mixed());
    const run = (dropout?: ForwardOptions['dropout']) =>
      network.forward(x(), {training: true, ...(dropout === undefined ? {} : {dropout})}).dataSync();
    const draws = (step: number) => (index: number) => uniform(0, 'dropout', step, index);
    expect(run()).toEqual(run());
    expect(run(draws(1))).toEqual(run(draws(1)));
    expect(run(draws(1))).not.toEqual(run(draws(2)));
    expect(run(draws(1))).not.toEqual(run());
  });

  test('refuses images of another shape', () => {
    const network = shaken(mixed());
    expect(() => network.forward(tf.zeros([1, 2, 7, 6]), {training: false})).toThrow(
      'The network "mixed" takes inputs [N, 7, 6, 2]; it was given [1, 2, 7, 6].',
    );
  });
});

describe('weights', () => {
  test('come back as they went in, and load puts others in place', async () => {
    const graph = mixed();
    const [first, second] = [initialWeights(graph, 1), initialWeights(graph, 2)];
    const network = createNetwork(graph, first);
    expect(await network.weights()).toEqual(first);
    const before = tf.memory().numTensors;
    network.load(second);
    expect(await network.weights()).toEqual(second);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('keep the output channel last in memory', () => {
    const network = createNetwork(mixed(), initialWeights(mixed(), 1));
    const shapes = ['stem', 'b', 'right', 'fc'].map((name) => network.parameters.get(`${name}.weight`)!.shape);
    expect(shapes).toEqual([
      [3, 3, 2, 4],
      [3, 3, 1, 6],
      [3, 3, 3, 6],
      [48, 3],
    ]);
  });

  test('that are missing or of another shape are refused, and nothing changes', async () => {
    const graph = mixed();
    const weights = initialWeights(graph, 1);
    const network = createNetwork(graph, weights);
    const without = new Map([...initialWeights(graph, 2)].filter(([name]) => name !== 'fc.bias'));
    expect(() => network.load(without)).toThrow('Weights for "mixed": "fc.bias" is missing; it must be [3].');
    const wrong = new Map([...initialWeights(graph, 2), ['fc.bias', {shape: [4], data: new Float32Array(4)}]] as const);
    expect(() => network.load(wrong)).toThrow('"fc.bias" has the shape [4]; it must be [3].');
    expect(await network.weights()).toEqual(weights);
  });
});

describe('executionPlan', () => {
  function planOf(name: string, training: boolean): readonly string[] {
    const model = models.find((definition) => definition.name === name)!;
    const graph = model.build(model.defaults, {});
    const {steps} = executionPlan(graph, layOut(graph, inferShapes(graph)), layerTable(graph).layers, training);
    return steps.map(({kind, node, range, folded, feeds}) => {
      const parts = [
        kind === 'operator' ? node.op : kind,
        node.name,
        folded?.name,
        range === null ? undefined : `≤${range.max}`,
      ];
      return [...parts, ...feeds.map(({id}) => `→${id}`)].filter((part) => part !== undefined).join(' ');
    });
  }

  test('in training joins batch-norm, activation and the next quantizer, and the sum with its activation', () => {
    expect(planOf('resnet18', true).slice(0, 14)).toEqual([
      'layer conv1',
      'norm bn1 ≤Infinity',
      'MaxPool maxpool',
      'layer layer1.0.conv1',
      'norm layer1.0.bn1 ≤Infinity →layer1.0.conv2',
      'layer layer1.0.conv2',
      'norm layer1.0.bn2',
      'add layer1.0.add ≤Infinity',
      'layer layer1.1.conv1',
      'norm layer1.1.bn1 ≤Infinity →layer1.1.conv2',
      'layer layer1.1.conv2',
      'norm layer1.1.bn2',
      'add layer1.1.add ≤Infinity →layer2.0.conv1 →layer2.0.downsample.0',
      'layer layer2.0.conv1',
    ]);
  });

  test('in evaluation folds batch-norm and activation into the layer', () => {
    expect(planOf('mobilenet-v2', false).slice(0, 8)).toEqual([
      'layer features.0.0 features.0.1 ≤6 →features.1.conv.0.0',
      'layer features.1.conv.0.0 features.1.conv.0.1 ≤6 →features.1.conv.1',
      'layer features.1.conv.1 features.1.conv.2 →features.2.conv.0.0',
      'layer features.2.conv.0.0 features.2.conv.0.1 ≤6 →features.2.conv.1.0',
      'layer features.2.conv.1.0 features.2.conv.1.1 ≤6 →features.2.conv.2',
      'layer features.2.conv.2 features.2.conv.3',
      'layer features.3.conv.0.0 features.3.conv.0.1 ≤6 →features.3.conv.1.0',
      'layer features.3.conv.1.0 features.3.conv.1.1 ≤6 →features.3.conv.2',
    ]);
    // No step is left that is not a layer, a sum, or the head; Dropout is looked through.
    expect(new Set(planOf('mobilenet-v2', false).map((step) => step.split(' ')[0]))).toEqual(
      new Set(['layer', 'operator', 'GlobalAveragePool', 'Flatten', 'add'].filter((kind) => kind !== 'operator')),
    );
  });
});
