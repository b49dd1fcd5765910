/** Times of layers from a runtime's profile; the runtime is made up. */
import {expect, test} from '@jest/globals';

import {graphBuilder} from '../../../src/graph/builder.ts';
import type {Graph} from '../../../src/graph/graph.ts';
import {initialWeights} from '../../../src/graph/initialize.ts';
import {decodeOnnx, encodeOnnx} from '../../../src/graph/onnx/proto.ts';
import {prepareCosts} from '../../../src/hardware/cost-model.ts';
import {layerGeometries} from '../../../src/hardware/geometry.ts';
import {withMeasured} from '../../../src/hardware/latency-table.ts';
import {readTarget} from '../../../src/phases/deployment.ts';
import {layerTimes, madeUpNetwork, measureLayers} from '../../../src/phases/hardware-measure.ts';
import {profiledNodes} from '../../../src/phases/onnx-runtime.ts';
import {genericBops} from '../../../src/plugins/cost-models/generic-bops.ts';
import type {Runtime, RuntimeNetwork} from '../../../src/phases/runtime.ts';

/**
 * A convolution takes 10 µs, 20 where its input is in float, and 7 more where it is the last one before such; any other node takes 1.
 * A profile adds 0.5 to each node. The whole network takes their sum.
 */
function madeUpRuntime(): {runtime: Runtime; opened: Uint8Array[]} {
  const opened: Uint8Array[] = [];
  const nodesOf = (bytes: Uint8Array): {name: string; us: number}[] => {
    const nodes = decodeOnnx(bytes)!.graph.node;
    const rounded = new Set(nodes.flatMap(({opType, output}) => (opType === 'DequantizeLinear' ? output : [])));
    const convs = nodes.filter(({opType}) => opType === 'Conv').map(({input: [x = '']}) => rounded.has(x));
    let conv = 0;
    return nodes
      .filter(({opType}) => opType !== 'DequantizeLinear')
      .map(({name, opType}) => {
        if (opType !== 'Conv') return {name, us: 1};
        const [isRounded, isNextRounded = true] = convs.slice(conv++);
        return {name, us: isRounded ? (isNextRounded ? 10 : 17) : 20};
      });
  };
  const runtime: Runtime = {
    name: 'made up',
    open(bytes) {
      opened.push(bytes);
      const ms = nodesOf(bytes).reduce((sum, {us}) => sum + us, 0) / 1000;
      const network: RuntimeNetwork = {
        run: () => Promise.reject(new Error('not asked')),
        time: (_images, _shape, runs) => Promise.resolve(new Array<number>(runs).fill(ms)),
        release: () => Promise.resolve(),
      };
      return Promise.resolve(network);
    },
    kernels: () => Promise.resolve(null),
    profile: (bytes, _file, _images, _shape, runs) =>
      Promise.resolve(
        nodesOf(bytes).map(({name, us}) => ({name: `${name}_nchwc`, us: new Array<number>(runs).fill(us + 0.5)})),
      ),
    close: () => Promise.resolve(),
  };
  return {runtime, opened};
}

/** A convolution, a residual block of two, and a linear layer. */
function residual(): Graph {
  const g = graphBuilder('residual', [3, 4, 4]);
  const conv = (name: string, x: string): string =>
    g.batchNorm(`${name}.bn`, g.conv(name, x, {channels: 4, kernel: 3}));
  const stem = g.node('Relu', 'relu0', [conv('stem', g.input)]);
  const branch = conv('conv2', g.node('Relu', 'relu1', [conv('conv1', stem)]));
  const sum = g.node('Relu', 'relu2', [g.node('Add', 'add', [branch, stem])]);
  return g.build(
    g.linear('fc', g.node('Flatten', 'flatten', [g.node('GlobalAveragePool', 'pool', [sum])]), {features: 2}),
  );
}

/** Three convolutions and a linear layer in a row. */
function chain(): Graph {
  const g = graphBuilder('chain', [3, 4, 4]);
  const x = ['conv1', 'conv2', 'conv3'].reduce(
    (input, name) => g.node('Relu', `${name}.relu`, [g.conv(name, input, {channels: 4, kernel: 3})]),
    g.input,
  );
  return g.build(g.linear('fc', g.node('Flatten', 'flatten', [x]), {features: 2}));
}

test('every layer at every combination that the target has, from the networks that differ', async () => {
  const {opened, runtime} = madeUpRuntime();
  const target = readTarget('onnxruntime');
  const request = {target, graph: residual(), batch: 1, runs: 7, seed: 1, progress: () => undefined};
  const {networks, rows} = await measureLayers(runtime, request);
  // Weights of 1 to 8 bits or in float × inputs of 2 to 8 bits or in float.
  expect(networks).toHaveLength(9 * 8);
  expect(rows).toHaveLength(4 * 9 * 8);
  // Integers or floats, of inputs also those that are clipped; and two that alternate for each kind of weights behind inputs in float.
  expect(opened).toHaveLength(2 * 3 + 2 * 2);
  const at = (layer: string, weightBits: number, activationBits: number): number =>
    rows.find((row) => row.layer === layer && row.weightBits === weightBits && row.activationBits === activationBits)!
      .latencyUs!;
  expect(at('conv1', 4, 8)).toBe(at('conv1', 8, 8));
  expect(at('conv1', 8, 4)).toBeGreaterThan(at('conv1', 8, 8));
  // conv2 has the rounding of its output, the Add, the Relu and the next rounding behind it.
  expect(at('conv2', 8, 8)).toBeGreaterThan(at('conv1', 8, 8));
  for (const {activationBits, latencyUs, weightBits} of networks) {
    const own = rows.filter((row) => row.weightBits === weightBits && row.activationBits === activationBits);
    expect(own.reduce((sum, row) => sum + row.latencyUs!, 0)).toBeCloseTo(latencyUs, 0);
  }
});

test('layers in float among those of integers: what the change takes is in the sum', async () => {
  const {runtime} = madeUpRuntime();
  const target = readTarget('onnxruntime');
  const graph = chain();
  const {rows} = await measureLayers(runtime, {target, graph, batch: 1, runs: 5, seed: 1, progress: () => undefined});
  const changing = rows.filter(({transitionUs}) => transitionUs !== undefined);
  expect(new Set(changing.map(({activationBits}) => activationBits))).toEqual(new Set([32]));
  // Before the first layer is none, and before fc is no other convolution that it would slow.
  expect(new Set(changing.map(({layer}) => layer))).toEqual(new Set(['conv2', 'conv3']));
  const table = {
    version: 1,
    hardware: target.name,
    model: {name: 'chain', graphDigest: ''},
    batch: 1,
    rows,
  } as const;
  const costs = withMeasured(prepareCosts(target.profile, genericBops, 1), table, 'table.json');
  const parameters = initialWeights(graph, 0);
  for (const activations of [
    [8, 32, 8, 8],
    [8, 8, 32, 8],
    [8, 32, 32, 8],
    [32, 8, 32, 8],
    [4, 32, 4, 8],
  ]) {
    const bits = activations.map((activationBits) => ({weightBits: 8, activationBits}));
    const {model} = await madeUpNetwork(graph, target, bits, parameters);
    const network = await runtime.open(encodeOnnx(model), 'mixed.onnx');
    const [ms = 0] = await network.time(new Float32Array(48), [1, 3, 4, 4], 1);
    const {totals} = costs.network(layerGeometries(graph), bits);
    expect(totals.latencyUs).toBeCloseTo(1000 * ms, 0);
  }
});

test("a profile's own time is taken off; nodes that the runtime adds count for the layer before", () => {
  const owners = new Map([
    ['conv1', 'conv1'],
    ['conv1.relu', 'conv1'],
    ['conv10', 'conv10'],
  ]);
  const profile = [
    {name: 'Reorder', us: [3, 3, 3]},
    {name: 'conv1.relu_nchwc', us: [11, 12, 13]},
    {name: 'Reorder_token_1', us: [3, 3, 3]},
    {name: 'conv10_nchwc', us: [22, 22, 22]},
  ];
  // 40 µs in the profile, 32 without: 2 off each node.
  const times = layerTimes(owners, profile, 32);
  expect(times.get('conv1')!.latencyUs).toBeCloseTo(12, 9);
  expect(times.get('conv10')).toEqual({latencyUs: 20, spread: 0});
  expect(times.get('conv1')!.spread).toBeCloseTo(1 / 18, 3);
});

test('a profile of ONNX Runtime: nodes in their order, the first three runs left out', () => {
  const event = (name: string, index: string, dur: number): object => ({
    cat: 'Node',
    name: `${name}_kernel_time`,
    dur,
    args: {node_index: index},
  });
  const runs = [9, 8, 7, 1, 2].flatMap((dur) => [
    {cat: 'Session', name: 'model_run', dur: 99},
    event('b', '0', dur),
    event('a', '1', 10 * dur),
    event('a', '2', 100 * dur),
  ]);
  expect(profiledNodes(JSON.stringify(runs))).toEqual([
    {name: 'b', us: [1, 2]},
    {name: 'a', us: [10, 20]},
    {name: 'a', us: [100, 200]},
  ]);
});
