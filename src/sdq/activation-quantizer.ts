/**
 * Activations on a uniform grid with one learned parameter a tensor: PACT's clipping value (Choi et al., 2018) or LSQ's
 * step (Esser et al., 2020). A layer's input tensor is quantized, at the bitwidth the strategy gives that layer.
 */
import * as tf from '@tensorflow/tfjs-core';

import type {ActivationSite} from '../graph/layer-table.ts';
import type {InputQuantizer as ForwardQuantizer} from '../graph/network.ts';
import {uniform} from '../random.ts';
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
 * Calibration's error is Σ|x − Q(x)|^p. Above 2 it clips large values less [ours]: of the public ResNet20 at W 8, untrained, on images of
 * the training split, top-1 at powers 2, 2.4 and 3 is 96.4, 97.5 and 96.6 % with A 3; with A 2 81.9 and 84.5 % at 2 and 2.4.
 */
const errorPower = 2.4;

/**
 * The step with the least error on a sample [ours]: the best of 64 evenly spaced parts of the step that just covers the largest
 * magnitude, then the best of 31 steps around it, as few parts are left where one value is far out. 1 / qmax-th of 1 for a sample of
 * zeros.
 */
export function leastErrorStep(sample: Float32Array, {qmin, qmax, offset}: Grid): number {
  const top = qmax + offset;
  const bottom = qmin + offset;
  let largest = 0;
  for (const x of sample) largest = Math.max(largest, Math.abs(x));
  const reach = Math.max(top, -bottom);
  if (largest === 0) return 1 / reach;
  const part = largest / reach / 64;
  let best = largest / reach;
  let least = Infinity;
  const attempt = (step: number): void => {
    let error = 0;
    for (const x of sample) {
      const q = Math.min(top, Math.max(bottom, Math.round(x / step - offset) + offset));
      error += Math.abs(x - q * step) ** errorPower;
      if (!(error <= least)) return; // NaN too
    }
    least = error;
    best = step;
  };
  // From the largest: steps far too small clip most values, and their sums end early.
  for (let k = 64; k > 0; k--) attempt(k * part);
  const coarse = best;
  for (let k = -15; k <= 15; k++) attempt(coarse + (k / 16) * part);
  return best;
}

/** The quantizer of one input of a layer with its learned parameter, a positive scalar. */
export interface InputQuantizer {
  readonly quantizer: ActivationQuantizer;
  readonly bits: number;
  readonly inputSigned: boolean;
  readonly features: number;
  readonly parameter: tf.Variable;
}

/**
 * Quantizers for the activations with fewer than 32 bits, by id of the site. An input that can be negative
 * takes `signedQuantizer` where the chosen one serves only inputs that cannot. Parameters start at 1: calibrate, or load.
 */
export function createInputQuantizers(
  sites: readonly ActivationSite[],
  bitsOf: (site: ActivationSite) => number,
  chosen: ActivationQuantizer,
  signedQuantizer: ActivationQuantizer,
): Map<string, InputQuantizer> {
  const quantizers = new Map<string, InputQuantizer>();
  for (const site of sites) {
    const bits = bitsOf(site);
    if (bits === fullPrecision) continue;
    quantizers.set(site.id, {
      quantizer: site.signed && !chosen.signed ? signedQuantizer : chosen,
      bits,
      inputSigned: site.signed,
      features: site.shape.reduce((product, size) => product * size, 1),
      parameter: tf.tidy(() => tf.variable(tf.scalar(1), true)),
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

/** Values that calibration looks at in each image's tensor, where it has so many. */
const valuesPerImage = 128;

/**
 * Where calibration looks in a layer's input: in each image one random place in each of `valuesPerImage` equal stretches, so that no
 * stride meets the same channel or column again. A pure function of the image's index.
 * @param images number of images
 * @param features values of the tensor an image
 * @param first index of the first image
 * @returns ascending indices into the flat tensor [images · features]
 */
export function samplePositions(images: number, features: number, first: number): Int32Array {
  const count = Math.min(features, valuesPerImage);
  const positions = new Int32Array(images * count);
  for (let image = 0; image < images; image++) {
    const draw = uniform(0, 'calibration', first + image);
    for (let i = 0; i < count; i++) {
      const from = Math.floor((i * features) / count);
      const to = Math.floor(((i + 1) * features) / count);
      positions[image * count + i] = image * features + from + Math.floor(draw() * (to - from));
    }
  }
  return positions;
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
