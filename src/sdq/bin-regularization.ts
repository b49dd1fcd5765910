/**
 * The entropy-aware bin regularizer over a network (SDQ, equation 10): every weight is drawn to its level and the weights
 * of a level to each other, so that few change sides late in training.
 */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../lookup.ts';
import {withGradient} from '../tensor/custom-gradient.ts';
import {binRegularizer} from '../tensor/bin-regularizer.ts';
import {fullPrecision} from './strategy.ts';
import {asMatrix, statisticScale, type WeightQuantizer} from './weight-quantizer.ts';

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
 * L_EBR: the sum over layers of mean((ŵ − w)²) + Σ over bins with two or more weights of (n_b / n) · Var(w in the bin),
 * divided by the layer's mean square, which is held [ours: layers of any size of weights count alike, and the curvature is
 * bounded at every bitwidth]. Differentiable in `w`; steps and levels are held. Layers in full precision do not count.
 * @returns scalar
 */
export function binRegularization(layers: readonly RegularizedLayer[], quantizer: WeightQuantizer): tf.Tensor {
  const losses = layers
    .filter(({bits}) => bits !== fullPrecision)
    .map(({w, channels, bits, scale}) => {
      const t = quantizer.transform(asMatrix(w, channels));
      const loss = binRegularizer(t, scale ?? statisticScale(t, quantizer, bits), quantizer.grid(bits));
      return tf.div(loss, heldMeanSquare(t));
    });
  return losses.length === 0 ? tf.scalar(0) : tf.addN(losses);
}

/** mean(t²) as a constant; the smallest normal number for weights that are all zero. */
function heldMeanSquare(t: tf.Tensor): tf.Tensor {
  return withGradient(
    [t],
    (save) => {
      save([t]);
      return tf.maximum(tf.mean(tf.square(t)), 1.2e-38);
    },
    (_, saved) => [tf.zerosLike(item(saved, 0))],
  );
}
