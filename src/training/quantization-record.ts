/**
 * How a network's weights and inputs are rounded, for readers of a file that do not have the graph: the metadata
 * `sdq.quantization` and the steps themselves. docs/files.md describes it.
 */
import * as tf from '@tensorflow/tfjs-core';

import {invalidInput, type SdqError} from '../errors.ts';
import type {Weights} from '../graph/graph.ts';
import {hasWeights, inputSites, siteId, type WeightLayer} from '../graph/layer-table.ts';
import type {Network} from '../graph/network.ts';
import {inputGrid} from '../sdq/activation-quantizer.ts';
import {fullPrecision} from '../sdq/strategy.ts';
import {asMatrix, learnedRule, outputChannels, statisticScale} from '../sdq/weight-quantizer.ts';
import type {GradientRule, Grid} from '../tensor/kernels.ts';
import {learnedValues, stepName, type Quantization} from './quantized-network.ts';

/** value = step · (clip(round_half_even(x / step − offset), qmin, qmax) + offset), with the gradients of `GradientRule`. */
interface GridRecord extends Grid {
  readonly bits: number;
  readonly gradient: GradientRule;
}

type InputRecord = GridRecord & {readonly signed: boolean};

interface LayerRecord {
  /** Name of the tensor that is rounded; null of a product of two activations. */
  readonly tensor: string | null;
  /** Null in full precision. `of`: what is rounded, as a formula in the tensor w. */
  readonly weights: (GridRecord & {readonly of: string}) | null;
  /** Null in full precision. `signed`: whether the input can be negative. */
  readonly input: InputRecord | null;
  /** Of a product alone: its second input. */
  readonly second?: InputRecord | null;
}

export interface QuantizationRecord {
  readonly version: 1;
  readonly formula: string;
  /** By name of the layer. */
  readonly layers: Readonly<Record<string, LayerRecord>>;
  /** Tensors of the file that the architecture fixes: a PyTorch module has them in its code. Left out where there is none. */
  readonly constants?: readonly string[];
}

const formula = 'step * (clip(round_half_even(x / step - offset), qmin, qmax) + offset)';

export function quantizationRecord(network: Network, quantization: Quantization): QuantizationRecord {
  const {inputs, precision, steps, weights: quantizer} = quantization;
  const ofInput = (site: string): InputRecord | null => {
    const input = inputs.get(site);
    if (input === undefined) return null;
    const {bits, features, inputSigned: signed} = input;
    const gradient = input.quantizer.rule(bits, signed, features);
    return {bits, signed, ...input.quantizer.grid(bits, signed), gradient};
  };
  const layers = network.layers.map((layer): [string, LayerRecord] => {
    const input = ofInput(layer.name);
    if (!hasWeights(layer)) {
      return [layer.name, {tensor: null, weights: null, input, second: ofInput(siteId(layer.name, 1))}];
    }
    const bits = precision(layer).weightBits;
    const step = steps.get(layer.name);
    const gradient: GradientRule =
      step === undefined
        ? {input: quantizer.gradient, scale: 'none', gradientScale: 1}
        : learnedRule(quantizer, bits, layer.params / step.size);
    const weights =
      bits === fullPrecision ? null : {bits, ...quantizer.grid(bits), of: quantizer.transformFormula ?? 'w', gradient};
    return [layer.name, {tensor: layer.weight, weights, input}];
  });
  const constants = network.graph.parameters.filter(({role}) => role === 'constant').map(({name}) => name);
  return {
    version: 1,
    formula,
    layers: Object.fromEntries(layers),
    ...(constants.length === 0 ? {} : {constants}),
  };
}

/**
 * Everything that rounds the network, as arrays for a file: the learned values, the steps of the weights that come from
 * statistics, and the steps of the inputs (`<site>.input_step`) beside the parameters that they come from.
 */
export async function quantizationValues(network: Network, quantization: Quantization): Promise<Weights> {
  const {inputs, precision, steps, weights: quantizer} = quantization;
  const values = new Map(await learnedValues(quantization));
  const add = async (name: string, compute: () => tf.Tensor): Promise<void> => {
    const step = tf.tidy(compute);
    values.set(name, {shape: step.shape, data: Float32Array.from(await step.data())});
    step.dispose();
  };
  const stepOf = (layer: WeightLayer, bits: number): tf.Tensor => {
    const learned = steps.get(layer.name);
    if (learned !== undefined) return tf.clone(learned);
    const w = network.parameters.get(layer.weight);
    if (w === undefined) throw new Error(`"${layer.weight}" is no parameter of ${network.graph.name}.`);
    return statisticScale(quantizer.transform(asMatrix(w, outputChannels(layer))), quantizer, bits);
  };
  for (const layer of network.layers) {
    const {weightBits} = precision(layer);
    const name = stepName(layer.name);
    // Layers of the same weights have one learned step, which is in the file under the name of each.
    if (hasWeights(layer) && weightBits !== fullPrecision && !values.has(name)) {
      await add(name, () => stepOf(layer, weightBits));
    }
    for (const {id} of inputSites(layer)) {
      const input = inputs.get(id);
      if (input !== undefined) await add(`${id}.input_step`, () => tf.clone(inputGrid(input).scale));
    }
  }
  return values;
}

/** What of a grid must be the same where a file is read. */
const compared = ['bits', 'signed', 'qmin', 'qmax', 'offset'] as const;

/**
 * Checks that a file rounds as this network would. Files of before version 1 have no record and are not checked.
 * @param record as found in the file
 * @throws SdqError (exit 3) naming the layer and what differs
 */
export function checkRecord(record: unknown, expected: QuantizationRecord, file: string): void {
  if (record === undefined) return;
  const place = `${file}: __metadata__/sdq.quantization`;
  const refuse = (what: string, suggestions: readonly string[] = []): SdqError =>
    invalidInput('quantization-differs', `${place}${what}`, suggestions);
  const {layers, version} = objectOf(record);
  if (version !== 1) throw refuse(`/version is ${JSON.stringify(version ?? null)}; this sdq reads 1.`);
  for (const [name, layer] of Object.entries(expected.layers)) {
    const stored = objectOf(objectOf(layers)[name]);
    for (const part of ['weights', 'input', 'second'] as const) {
      const mine = (layer[part] ?? null) as Readonly<Record<string, unknown>> | null;
      const theirs = stored[part] ?? null;
      if ((mine === null) !== (theirs === null)) {
        throw refuse(`/layers/${name}/${part} is ${theirs === null ? 'null' : 'set'}; the strategy says otherwise.`);
      }
      if (mine === null) continue;
      for (const key of compared) {
        const value = objectOf(theirs)[key];
        if (value === mine[key]) continue;
        throw refuse(
          `/layers/${name}/${part}/${key} is ${JSON.stringify(value ?? null)}; the network has ${String(mine[key])}.`,
          key === 'signed'
            ? [`apply_strategy(…, signed=[…]) in sdq_torch.py names the inputs that can be negative.`]
            : [],
        );
      }
    }
  }
}

const objectOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
