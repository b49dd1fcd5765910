/** A network at the bitwidths of a strategy: its learned steps and ranges, its forward pass, its file. */
import * as tf from '@tensorflow/tfjs-core';

import {invalidInput} from '../errors.ts';
import type {Array32, Weights} from '../graph/graph.ts';
import type {ForwardOptions, InputQuantizer as ForwardQuantizer, Network} from '../graph/network.ts';
import {hasWeights, inputSites, type ActivationSite, type QuantizedLayer} from '../graph/layer-table.ts';
import {listed} from '../graph/weights.ts';
import {entry} from '../lookup.ts';
import {
  createInputQuantizers,
  inputGrid,
  type ActivationQuantizer,
  type InputQuantizer,
} from '../sdq/activation-quantizer.ts';
import {createLearnedSteps} from '../sdq/learned-steps.ts';
import type {Precision} from '../sdq/search/problem.ts';
import {sameQuantization, type Strategy} from '../sdq/strategy.ts';
import {outputChannels, quantizeWeights, type WeightQuantizer} from '../sdq/weight-quantizer.ts';
import type {TrainedParameter} from './optimizers.ts';

export interface Quantization {
  readonly weights: WeightQuantizer;
  /** Learned steps of the weights by layer name; empty where they come from statistics. */
  readonly steps: ReadonlyMap<string, tf.Variable>;
  readonly inputs: ReadonlyMap<string, InputQuantizer>;
  readonly precision: (layer: QuantizedLayer) => Precision;
  /** How the network runs at these bitwidths. */
  readonly forward: Required<Pick<ForwardOptions, 'weight' | 'activation'>>;
  /** The learned steps and ranges, for the optimizer: no weight decay. */
  readonly parameters: readonly TrainedParameter[];
  dispose(): void;
}

/**
 * Names of the learned values in files: `<layer>.weight_step` (of shared weights: of the first layer), `<site>.input_range`, where
 * a site is a layer, or `<layer>:1` for the second input of a product.
 */
export const stepName = (layer: string): string => `${layer}.weight_step`;
export const rangeName = (site: string): string => `${site}.input_range`;

/** Bits of an activation. In a product, `weightBits` are those of the second input. */
export function siteBits({operand}: ActivationSite, {weightBits, activationBits}: Precision): number {
  return operand === 0 ? activationBits : weightBits;
}

/** The quantizers of a network. */
export interface Quantizers {
  readonly weights: WeightQuantizer;
  readonly activations: ActivationQuantizer;
  /** For inputs that can be negative, where `activations` does not serve them. */
  readonly signedActivations: ActivationQuantizer;
}

export function quantize(
  network: Network,
  {weights, activations, signedActivations}: Quantizers,
  precision: (layer: QuantizedLayer) => Precision,
  options: {readonly learnSteps: boolean},
): Quantization {
  const steps = options.learnSteps
    ? createLearnedSteps(
        network.layers.filter(hasWeights),
        (layer) => entry(network.parameters, layer.weight),
        (layer) => precision(layer).weightBits,
        weights,
      )
    : new Map<string, tf.Variable>();
  const byName = new Map(network.layers.map((layer) => [layer.name, layer]));
  const inputs = createInputQuantizers(
    network.layers.flatMap(inputSites),
    (site) => siteBits(site, precision(entry(byName, site.layer))),
    activations,
    signedActivations,
  );
  const variables = [
    ...[...steps]
      .filter(([layer]) => entry(byName, layer).sharedWith === undefined)
      .map(([layer, variable]) => ({name: stepName(layer), variable})),
    ...[...inputs].map(([site, {parameter}]) => ({name: rangeName(site), variable: parameter})),
  ];
  return {
    weights,
    steps,
    inputs,
    precision,
    forward: {
      weight: (layer, w) =>
        quantizeWeights(w, weights, precision(layer).weightBits, outputChannels(layer), steps.get(layer.name)),
      activation: inputForward(inputs),
    },
    parameters: variables.map(({name, variable}) => ({name, variable, decays: false, rateFactor: 1, isPositive: true})),
    dispose: () => variables.forEach(({variable}) => variable.dispose()),
  };
}

/** Quantizers of the layers' inputs as the network asks for them. */
export function inputForward(
  inputs: ReadonlyMap<string, InputQuantizer>,
): (site: ActivationSite) => ForwardQuantizer | null {
  return ({id}) => {
    const input = inputs.get(id);
    return input === undefined ? null : inputGrid(input);
  };
}

/** The learned values as arrays for a file. */
export async function learnedValues({parameters}: Pick<Quantization, 'parameters'>): Promise<Weights> {
  return new Map(
    await Promise.all(
      parameters.map(async ({name, variable}): Promise<[string, Array32]> => [
        name,
        {shape: variable.shape, data: Float32Array.from(await variable.data())},
      ]),
    ),
  );
}

/**
 * Takes the learned values from a file's tensors.
 * @returns names that the file lacks or holds in another shape
 */
export function loadLearnedValues({parameters}: Pick<Quantization, 'parameters'>, tensors: Weights): string[] {
  const missing: string[] = [];
  for (const {name, variable} of parameters) {
    const values = tensors.get(name);
    if (values === undefined || values.shape.join() !== variable.shape.join()) missing.push(name);
    else tf.tidy(() => variable.assign(tf.tensor(values.data, variable.shape)));
  }
  return missing;
}

/**
 * The learned values of a checkpoint that hold under another strategy: those of layers where both have the same bits and the same
 * quantizer, as a step or a range is learned for these.
 * @param trained the strategy that the checkpoint was trained with; undefined where it does not say, and no value holds
 */
export function usableLearnedValues(tensors: Weights, trained: Strategy | undefined, strategy: Strategy): Weights {
  const {weights, inputs} = sameQuantization(trained, strategy);
  return new Map(
    [...weights]
      .map(stepName)
      .concat([...inputs].map(rangeName))
      .flatMap((name) => {
        const values = tensors.get(name);
        return values === undefined ? [] : [[name, values] as const];
      }),
  );
}

/**
 * Takes back the learned values that this program wrote.
 * @param file named in errors
 * @throws SdqError (exit 3) when one is missing or has another shape
 */
export function restoreLearnedValues(
  quantization: Pick<Quantization, 'parameters'>,
  tensors: Weights,
  file: string,
): void {
  const missing = loadLearnedValues(quantization, tensors);
  if (missing.length === 0) return;
  throw invalidInput(
    'checkpoint-incomplete',
    `${file} lacks ${missing.length} learned values or has them in another shape: ${listed(missing)}.`,
  );
}
