/** Products of two activations, as attention has two of: their sites in training, export, search, costs and strategies. */
import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder} from '../../../src/graph/builder.ts';
import {graphDigest} from '../../../src/graph/digest.ts';
import type {Graph} from '../../../src/graph/graph.ts';
import {initialWeights} from '../../../src/graph/initialize.ts';
import {hasWeights, inputSites, layerTable} from '../../../src/graph/layer-table.ts';
import {createNetwork, type Network} from '../../../src/graph/network.ts';
import {prepareCosts} from '../../../src/hardware/cost-model.ts';
import {layerGeometries} from '../../../src/hardware/geometry.ts';
import {allowedPairs, hardwareViolations} from '../../../src/hardware/rules.ts';
import {readProfile} from '../../../src/phases/hardware-file.ts';
import {checkedStrategy} from '../../../src/phases/strategy-file.ts';
import {genericBops} from '../../../src/plugins/cost-models/generic-bops.ts';
import {gpuRoofline} from '../../../src/plugins/cost-models/gpu-roofline.ts';
import {exporters} from '../../../src/plugins/exporters/index.ts';
import {vit} from '../../../src/plugins/models/vit.ts';
import {lsq} from '../../../src/plugins/quantizers/lsq.ts';
import {pact} from '../../../src/plugins/quantizers/pact.ts';
import {symmetric} from '../../../src/plugins/quantizers/symmetric.ts';
import {integerNetwork} from '../../../src/sdq/integer-network.ts';
import {searchSpace} from '../../../src/sdq/search/space.ts';
import {buildStrategy, matchStrategy, productBits, type Strategy} from '../../../src/sdq/strategy.ts';
import {calibrateInputs, sampleInputs} from '../../../src/training/calibration.ts';
import {quantizationRecord, quantizationValues} from '../../../src/training/quantization-record.ts';
import {quantize, type Quantization} from '../../../src/training/quantized-network.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose, randomTensor} from '../../helpers/gradient-check.ts';
import {expectSameInRuntime} from '../../helpers/onnx-runtime.ts';

useCpuBackend();

const quantizers = {weights: symmetric, activations: pact, signedActivations: lsq};
const small: Graph = vit.build(
  {classes: 5, inputShape: [3, 8, 8]},
  {patch: 4, width: 12, depth: 1, heads: 3, mlpRatio: 2},
);
const products = ['blocks.0.attn.scores', 'blocks.0.attn.mixed'];
const [scores, mixed] = products as [string, string];

/** Weights at 4 bits, inputs at 8, products at 8. */
async function w4a8(network: Network, x: tf.Tensor, weightBits = 4): Promise<Quantization> {
  const quantization = quantize(
    network,
    quantizers,
    (layer) => ({weightBits: hasWeights(layer) ? weightBits : 8, activationBits: 8}),
    {learnSteps: true},
  );
  const sample = await sampleInputs(network, quantization.inputs.keys(), x);
  expect(calibrateInputs(quantization.inputs, sample)).toBeUndefined();
  return quantization;
}

/** x: [N, 24] seen as [2, 3, 4] times itself seen as [2, 4, 3]. */
function productNetwork(): Network {
  const net = graphBuilder('product', [24]);
  const a = net.node('Reshape', 'a', [net.input], {shape: [0, 2, 3, 4]});
  const b = net.node('Reshape', 'b', [net.input], {shape: [0, 2, 4, 3]});
  const y = net.node('MatMul', 'y', [a, b]);
  const graph = net.build(net.node('Reshape', 'rows', [y], {shape: [0, 18]}));
  return createNetwork(graph, initialWeights(graph, 0));
}

/** Nearest level, ties to even, of a grid of signed integers. */
function level(x: number, step: number, bits: number): number {
  const v = x / step;
  const down = Math.floor(v);
  const near = v - down === 0.5 ? down + (down & 1) : Math.round(v);
  return Math.max(-(2 ** (bits - 1)), Math.min(2 ** (bits - 1) - 1, near));
}

/** The product of one image's halves, by its definition. */
function multiplied(a: readonly number[], b: readonly number[]): number[] {
  const y: number[] = [];
  for (let h = 0; h < 2; h++) {
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 3; j++) {
        let sum = 0;
        for (let k = 0; k < 4; k++) sum += a[12 * h + 4 * i + k]! * b[12 * h + 3 * k + j]!;
        y.push(sum);
      }
    }
  }
  return y;
}

describe('a product of two activations', () => {
  test('is a layer without weights, of two sites', () => {
    const {layers} = layerTable(small);
    const found = layers.filter((layer) => !hasWeights(layer));
    expect(found.map(({name, params, macs}) => ({name, params, macs}))).toEqual([
      {name: scores, params: 0, macs: 300},
      {name: mixed, params: 0, macs: 300},
    ]);
    expect(found.flatMap(inputSites).map(({id, signed, shape}) => ({id, signed, shape}))).toEqual([
      {id: scores, signed: true, shape: [3, 5, 4]},
      {id: `${scores}:1`, signed: true, shape: [3, 4, 5]},
      {id: mixed, signed: false, shape: [3, 5, 5]},
      {id: `${mixed}:1`, signed: true, shape: [3, 5, 4]},
    ]);
  });

  test.each([true, false])('multiplies the rounded values, each at its own bits (training: %p)', (training) => {
    const network = productNetwork();
    const quantization = quantize(network, quantizers, () => ({activationBits: 4, weightBits: 3}), {learnSteps: true});
    const steps = {y: 0.3, 'y:1': 0.6};
    for (const [id, step] of Object.entries(steps)) quantization.inputs.get(id)!.parameter.assign(tf.scalar(step));
    const x = randomTensor([2, 24], 5);
    const values = [...x.dataSync()];
    const expected = [0, 24].flatMap((from) => {
      const image = values.slice(from, from + 24);
      return multiplied(
        image.map((value) => level(value, 0.3, 4) * 0.3),
        image.map((value) => level(value, 0.6, 3) * 0.6),
      );
    });
    expectClose(network.forward(x, {training, ...quantization.forward}), expected);
  });

  test('has the gradient of the product at the rounded values, where the value is within the grid', () => {
    const network = productNetwork();
    const quantization = quantize(network, quantizers, () => ({activationBits: 4, weightBits: 3}), {learnSteps: true});
    quantization.inputs.get('y')!.parameter.assign(tf.scalar(0.2));
    quantization.inputs.get('y:1')!.parameter.assign(tf.scalar(0.4));
    const x = randomTensor([1, 24], 6);
    const v = randomTensor([1, 18], 7);
    const found = tf.grad((each: tf.Tensor) =>
      tf.sum(tf.mul(v, network.forward(each, {training: true, ...quantization.forward}))),
    )(x);
    const values = [...x.dataSync()];
    const weights = v.dataSync();
    const a = values.map((value) => level(value, 0.2, 4) * 0.2);
    const b = values.map((value) => level(value, 0.4, 3) * 0.4);
    const loss = (left: readonly number[], right: readonly number[]): number =>
      multiplied(left, right).reduce((sum, value, i) => sum + value * weights[i]!, 0);
    const within = (value: number, step: number, bits: number): number =>
      value / step >= -(2 ** (bits - 1)) && value / step <= 2 ** (bits - 1) - 1 ? 1 : 0;
    // Bilinear: central differences are exact but for rounding.
    const expected = values.map((value, i) => {
      const moved = (all: readonly number[], by: number): number[] =>
        all.map((each, j) => (j === i ? each + by : each));
      const da = (loss(moved(a, 0.5), b) - loss(moved(a, -0.5), b)) * within(value, 0.2, 4);
      const db = (loss(a, moved(b, 0.5)) - loss(a, moved(b, -0.5))) * within(value, 0.4, 3);
      return da + db;
    });
    // Some values lie outside of either grid.
    expect(values.some((value) => within(value, 0.2, 4) === 0)).toBe(true);
    expectClose(found, expected, {absolute: 1e-5});
  });
});

describe('a ViT at W 4 / A 8', () => {
  const images = randomTensor([4, 8, 8, 3], 11);
  const network = createNetwork(small, initialWeights(small, 3));

  test('learns a range for both inputs of its products', async () => {
    const quantization = await w4a8(network, images);
    const names = quantization.parameters.map(({name}) => name);
    expect(names).toEqual(
      expect.arrayContaining(products.flatMap((name) => [`${name}.input_range`, `${name}:1.input_range`])),
    );
    const float = network.forward(images, {training: true});
    const loss = tf.variableGrads(
      () => tf.sum<tf.Scalar>(tf.square(network.forward(images, {training: true, ...quantization.forward}))),
      quantization.parameters.map(({variable}) => variable),
    );
    const range = quantization.parameters.find(({name}) => name === `${scores}:1.input_range`)!.variable;
    expect(loss.grads[range.name]!.dataSync()[0]).not.toBe(0);
    expect(float.dataSync()).not.toEqual(network.forward(images, {training: true, ...quantization.forward}).dataSync());
    const {layers} = quantizationRecord(network, quantization);
    expect(layers[mixed]).toMatchObject({
      tensor: null,
      weights: null,
      input: {bits: 8, signed: false, qmin: 0, qmax: 255},
      second: {bits: 8, signed: true, qmin: -128, qmax: 127},
    });
    const values = await quantizationValues(network, quantization);
    expect([...values.keys()]).toEqual(expect.arrayContaining([`${mixed}.input_step`, `${mixed}:1.input_step`]));
  });

  const quantizing = exporters.filter(({roundsInputs = true}) => roundsInputs).map(({name}) => name);
  test.each(quantizing)('%s in ONNX Runtime gives the same logits', async (format) => {
    const quantization = await w4a8(network, images);
    const print = await exporters.find(({name}) => name === format)!.load();
    const model = print(await integerNetwork(network, quantization));
    for (const product of products) {
      const {inputs} = model.graph.nodes.find(({name}) => name === product)!;
      const before = inputs.map((input) => model.graph.nodes.find(({outputs}) => outputs.includes(input))!.op);
      expect(before).toEqual(Array(2).fill(format === 'qonnx' ? 'Quant' : 'DequantizeLinear'));
    }
    await expectSameInRuntime(network, model, quantization.forward);
  });

  // Its optimizer refuses signed integers of 8 bits in opset 21, which has the weights of 4.
  test.each([
    ['onnx-qdq', 8, 20],
    ['onnx-qdq', 4, 21],
    ['onnx-qdq', 2, 21],
    ['onnx-qdq-int2', 8, 20],
    ['onnx-qdq-int2', 2, 25],
    ['qonnx', 4, 20],
  ])('%s at W %i in ONNX Runtime with all of its optimizations, its default: opset %i', async (format, bits, opset) => {
    const quantization = await w4a8(network, images, bits);
    const print = await exporters.find(({name}) => name === format)!.load();
    const model = print(await integerNetwork(network, quantization));
    expect(model.opsets['']).toBe(opset);
    await expectSameInRuntime(network, model, {...quantization.forward, level: 'all', share: 0.02});
  });

  test('aimet in ONNX Runtime gives the logits with rounded weights and inputs in float', async () => {
    const quantization = await w4a8(network, images);
    const print = await exporters.find(({name}) => name === 'aimet')!.load();
    const {weight} = quantization.forward;
    await expectSameInRuntime(network, print(await integerNetwork(network, quantization)), {weight});
  });
});

describe('costs and rules', () => {
  const geometries = layerGeometries(small);
  const product = geometries.find(({name}) => name === scores)!;

  test('count the second input as an activation of every sample, by hand', () => {
    expect(product).toMatchObject({product: true, groups: 3, inputChannels: 12, outputChannels: 15, inputSize: [5, 1]});
    const costs = prepareCosts(readProfile('generic-bops'), genericBops, 2);
    expect(costs.layer(product, {weightBits: 4, activationBits: 8})).toMatchObject({
      bops: 2 * 300 * 32,
      weightMemoryKiB: 0,
      // [3, 5, 4] in and [3, 5, 5] out at 8 bits, [3, 4, 5] at 4.
      activationMemoryKiB: (2 * (60 + 75) * 8 + 2 * 60 * 4) / 8192,
    });
    const gpu = prepareCosts(readProfile('tensorrt-int8'), gpuRoofline, 2);
    const profile = readProfile('tensorrt-int8');
    const {value} = profile.costModel.constants['memoryGBps']!;
    const {details} = gpu.layer(product, {weightBits: 8, activationBits: 8});
    expect(details!['memoryUs']).toBeCloseTo((2 * (60 + 75 + 60)) / value / 1e3, 12);
  });

  test('devices run them at the bits of activations; FINN does not', () => {
    const layer = {name: scores, op: 'MatMul', product: true};
    const pairs = (name: string): string[] =>
      allowedPairs(readProfile(name), [layer])[0]!.map(
        ({activationBits, weightBits}) => `${activationBits}×${weightBits}`,
      );
    expect(pairs('tensorrt-int8')).toEqual(['8×8', '32×32']);
    expect(pairs('tensorrt-int4-weight-only')).toEqual(['32×32']);
    expect(pairs('finn-zcu102')).toEqual([]);
    const [violation] = hardwareViolations(
      readProfile('finn-zcu102'),
      {
        layers: [{...layer, product: true, weightBits: 8, activationBits: 8, params: 0, macs: 1}],
        quantizers: {weights: 'symmetric', activations: 'pact'},
      },
      [],
    ).filter(({rule}) => rule === 'operator');
    expect(violation).toMatchObject({layer: scores, found: 'MatMul of two activations'});
  });
});

test('are searched when asked, both inputs together, and have 8 bits otherwise', () => {
  const names = ['fc', 'scores', 'head'];
  const space = (bits: readonly number[]) =>
    searchSpace(names, {
      candidates: [2, 4],
      activationBits: 8,
      pinned: new Map(),
      products: {names: new Set(['scores']), bits},
    }).decisions.find(({layers}) => layers.includes(1))!.candidates;
  expect(space(productBits({activationBits: 4}))).toEqual([{weightBits: 8, activationBits: 8}]);
  expect(space(productBits({activationBits: 4, attentionBits: [4, 8]}))).toEqual([
    {weightBits: 4, activationBits: 4},
    {weightBits: 8, activationBits: 8},
  ]);
  expect(productBits({activationBits: 32})).toEqual([32]);
  expect(productBits({activationBits: [4, 8], attentionBits: 32})).toEqual([32]);
});

describe('strategies', () => {
  const {layers} = layerTable(small);
  const model = {name: 'vit', digest: graphDigest(small)};
  const strategy = buildStrategy({
    model,
    quantizers: {weights: 'symmetric', activations: 'pact'},
    layers,
    weightBits: layers.map((layer) => (hasWeights(layer) ? 4 : 8)),
    activationBits: layers.map(() => 8),
    pinned: new Map(),
    provenance: {method: 'uniform', sdqVersion: '0'},
  });
  const withoutProducts = (version: number): Omit<Strategy, 'summary'> => {
    const {summary: _, ...rest} = strategy;
    return {...rest, version: version as 1, layers: rest.layers.filter(({product}) => product !== true)};
  };

  test('have version 2 with products, whose bits do not count as weights', () => {
    expect(strategy.version).toBe(2);
    expect(strategy.summary).toMatchObject({meanWeightBits: 4, meanActivationBits: 8});
    const read = checkedStrategy(JSON.parse(JSON.stringify(strategy)), 'strategy.json');
    expect(read).toEqual(strategy);
    expect(() => matchStrategy(read, model, layers, 'strategy.json')).not.toThrow();
  });

  test('of version 1 are read, and leave products in full precision', () => {
    const old = checkedStrategy(withoutProducts(1), 'old.json');
    expect(old.version).toBe(1);
    expect(() => matchStrategy(old, model, layers, 'old.json')).not.toThrow();
  });

  test.each([
    ['of version 2 without a product', {}, `vit also has "${scores}", "${mixed}"`],
    ['of version 1 with one', {version: 1 as const, layers: strategy.layers}, '/product needs /version 2'],
  ])('%s are refused', (_, change, message) => {
    const check = (): void =>
      matchStrategy(checkedStrategy({...withoutProducts(2), ...change}, 'wrong.json'), model, layers, 'wrong.json');
    expect(check).toThrow(message);
  });
});
