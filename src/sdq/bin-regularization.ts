/**
 * The entropy-aware bin regularizer over a network (SDQ, equation 10): every weight is drawn to its level and the weights
 * of a level to each other, so that few change sides late in training.
 */
import * as tf from '@tensorflow/tfjs-core';

import {binRegularizer} from '../tensor/bin-regularizer.ts';
import {asMatrix, fullPrecision, statisticScale, type WeightQuantizer} from './weight-quantizer.ts';

/** λ_E at a moment of training: linear from 0 to `weight` over `rampEpochs` [ours], then constant. */
export function binWeight(weight: number, epoch: number, rampEpochs: number): number {
  return rampEpochs <= 0 ? weight : weight * Math.min(1, epoch / rampEpochs);
}

export interface RegularizedLayer {
  /** Weights in run layout. */
  readonly w: tf.Tensor;
  readonly channels: number;
  readonly bits: number;
  /** The learned step, [C] or []; without it the step comes from the statistics. */
  readonly scale?: tf.Tensor;
}

/**
 * L_EBR: the sum over layers of mean((ŵ − w)²) + Σ over bins with two or more weights of Var(w in the bin), in units of the
 * layer's squared step. Differentiable in `w`; steps and levels are held. Layers in full precision do not count.
 * @returns scalar
 */
export function binRegularization(layers: readonly RegularizedLayer[], quantizer: WeightQuantizer): tf.Tensor {
  const losses = layers
    .filter(({bits}) => bits !== fullPrecision)
    .map(({w, channels, bits, scale}) => {
      const t = quantizer.transform(asMatrix(w, channels));
      return binRegularizer(t, scale ?? statisticScale(t, quantizer, bits), quantizer.grid(bits));
    });
  return losses.length === 0 ? tf.scalar(0) : tf.addN(losses);
}
