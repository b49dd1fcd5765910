/**
 * The forward pass of phase 1 for one layer: weights between two bitwidths, and the gradient of the loss with respect to the
 * share of the higher one, ∂L/∂share = ⟨∂L/∂w^q, Q_high(w) − Q_low(w)⟩ (SDQ, equations 4 and 5); the same for its input [ours].
 */
import * as tf from '@tensorflow/tfjs-core';

import type {InputQuantizer} from '../graph/network.ts';
import {item, present} from '../lookup.ts';
import {withGradient} from '../tensor/custom-gradient.ts';
import {composedFakeQuantizeGrad} from '../tensor/fake-quantize.ts';
import {runFused} from '../tensor/kernels.ts';
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
  {high, low, share}: {readonly high: number; readonly low: number | null; readonly share: number},
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

/**
 * A layer's input between two bitwidths: share · Q_high(x) + (1 − share) · Q_low(x). Differentiable in `x`, in `indicator`, which
 * receives ∂L/∂share, and in the scales of those of the two that the share takes.
 * @param x [N, ...]
 * @param indicator scalar that carries the gradient; its value is not used
 * @returns like x
 */
export function searchInput(
  x: tf.Tensor,
  high: InputQuantizer,
  low: InputQuantizer,
  share: number,
  indicator: tf.Tensor,
): tf.Tensor {
  const sides = [high, low];
  const parts = [share, 1 - share].flatMap((part, side) => (part > 0 ? [{...item(sides, side), part, side}] : []));
  return withGradient(
    [x, indicator, ...parts.map(({scale}) => scale)],
    (save) => {
      save([x, high.scale, low.scale]);
      return parts
        .map(({scale, grid, part}) => {
          const y = roundToGrid(x, scale, grid);
          return part === 1 ? y : tf.mul(y, part);
        })
        .reduce((sum, y) => tf.add(sum, y));
    },
    (dy, [values, ...scales]) => {
      const x = present(values, 'input');
      const sideValues = sides.map(({grid}, side) => roundToGrid(x, item(scales, side), grid));
      const gradients = parts.map(({grid, rule, part, side}) => {
        const inputs = {x, scale: item(scales, side), dy: part === 1 ? dy : tf.mul(dy, part)};
        return runFused('SdqFakeQuantizeGrad', inputs, {grid, rule}, () =>
          composedFakeQuantizeGrad(inputs.x, inputs.scale, inputs.dy, grid, rule),
        ) as [tf.Tensor, tf.Tensor];
      });
      return [
        gradients.map(([dx]) => dx).reduce((sum, dx) => tf.add(sum, dx)),
        tf.sum(tf.mul(dy, tf.sub(item(sideValues, 0), item(sideValues, 1)))),
        ...gradients.map(([, dscale]) => dscale),
      ];
    },
  );
}
