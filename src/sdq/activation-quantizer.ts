/**
 * Activations on a uniform grid with one learned parameter a tensor: PACT's clipping value (Choi et al., 2018) or LSQ's
 * step (Esser et al., 2020). A layer's input tensor is quantized, at the bitwidth the strategy gives that layer.
 */
import * as tf from '@tensorflow/tfjs-core';

import type {QuantizedLayer} from '../graph/layer-table.ts';
import type {InputQuantizer as ForwardQuantizer} from '../graph/network.ts';
import type {GradientRule, Grid} from '../tensor/kernels.ts';
import {fullPrecision} from './strategy.ts';
import {minimumStep} from './weight-quantizer.ts';

export interface ActivationQuantizer {
  /** Whether it serves inputs that can be negative. */
  readonly signed: boolean;
  /** At most 2^bits levels, for 1 to 8 bits. `inputSigned`: the tensor can be negative. */
  grid(bits: number, inputSigned: boolean): Grid;
  /** @param features values of the tensor a sample, for LSQ's 1 / √(n · qmax) */
  rule(bits: number, inputSigned: boolean, features: number): GradientRule;
  /** The step from the learned parameter (PACT: α / (2^b − 1)); differentiable, scalar. */
  scale(parameter: tf.Tensor, bits: number): tf.Tensor;
  /** The learned parameter's first value from a full-precision sample of the tensor; above 0. */
  initialParameter(sample: Float32Array, bits: number, inputSigned: boolean): number;
}

/**
 * The step with the least mean squared error on a sample: the best of 128 evenly spaced parts of the step that just covers
 * the largest magnitude [ours]. 1 / qmax-th of 1 for a sample of zeros.
 */
export function meanSquareOptimalStep(sample: Float32Array, {qmin, qmax, offset}: Grid): number {
  const top = qmax + offset;
  const bottom = qmin + offset;
  let largest = 0;
  for (const x of sample) largest = Math.max(largest, Math.abs(x));
  const reach = Math.max(top, -bottom);
  if (largest === 0) return 1 / reach;
  const parts = 128;
  let best = largest / reach;
  let least = Infinity;
  for (let k = 1; k <= parts; k++) {
    const step = (largest / reach) * (k / parts);
    let error = 0;
    for (const x of sample) {
      const q = Math.min(top, Math.max(bottom, Math.round(x / step - offset) + offset));
      error += (x - q * step) ** 2;
    }
    if (error < least) {
      least = error;
      best = step;
    }
  }
  return best;
}

/** The quantizer of one layer's input with its learned parameter, a positive scalar. */
export interface InputQuantizer {
  readonly quantizer: ActivationQuantizer;
  readonly bits: number;
  readonly inputSigned: boolean;
  readonly features: number;
  readonly parameter: tf.Variable;
}

/**
 * Quantizers for the inputs of the layers with fewer than 32 activation bits, by layer name. An input that can be negative
 * takes `signedQuantizer` where the chosen one serves only inputs that cannot. Parameters start at 1: calibrate, or load.
 * @param activationBits bitwidth of a layer's input
 */
export function createInputQuantizers(
  layers: readonly QuantizedLayer[],
  activationBits: (layer: QuantizedLayer) => number,
  chosen: ActivationQuantizer,
  signedQuantizer: ActivationQuantizer,
): Map<string, InputQuantizer> {
  const quantizers = new Map<string, InputQuantizer>();
  for (const layer of layers) {
    const bits = activationBits(layer);
    if (bits === fullPrecision) continue;
    quantizers.set(layer.name, {
      quantizer: layer.inputSigned && !chosen.signed ? signedQuantizer : chosen,
      bits,
      inputSigned: layer.inputSigned,
      features: layer.inputShape.reduce((product, size) => product * size, 1),
      parameter: tf.variable(tf.scalar(1), true),
    });
  }
  return quantizers;
}

/** What the network's forward pass needs to quantize a layer's input; differentiable in the learned parameter. */
export function inputGrid({quantizer, bits, inputSigned, features, parameter}: InputQuantizer): ForwardQuantizer {
  return {
    grid: quantizer.grid(bits, inputSigned),
    scale: quantizer.scale(parameter, bits),
    rule: quantizer.rule(bits, inputSigned, features),
  };
}

/** At most `limit` evenly spaced values of a tensor: what calibration looks at. */
export function sampleValues(x: tf.Tensor, limit = 16384): Float32Array {
  const values = x.dataSync();
  const stride = Math.max(1, Math.ceil(values.length / limit));
  return Float32Array.from({length: Math.ceil(values.length / stride)}, (_, i) => values[i * stride]!);
}

/** Sets the learned parameter from a sample of the layer's full-precision input. */
export function calibrate({quantizer, bits, inputSigned, parameter}: InputQuantizer, sample: Float32Array): void {
  tf.tidy(() => parameter.assign(tf.scalar(quantizer.initialParameter(sample, bits, inputSigned))));
}

/** After an optimizer step: a learned step or range that fell to zero or below is put back to the smallest one. */
export function keepPositive(variables: Iterable<tf.Variable>): void {
  tf.tidy(() => {
    for (const variable of variables) variable.assign(tf.maximum(variable, minimumStep));
  });
}
