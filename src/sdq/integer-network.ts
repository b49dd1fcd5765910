/** A trained network as integers and steps: what files for other tools hold. */
import type * as tf from '@tensorflow/tfjs-core';

import type {Graph, Shape, Weights} from '../graph/graph.ts';
import {hasWeights, inputSites, outputAxis, type QuantizedLayer, type WeightLayer} from '../graph/layer-table.ts';
import type {Network} from '../graph/network.ts';
import {entry, present} from '../lookup.ts';
import type {Grid} from '../tensor/kernels.ts';
import {inputGrid, type InputQuantizer} from './activation-quantizer.ts';
import {fullPrecision} from './strategy.ts';
import {integerWeights, outputChannels, type WeightQuantizer} from './weight-quantizer.ts';

/** value = scale · (index + offset). */
interface Quantized {
  readonly bits: number;
  readonly grid: Grid;
}

/** Weights of a layer in ONNX layout. */
export interface LayerWeights extends Quantized {
  readonly shape: Shape;
  /** Whole numbers in qmin … qmax. */
  readonly indices: Float32Array;
  /** One for the layer, or one for each index of `axis`. */
  readonly scale: Float32Array;
  /** Of the output channels. */
  readonly axis: number;
}

/** The grid of a layer's input: q = clip(round_half_even(x / scale − offset), qmin, qmax). */
export interface LayerInput extends Quantized {
  readonly scale: number;
}

export interface IntegerLayer {
  /** Null in full precision. */
  readonly weights: LayerWeights | null;
  /** One a site: of the layer's input, or of both inputs of a product. */
  readonly inputs: readonly (LayerInput | null)[];
}

export interface IntegerNetwork {
  readonly graph: Graph;
  /** In ONNX layout, float32; of a layer with bits, those that were rounded. */
  readonly parameters: Weights;
  /** By name of the node. */
  readonly layers: ReadonlyMap<string, IntegerLayer>;
}

/** What is quantized of a network, and how. */
export interface NetworkQuantizers {
  readonly weights: WeightQuantizer;
  /** Learned steps of the weights by layer name; those that are not there come from statistics. */
  readonly steps: ReadonlyMap<string, tf.Tensor>;
  readonly inputs: ReadonlyMap<string, InputQuantizer>;
  readonly precision: (layer: QuantizedLayer) => {readonly weightBits: number};
}

/** @param quantizers undefined for a network in full precision */
export async function integerNetwork(
  network: Network,
  quantizers: NetworkQuantizers | undefined,
): Promise<IntegerNetwork> {
  const layers = network.layers.map(async (layer): Promise<[string, IntegerLayer]> => [
    layer.name,
    {
      weights: quantizers === undefined || !hasWeights(layer) ? null : await weightsOf(network, layer, quantizers),
      inputs: await Promise.all(inputSites(layer).map(({id}) => inputOf(quantizers?.inputs.get(id)))),
    },
  ]);
  return {
    graph: network.graph,
    parameters: await network.weights(),
    layers: new Map(await Promise.all(layers)),
  };
}

async function weightsOf(
  network: Network,
  layer: WeightLayer,
  {precision, steps, weights: quantizer}: NetworkQuantizers,
): Promise<LayerWeights | null> {
  const bits = precision(layer).weightBits;
  if (bits === fullPrecision) return null;
  const w = entry(network.parameters, layer.weight);
  const channels = outputChannels(layer);
  const {grid, indices, scale} = await integerWeights(w, quantizer, bits, channels, steps.get(layer.name));
  const {data, shape} = network.stored(layer.weight, Float32Array.from(indices));
  return {bits, grid, scale, shape, indices: data, axis: outputAxis(network.graph, layer)};
}

async function inputOf(quantizer: InputQuantizer | undefined): Promise<LayerInput | null> {
  if (quantizer === undefined) return null;
  const {grid, scale} = inputGrid(quantizer);
  const [value] = await scale.data();
  return {bits: quantizer.bits, grid, scale: present(value, 'scale')};
}
