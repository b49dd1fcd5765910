/** Networks as runtimes compute them: the simulation in sdq's engine against the file in ONNX Runtime, and both against plain arithmetic. */
import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder} from '../../../../src/graph/builder.ts';
import type {Graph} from '../../../../src/graph/graph.ts';
import {initialWeights} from '../../../../src/graph/initialize.ts';
import {elements} from '../../../../src/graph/ops/operator.ts';
import {createNetwork, type Network} from '../../../../src/graph/network.ts';
import {exportDeployed} from '../../../../src/plugins/exporters/deployed.ts';
import {vit} from '../../../../src/plugins/models/vit.ts';
import {activationQuantizers, weightQuantizers} from '../../../../src/plugins/quantizers/index.ts';
import {observedRanges, readTarget} from '../../../../src/phases/deployment.ts';
import {normal, uniform} from '../../../../src/random.ts';
import {
  deploy,
  sharedCandidates,
  simulation,
  type Deployment,
  type Observe,
} from '../../../../src/sdq/deployment/deploy.ts';
import {batchNormAffine, foldLayer, integerBias} from '../../../../src/sdq/deployment/fold.ts';
import {integerNetwork, type LayerWeights} from '../../../../src/sdq/integer-network.ts';
import {quantize, type Quantization} from '../../../../src/training/quantized-network.ts';
import {sharedGrid, targetForward} from '../../../../src/training/target-forward.ts';
import {useCpuBackend} from '../../../helpers/cpu-backend.ts';
import {expectSameInRuntime} from '../../../helpers/onnx-runtime.ts';

useCpuBackend();

const find = <T extends {readonly name: string}>(list: readonly T[], name: string): T =>
  list.find((each) => each.name === name)!;

/** Residual network with a shared input, a depthwise layer, a padded shortcut and channels whose γ is negative, 0 or tiny. */
function residual(): Graph {
  const g = graphBuilder('residual', [2, 6, 6]);
  let x = g.node('Relu', 'relu0', [g.batchNorm('bn0', g.conv('stem', g.input, {channels: 4, kernel: 3}))]);
  const a = g.batchNorm('bn1', g.conv('conv1', x, {channels: 6, kernel: 3, stride: 2}));
  const b = g.batchNorm('bn2', g.conv('conv2', x, {channels: 6, kernel: 1, stride: 2}));
  x = g.node('Relu', 'relu1', [g.node('Add', 'add1', [a, b])]);
  const d = g.node('Clip', 'relu6', [g.batchNorm('bn3', g.conv('deep', x, {channels: 6, kernel: 3, group: 6}))], {
    min: 0,
    max: 6,
  });
  const e = g.batchNorm('bn4', g.conv('conv4', d, {channels: 8, kernel: 1}));
  const padded = g.node('Pad', 'pad', [x], {pads: [0, 1, 0, 0, 0, 1, 0, 0]});
  x = g.node('Add', 'add2', [e, padded]);
  x = g.node('Flatten', 'flatten', [g.node('GlobalAveragePool', 'pool', [x])]);
  return g.build(g.linear('fc', x, {features: 3}));
}

/** Values of [tokens · N, features], products of two activations, Add of values that a Reshape lies before. */
const transformer = (): Graph =>
  vit.build({inputShape: [2, 8, 8], classes: 3}, {patch: 4, width: 12, depth: 1, heads: 3, mlpRatio: 2});

/** Tokens before the batch, as PyTorch's attention has them, a Clip and an Add of such values, and normalization in groups. */
function tokensFirst(): Graph {
  const g = graphBuilder('tokens-first', [2, 6, 6]);
  const vector = (name: string, ...shape: number[]): string =>
    g.parameter({
      name,
      shape,
      role: name.startsWith('w') ? 'weight' : 'norm',
      initializer: {kind: 'uniform', bound: 1},
    });
  const patches = g.conv('patches', g.input, {channels: 8, kernel: 2, stride: 2});
  const normal = g.node('GroupNormalization', 'groups', [patches, vector('scale', 8), vector('shift', 8)], {
    num_groups: 2,
  });
  const tokens = g.node('Reshape', 'tokens', [normal], {shape: [0, 8, 9]});
  const first = g.node('Transpose', 'first', [tokens], {perm: [2, 0, 1]});
  const hidden = g.node('Clip', 'bounded', [g.node('MatMul', 'mlp', [first, vector('w1', 8, 8)])], {min: -1, max: 1});
  const sum = g.node('Add', 'sum', [first, g.node('MatMul', 'mixed', [hidden, vector('w2', 8, 8)])]);
  const pooled = g.node('ReduceMean', 'mean', [g.node('Transpose', 'back', [sum], {perm: [1, 2, 0]})], {
    axes: [2],
    keepdims: 0,
  });
  return g.build(g.linear('fc', pooled, {features: 3}));
}

function oddNetwork(graph = residual()): Network {
  const weights = new Map(initialWeights(graph, 1));
  const draw = uniform(5, 'bench');
  for (const {name, role, shape} of graph.parameters) {
    if (role === 'weight' || role === 'constant') continue;
    const isVariance = name.endsWith('running_var');
    const data = Float32Array.from({length: elements(shape)}, () =>
      isVariance ? 0.5 + draw() : name.endsWith('weight') ? 0.6 + draw() : 0.3 * normal(draw),
    );
    if (role === 'norm' && name.endsWith('.weight')) {
      data[0] = -data[0]!;
      data[1] = 0;
      data[2] = 1e-12;
    }
    weights.set(name, {shape, data});
  }
  return createNetwork(graph, weights);
}

const observe: Observe = async (values, simulated) => {
  const {graph, parameters} = simulated();
  const draw = uniform(9, 'bench');
  const [channels = 0, height = 0, width = 0] = graph.input.shape;
  const x = tf.tensor(
    Float32Array.from({length: 4 * height * width * channels}, () => 2 * normal(draw)),
    [4, height, width, channels],
  );
  return observedRanges(createNetwork(graph, parameters, new Set(values)), x);
};

type Options = {
  readonly activations?: string;
  readonly bits?: readonly number[];
  readonly weights?: string;
  readonly scales?: (i: number) => number;
};

/** Steps; the ranges of PACT are wider. */
const lsqScales = (i: number): number => 0.02 + 0.01 * i;

async function quantized(
  network: Network,
  {activations = 'pact', bits = [8, 8], weights = 'symmetric', scales = (i) => 2 + 0.5 * (i % 3)}: Options,
): Promise<Quantization> {
  const quantization = quantize(
    network,
    {
      weights: await find(weightQuantizers, weights).load(),
      activations: await find(activationQuantizers, activations).load(),
      signedActivations: await find(activationQuantizers, 'lsq').load(),
    },
    () => ({weightBits: bits[0]!, activationBits: bits[1]!}),
    {learnSteps: false},
  );
  [...quantization.inputs.values()].forEach(({inputSigned, parameter}, i) =>
    parameter.assign(tf.scalar(inputSigned ? 0.04 : scales(i))),
  );
  return quantization;
}

async function deployed(target: string, options: Options, network = oddNetwork()): Promise<Deployment> {
  return deploy(await integerNetwork(network, await quantized(network, options)), readTarget(target), observe);
}

describe.each(['onnxruntime', 'openvino', 'tensorrt', 'portable'])('%s: the file computes the simulation', (target) => {
  const {rules} = readTarget(target);

  test.each([
    ['W 8 / A 8', {}],
    ['W 4 / A 8', {bits: [4, 8]}],
    ['W 3 / A 4', {bits: [3, 4]}],
    ['W 1 / A 8', {bits: [1, 8]}],
    ['mid-rise at 7 bits', {weights: 'mid-rise', bits: [7, 7]}],
    ['LSQ', {activations: 'lsq', bits: [5, 6], scales: lsqScales}],
    ['weights alone', {bits: [4, 32]}],
    ['inputs alone', {bits: [32, 8]}],
  ])('%s', async (_name, options) => {
    const made = await deployed(target, options);
    const {graph, parameters} = simulation(made);
    await expectSameInRuntime(createNetwork(graph, parameters), exportDeployed(made, rules));
  });

  test.each([
    ['a vision transformer, W 8 / A 8', [8, 8], transformer],
    ['a vision transformer, W 4 / A 4', [4, 4], transformer],
    ['tokens before the batch, W 8 / A 8', [8, 8], tokensFirst],
    ['tokens before the batch, W 4 / A 4', [4, 4], tokensFirst],
  ])('%s', async (_name, bits, build) => {
    const made = await deployed(target, {bits}, oddNetwork(build()));
    const {graph, parameters} = simulation(made);
    await expectSameInRuntime(createNetwork(graph, parameters), exportDeployed(made, rules));
  });

  test.each([
    ['a residual network', residual],
    ['a vision transformer', transformer],
  ])("ONNX Runtime's optimizations, its default, compute it too: %s", async (_name, build) => {
    const made = await deployed(target, {}, oddNetwork(build()));
    const {graph, parameters} = simulation(made);
    await expectSameInRuntime(createNetwork(graph, parameters), exportDeployed(made, rules), {
      level: 'all',
      share: 0.02,
    });
  });

  test('no batch-norm is left, and weights are integers of 8 bits', async () => {
    const {graph, initializers} = await deployed(target, {}).then((made) => {
      const {graph} = exportDeployed(made, rules);
      return {graph, initializers: new Map(graph.initializers.map((each) => [each.name, each]))};
    });
    expect(graph.nodes.filter(({op}) => op === 'BatchNormalization')).toEqual([]);
    for (const {inputs} of graph.nodes.filter(({op}) => op === 'Conv' || op === 'Gemm')) {
      const [, w, bias] = inputs.map((name) => graph.nodes.find(({outputs}) => outputs.includes(name)));
      expect(w?.op).toBe('DequantizeLinear');
      expect(initializers.get(w!.inputs[0]!)?.type).toBe('int8');
      // TensorRT refuses a DequantizeLinear of 32-bit integers.
      expect(initializers.get(bias?.inputs[0] ?? inputs[2]!)?.type).toBe(rules.biases);
      expect(bias?.op).toBe(rules.biases === 'int32' ? 'DequantizeLinear' : undefined);
    }
    const zeros = graph.initializers.filter(({name}) => name.endsWith('zero_point'));
    if (target === 'tensorrt') {
      expect(zeros.length).toBeGreaterThan(0);
      for (const {bytes, type} of zeros) expect([type, ...new Set(bytes)]).toEqual(['int8', 0]);
    }
  });
});

describe('phase 2 for a target', () => {
  test.each([
    ['onnxruntime', 'a residual network', {bits: [4, 8]}, residual],
    ['onnxruntime', 'a residual network', {bits: [4, 4]}, residual],
    ['onnxruntime', 'a residual network', {bits: [1, 8]}, residual],
    ['onnxruntime', 'a residual network', {bits: [7, 8], weights: 'mid-rise'}, residual],
    ['onnxruntime', 'a residual network', {bits: [4, 8], activations: 'lsq', scales: lsqScales}, residual],
    ['tensorrt', 'a residual network', {bits: [4, 8]}, residual],
    ['tensorrt', 'a residual network', {bits: [1, 8], activations: 'lsq', scales: lsqScales}, residual],
    ['onnxruntime', 'a vision transformer', {bits: [4, 8]}, transformer],
    ['onnxruntime', 'tokens before the batch', {bits: [4, 8]}, tokensFirst],
    ['tensorrt', 'a vision transformer', {bits: [4, 8]}, transformer],
    ['portable', 'a residual network', {bits: [4, 4]}, residual],
  ] as const)('computes what the target computes: %s, %s, %j', async (name, _network, options, build) => {
    // But for biases of 32 bits, whose steps are wide at few bits.
    const rules = {...readTarget(name).rules, biases: 'float' as const};
    const graph = build();
    const network = createNetwork(graph, await oddNetwork(graph).weights(), sharedCandidates(graph, rules));
    const quantization = await quantized(network, options);
    const made = await deploy(await integerNetwork(network, quantization), {name, rules}, observe);
    const shared = new Map([...made.shared].map(([value, rounding]) => [value, sharedGrid(rounding)]));
    expect(shared.size > 0).toBe(rules.joins.length > 0);
    const forward = targetForward(quantization, graph, rules, () => shared);
    const deployedTo = simulation(made);
    const draw = uniform(3, 'bench');
    const [channels = 0, height = 0, width = 0] = graph.input.shape;
    const size = 3 * channels * height * width;
    const x = tf.tensor(
      Float32Array.from({length: size}, () => 2 * normal(draw)),
      [3, height, width, channels],
    );
    const expected = await createNetwork(deployedTo.graph, deployedTo.parameters).forward(x, {training: false}).data();
    const found = await network.forward(x, {training: false, ...forward}).data();
    found.forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 4));
    // Without it the network computes something else; 4 bits hide that.
    if (shared.size > 0 && options.bits[1] === 8) {
      const plain = await network.forward(x, {training: false, ...quantization.forward}).data();
      expect(Math.max(...plain.map((value, i) => Math.abs(value - expected[i]!)))).toBeGreaterThan(1e-3);
    }
  });

  test('gradients pass straight through a rounding within its range, and not beyond it', () => {
    const shared = new Map([['x', {scale: 0.5, qmin: -2, qmax: 4}]]);
    const quantization = {
      forward: {weight: (_layer: unknown, w: tf.Tensor) => w, activation: () => null},
      inputs: new Map(),
    };
    const {value} = targetForward(quantization, residual(), readTarget('onnxruntime').rules, () => shared);
    const x = tf.tensor1d([-3, -0.6, 0.3, 0.8, 1.9, 2.6]);
    expect([...value('x', x)!.dataSync()]).toEqual([-1, -0.5, 0.5, 1, 2, 2]);
    expect([
      ...tf
        .grad((each) => value('x', each)!)(x)
        .dataSync(),
    ]).toEqual([0, 1, 1, 1, 1, 0]);
    expect(value('y', x)).toBeNull();
  });
});

describe('rules', () => {
  test('every input of an Add is rounded; layers of one value share its rounding', async () => {
    const {graph, roundings} = await deployed('onnxruntime', {});
    for (const {inputs} of graph.nodes.filter(({op}) => op === 'Add')) {
      for (const name of inputs) expect(roundings.has(name)).toBe(true);
    }
    const reads = (layer: string): string => graph.nodes.find(({name}) => name === layer)!.inputs[0]!;
    expect(reads('conv1')).toBe(reads('conv2'));
    // The two that an Add joins have each their own scale.
    const scales = graph.nodes.find(({name}) => name === 'add1')!.inputs.map((name) => roundings.get(name)!.scale);
    expect(new Set(scales).size).toBe(2);
  });

  test.each([
    ['onnxruntime', [4, 8]],
    ['onnxruntime', [4, 5]],
    ['portable', [4, 8]],
  ])('%s: a Clip that only roundings read becomes bounds of their integers, W / A %j', async (name, bits) => {
    const g = graphBuilder('clips', [2, 6, 6]);
    const range = {min: -0.3, max: 6};
    const a = g.node('Clip', 'clip1', [g.conv('conv1', g.input, {channels: 4, kernel: 3})], {min: 0, max: 6});
    const b = g.conv('conv2', a, {channels: 4, kernel: 3});
    const c = g.conv('conv3', a, {channels: 4, kernel: 1});
    const d = g.node('Clip', 'clip2', [g.node('Add', 'add', [b, c])], range);
    const e = g.node('Clip', 'clip3', [g.conv('conv4', d, {channels: 4, kernel: 3})], range);
    const graph = g.build(g.linear('fc', g.node('Flatten', 'flatten', [e]), {features: 3}));
    const network = oddNetwork({...graph, outputs: [...graph.outputs, 'clip3']});
    // Ranges below and above 6: of the Clip, its rounding or both it is.
    const made = await quantized(network, {
      activations: 'lsq',
      bits,
      scales: (i) => (i % 2 === 0 ? 0.02 : 0.05) * 2 ** (8 - bits[1]!),
    });
    const integers = await integerNetwork(network, made);
    const target = readTarget(name);
    const [whole, clips] = await Promise.all(
      (['integer', 'float'] as const).map((clip) => deploy(integers, {name, rules: {...target.rules, clip}}, observe)),
    );
    const left = (deployment: Deployment): string[] =>
      deployment.graph.nodes.filter(({op}) => op === 'Clip').map((node) => node.name);
    expect([left(whole!), left(clips!)]).toEqual([['clip3'], ['clip1', 'clip2', 'clip3']]);
    const draw = uniform(4, 'bench');
    const x = tf.tensor(
      Float32Array.from({length: 5 * 72}, () => 5 * normal(draw)),
      [5, 6, 6, 2],
    );
    const outputs = [whole!, clips!].map((deployment) => {
      const {graph, parameters} = simulation(deployment);
      return createNetwork(graph, parameters).forward(x, {training: false}).arraySync();
    });
    expect(outputs[0]).toEqual(outputs[1]);
    const simulated = simulation(whole!);
    await expectSameInRuntime(
      createNetwork(simulated.graph, simulated.parameters),
      exportDeployed(whole!, target.rules),
    );
  });

  test('without joins, layers of one value have their own roundings', async () => {
    const {graph, notes} = await deployed('portable', {});
    const reads = (layer: string): string => graph.nodes.find(({name}) => name === layer)!.inputs[0]!;
    expect(reads('conv1')).not.toBe(reads('conv2'));
    expect(notes.join()).not.toContain('rounded to 8 bits');
  });

  test.each([
    ['weights alone at 4 bits', [4, 32]],
    ['inputs alone at 4 bits', [32, 4]],
  ])('%s: what the network in training computes, batch-norm and all', async (_name, bits) => {
    const network = oddNetwork();
    const options = {bits};
    const {forward} = await quantized(network, options);
    const {graph, parameters} = simulation(await deployed('portable', options, network));
    const draw = uniform(3, 'bench');
    const x = tf.tensor(
      Float32Array.from({length: 3 * 72}, () => 2 * normal(draw)),
      [3, 6, 6, 2],
    );
    const expected = await network.forward(x, {training: false, ...forward}).data();
    const found = await createNetwork(graph, parameters).forward(x, {training: false}).data();
    found.forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 5));
  });

  test('signed integers: 128 levels over the same range, and the notes say so', async () => {
    const {graph, notes, roundings} = await deployed('tensorrt', {bits: [8, 7]});
    expect(notes.join()).not.toContain('128 levels');
    const eight = await deployed('tensorrt', {});
    expect(eight.notes.join()).toContain('tensorrt has signed integers only');
    const name = eight.graph.nodes.find((node) => node.name === 'deep')!.inputs[0]!;
    expect(eight.roundings.get(name)).toMatchObject({type: 'int8', zeroPoint: 0, min: 0, max: 127});
    expect(graph.nodes.length).toBeGreaterThan(0);
    for (const {max, min, type} of roundings.values())
      expect([type, min >= -128, max <= 127]).toEqual(['int8', true, true]);
  });

  test.each([
    [{weights: 'mid-rise', bits: [8, 8]}, 'layer "stem" has 8 bits on a grid without zero'],
    [{activations: 'lsq', bits: [8, 1]}, 'that of layer "stem" has 1 bit on a grid without zero'],
  ])('%j is refused by name', async (options, message) => {
    await expect(deployed('onnxruntime', options)).rejects.toThrow(message);
  });

  test('a profile without a deployment is no target', () => {
    expect(() => readTarget('finn-zcu102')).toThrow('is no target');
  });
});

describe('folding', () => {
  const weights = (indices: readonly number[]): LayerWeights => ({
    bits: 8,
    grid: {qmin: -128, qmax: 127, offset: 0},
    shape: [2, 1, 1, indices.length / 2],
    indices: Float32Array.from(indices),
    scale: Float32Array.of(0.5),
    axis: 0,
  });
  const place = {layer: 'conv', target: 'onnxruntime'};

  test('a negative γ turns integers around; a channel with −128 takes a step of 128 / 127', () => {
    const affine = {factor: Float64Array.of(-2, -2), shift: Float64Array.of(1, 0)};
    const {bias, rounded, weights: made} = foldLayer(weights([5, -127, -128, 64]), undefined, affine, 0.1, place);
    expect([...made.integers]).toEqual([-5, 127, 127, -63]);
    expect(made.scale[0]).toBeCloseTo(1, 7);
    expect(made.scale[1]).toBeCloseTo(128 / 127, 6);
    expect(rounded).toEqual([1]);
    expect([...bias!]).toEqual([1, 0]);
    // Within half a step of what batch-norm makes of the weights.
    expect(Math.abs(made.integers[3]! * made.scale[1]! - -64)).toBeLessThanOrEqual(0.5 * made.scale[1]! + 1e-6);
  });

  test('γ of 0: no weights, the bias alone; tiny γ: a bias that fits in 32 bits', () => {
    const affine = {factor: Float64Array.of(0, 1e-12), shift: Float64Array.of(3, 3)};
    const {bias, weights: made} = foldLayer(weights([5, 6, 7, 8]), undefined, affine, 0.1, place);
    expect([...made.integers].slice(0, 2).map(Math.abs)).toEqual([0, 0]);
    const whole = integerBias(bias!, made.scale, 0.1);
    whole.integers.forEach((value, c) => {
      expect(Math.abs(value)).toBeLessThan(2 ** 31);
      expect(value * whole.scale[c]!).toBeCloseTo(3, 1);
    });
  });

  test('the affine of batch-norm, by its definition', () => {
    const values = new Map(Object.entries({g: 2, b: 0.5, m: 3, v: 0.75}));
    const node = {name: 'bn', op: 'BatchNormalization', inputs: ['x', 'g', 'b', 'm', 'v'], outputs: ['y'], attributes: {epsilon: 0.25}}; // prettier-ignore
    const {factor, shift} = batchNormAffine(node, (name) => ({shape: [1], data: Float32Array.of(values.get(name)!)}));
    expect([factor[0], shift[0]]).toEqual([2, 0.5 - 6]);
  });
});
