/**
 * The forward pass of phase 1 for one layer: weights between two adjacent bitwidths, and the gradient of the loss with
 * respect to the share of the higher one, ∂L/∂share = ⟨∂L/∂w^q, Q_high(w) − Q_low(w)⟩ (SDQ, equations 4 and 5).
 */
import * as tf from '@tensorflow/tfjs-core';

import {withGradient} from '../tensor/custom-gradient.ts';
import type {Choice} from './search.ts';
import {asMatrix, quantizeWeights, roundToGrid, straightThrough, type WeightQuantizer} from './weight-quantizer.ts';

/**
 * share · Q_high(w) + (1 − share) · Q_low(w); for a share of 1 or 0 exactly that one of the two. Steps come from the
 * statistics of `w`. Differentiable in `w` (straight-through) and in `indicator`, which receives ∂L/∂share.
 * @param w a layer's weights in run layout
 * @param indicator scalar that carries the gradient; its value is not used
 * @param channels output channels of the layer
 * @returns like w
 */
export function searchWeights(
  w: tf.Tensor,
  quantizer: WeightQuantizer,
  {high, low, share}: Omit<Choice, 'slope'>,
  indicator: tf.Tensor,
  channels: number,
): tf.Tensor {
  if (low === null) return quantizeWeights(w, quantizer, high, channels);
  const t = quantizer.transform(asMatrix(w, channels));
  const highGrid = quantizer.grid(high);
  const lowGrid = quantizer.grid(low);
  const y = withGradient(
    [t, indicator],
    (save) => {
      // The statistics stay off the gradient tape in here.
      const [highScale, lowScale] = quantizer.statisticScales(t, [high, low]) as [tf.Tensor, tf.Tensor];
      const upper = (): tf.Tensor => roundToGrid(t, highScale, highGrid);
      const lower = (): tf.Tensor => roundToGrid(t, lowScale, lowGrid);
      let y: tf.Tensor;
      if (share === 1) y = upper();
      else if (share === 0) y = lower();
      else y = tf.add(tf.mul(upper(), share), tf.mul(lower(), 1 - share));
      save([t, y, highScale, lowScale]);
      return y;
    },
    (dy, saved) => {
      const [t, y, highScale, lowScale] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      const upper = share === 1 ? y : roundToGrid(t, highScale, highGrid);
      const lower = share === 0 ? y : roundToGrid(t, lowScale, lowGrid);
      const toHigh = (): tf.Tensor => straightThrough(t, highScale, dy, highGrid, quantizer.gradient);
      const toLow = (): tf.Tensor => straightThrough(t, lowScale, dy, lowGrid, quantizer.gradient);
      let dt: tf.Tensor;
      if (share === 1) dt = toHigh();
      else if (share === 0) dt = toLow();
      else dt = tf.add(tf.mul(toHigh(), share), tf.mul(toLow(), 1 - share));
      return [dt, tf.sum(tf.mul(dy, tf.sub(upper, lower)))];
    },
  );
  return tf.reshape(y, w.shape);
}

/** Reads scalars in one go: a backend with a device of its own is waited for once a step, not once a layer. */
export function readScalars(scalars: readonly tf.Tensor[]): number[] {
  if (scalars.length === 0) return [];
  return tf.tidy(() => Array.from(tf.stack(scalars.map((scalar) => tf.reshape(scalar, []))).dataSync()));
}
