/** Quantized networks of real models, without training: what other runtimes are compared with. */
import {writeFileSync} from 'node:fs';

import {expect} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {graphDigest} from '../../src/graph/digest.ts';
import type {Array32} from '../../src/graph/graph.ts';
import {initialWeights} from '../../src/graph/initialize.ts';
import {hasWeights} from '../../src/graph/layer-table.ts';
import {createNetwork, type Network} from '../../src/graph/network.ts';
import {serializeSafetensors} from '../../src/graph/safetensors.ts';
import {loadQuantizers} from '../../src/phases/load-quantizers.ts';
import {quantize, type Quantization} from '../../src/training/quantized-network.ts';
import {models} from '../../src/plugins/models/index.ts';
import {Registry} from '../../src/plugin-api/registry.ts';
import {activationQuantizers, weightQuantizers} from '../../src/plugins/quantizers/index.ts';
import {normal, uniform} from '../../src/random.ts';
import {softCrossEntropy} from '../../src/tensor/cross-entropy.ts';
import {buildStrategy, type Strategy} from '../../src/sdq/strategy.ts';

const registry = new Registry(['weight-quantizer', 'activation-quantizer']);
for (const quantizer of [...weightQuantizers, ...activationQuantizers]) registry.add(quantizer);

interface Precision {
  readonly weightBits: number;
  readonly activationBits: number;
}

/** A network's layers at these bits, with ranges that clip, and steps that are not those of the statistics. */
export async function quantizedAt(
  network: Network,
  {activations = 'pact', learnSteps = false, weights = 'symmetric'},
  precision: Precision | ((layer: string) => Precision),
): Promise<Quantization> {
  const quantization = quantize(
    network,
    await loadQuantizers(registry, {weights, activations}),
    ({name}) => (typeof precision === 'function' ? precision(name) : precision),
    {learnSteps},
  );
  quantization.parameters.forEach(({variable}, i) => {
    variable.assign(tf.mul(variable, 0.61 + 0.13 * (i % 3)));
  });
  return quantization;
}

/** A network and how it is quantized. */
export interface QuantizedCase {
  readonly model: string;
  readonly weights: string;
  readonly activations: string;
  /** Of the layers in turn; the first and the last have 8. */
  readonly weightBits: readonly number[];
  readonly activationBits: number;
  /** Trained first, to tell the colours of the pictures, until it is sure; left out: weights as drawn. */
  readonly trainedSteps?: number;
}

const optionsOf: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'mobilenet-v2': {stem: 'cifar'},
  vit: {patch: 4, width: 24, depth: 2, heads: 3, mlpRatio: 2},
};

const side = 16;
const colours = 3;

/** Images of noise under a gradient, [N, side, side, 3]; where they are to be learned, more of them, in one of three colours. */
function pictures(made: QuantizedCase): tf.Tensor4D {
  const isLearned = made.trainedSteps !== undefined;
  const images = isLearned ? 256 : 32;
  const draw = uniform(3, 'bench', 1);
  const image = side * side * 3;
  const colour = (i: number): number => (isLearned && i % 3 === Math.floor(i / image) % colours ? 1 : 0);
  const data = Float32Array.from(
    {length: images * image},
    (_, i) => normal(draw) + ((i / side) % side) / side + colour(i),
  );
  return tf.tensor4d(data, [images, side, side, 3]);
}

/** Plain steps of gradient descent on 32 pictures each. @returns the share of all pictures that it has right then */
function learn(network: Network, x: tf.Tensor4D, steps: number): number {
  const labels = Array.from({length: x.shape[0]}, (_, i) => i % colours);
  const targets = tf.oneHot(labels, 10);
  const batch = 32;
  for (let step = 0; step < steps; step++) {
    tf.tidy(() => {
      const start = (step * batch) % x.shape[0];
      const part = tf.slice(x, start, batch);
      const wanted = tf.cast(tf.slice(targets, start, batch), 'float32');
      const {grads} = tf.variableGrads(
        () => softCrossEntropy(network.forward(part, {training: true}), wanted) as tf.Scalar,
        [...network.parameters.values()],
      );
      for (const [name, gradient] of Object.entries(grads)) {
        const variable = [...network.parameters.values()].find((each) => each.name === name);
        variable?.assign(tf.sub(variable, tf.mul(gradient, 0.05)));
      }
    });
  }
  return tf.tidy(() => {
    const classes = tf.argMax(network.forward(x, {training: true}), -1).dataSync();
    return labels.filter((label, i) => label === classes[i]).length / labels.length;
  });
}

/** A network that one training batch has given its statistics, quantized without training. */
export async function quantizedNetwork(made: QuantizedCase): Promise<{
  readonly network: Network;
  readonly quantization: Quantization;
}> {
  const {activationBits, activations, model, trainedSteps, weightBits, weights} = made;
  const definition = models.find(({name}) => name === model);
  const options = optionsOf[model] ?? {};
  const graph = definition?.build({classes: 10, inputShape: [3, side, side]}, options);
  if (graph === undefined) throw new Error(`no model ${model}`);
  const network = createNetwork(graph, initialWeights(graph, 1));
  const x = pictures(made);
  if (trainedSteps !== undefined) expect(learn(network, x, trainedSteps)).toBeGreaterThanOrEqual(0.95);
  const logits = network.forward(x, {
    training: true,
    onBatchStatistics(node, mean, variance) {
      const norm = network.norms.get(node);
      norm?.mean.assign(mean);
      norm?.variance.assign(variance);
    },
  });
  logits.dispose();
  const last = network.layers.length - 1;
  const places = new Map(network.layers.map(({name}, l) => [name, l]));
  const bits = (l: number): {weightBits: number; activationBits: number} =>
    l === 0 || l === last
      ? {weightBits: 8, activationBits: Math.max(8, activationBits)}
      : {weightBits: weightBits[l % weightBits.length] ?? 8, activationBits};
  // Products of two activations stay in full precision.
  const precision = new Map(network.layers.filter(hasWeights).map(({name}) => [name, bits(places.get(name) ?? 0)]));
  const quantization = quantize(
    network,
    await loadQuantizers(registry, {weights, activations}),
    ({name}) => precision.get(name) ?? {weightBits: 32, activationBits: 32},
    {learnSteps: true},
  );
  // Calibration itself looks at each value 128 times, which takes minutes in Jest's sandbox; the command below calibrates.
  const seen = network.forward(x, {
    training: false,
    onActivation({id: name}, value) {
      const input = quantization.inputs.get(name);
      if (input === undefined) return;
      const {qmax} = input.quantizer.grid(input.bits, input.inputSigned);
      const isRange = input.quantizer.rule(input.bits, input.inputSigned, 1).scale === 'clip';
      tf.tidy(() => input.parameter.assign(tf.mul(tf.max(tf.abs(value)), 0.6 / (isRange ? 1 : qmax))));
    },
  });
  tf.dispose([seen, x]);
  return {network, quantization};
}

/** The bits that the network has. */
export function strategyOf(
  made: QuantizedCase,
  network: Network,
  {precision}: Pick<Quantization, 'precision'>,
): Strategy {
  return buildStrategy({
    model: {name: made.model, digest: graphDigest(network.graph)},
    quantizers: {weights: made.weights, activations: made.activations},
    layers: network.layers,
    weightBits: network.layers.map((layer) => precision(layer).weightBits),
    activationBits: network.layers.map((layer) => precision(layer).activationBits),
    pinned: new Map(),
    provenance: {method: 'test', sdqVersion: '0.1.0'},
  });
}

/** The images of the cases as [N, channels, height, width], and the network's logits of them, for a program that reads safetensors. */
export function writeImagesAndLogits(
  file: string,
  made: QuantizedCase,
  network: Network,
  quantization: Quantization,
): void {
  const tensors = new Map<string, Array32>();
  tf.tidy(() => {
    const x = pictures(made);
    tensors.set('images', array(tf.transpose(x, [0, 3, 1, 2])));
    tensors.set('logits', array(network.forward(x, {training: false, ...quantization.forward})));
  });
  writeFileSync(file, serializeSafetensors(tensors, {}));
}

const array = (x: tf.Tensor): Array32 => ({shape: x.shape, data: Float32Array.from(x.dataSync())});
