/**
 * Weights on a uniform grid, for one layer: what a weight quantizer has to say about itself, and what the method does
 * with it. A quantizer is a transform into the space in which its grid is uniform, a step taken from the weights'
 * statistics, and the grid; the straight-through estimator (Bengio et al., 2013) carries the gradient past the rounding.
 *
 * All functions see a layer's weights as a matrix [fan-in, C] with the output channel last: Conv filters HWIO and
 * Gemm weights [in, out] have it last already; depthwise filters [kh, kw, C, 1] reach it by the same reshape.
 */
import * as tf from '@tensorflow/tfjs-core';

import type {QuantizedLayer} from '../graph/layer-table.ts';
import {item, last} from '../lookup.ts';
import {withGradient} from '../tensor/custom-gradient.ts';
import {composedFakeQuantize, composedFakeQuantizeGrad, fakeQuantize, gridIndex} from '../tensor/fake-quantize.ts';
import {runFused, type GradientRule, type Grid} from '../tensor/kernels.ts';
import {fullPrecision} from './strategy.ts';

/** The smallest step: keeps a channel of zeros, and a learned step that was pushed below zero, from dividing by zero. */
export const minimumStep = 1e-8;

/** What a weight quantizer is: all that a device asks about it, and the gradient's rules. */
export interface WeightQuantizerTraits {
  /** 0 when the grid is whole multiples of the step at every bitwidth above 1; null for a half-integer grid. */
  readonly zeroPoint: 0 | null;
  /** Whether a layer has one step, or one for each output channel. */
  readonly granularity: 'tensor' | 'channel';
  /** At most 2^bits levels, for 1 to 8 bits. */
  grid(bits: number): Grid;
  /** Straight-through gradient of the transformed weights: everywhere, or only inside the grid's range. */
  readonly gradient: GradientRule['input'];
  /** Whether phase 2 learns the step (LSQ), starting from `statisticScales`. */
  readonly learnsScale: boolean;
}

export interface WeightQuantizer extends WeightQuantizerTraits {
  /**
   * Maps weights into the space in which the grid is uniform (`tanh(w) / max|tanh(w)|` for dorefa); returns `w` itself
   * where they are used as they are. Differentiable.
   * @param w [fan-in, C]
   */
  transform(w: tf.Tensor): tf.Tensor;
  /** `transform` as a formula in w, for readers of files; left out where `transform` returns `w`. */
  readonly transformFormula?: string;
  /**
   * The steps of the grids at several bitwidths from one pass over the weights: each [C] per output channel, or [] for
   * the whole layer; at least `minimumStep`. No gradient is meant to pass.
   * @param w transformed weights [fan-in, C]
   */
  statisticScales(w: tf.Tensor, bits: readonly number[]): tf.Tensor[];
}

/** The number of output channels C. */
export function outputChannels(layer: Pick<QuantizedLayer, 'op' | 'outputShape'>): number {
  return layer.op === 'Conv' ? item(layer.outputShape, 0) : last(layer.outputShape);
}

/** Weights as [fan-in, C]; `w` itself when it has that shape. */
export function asMatrix(w: tf.Tensor, channels: number): tf.Tensor {
  return w.rank === 2 && w.shape[1] === channels ? w : tf.reshape(w, [-1, channels]);
}

/** The step at one bitwidth from the statistics of `w`. */
export function statisticScale(w: tf.Tensor, quantizer: WeightQuantizer, bits: number): tf.Tensor {
  return item(quantizer.statisticScales(w, [bits]), 0);
}

/**
 * The gradient rule of a learned step (LSQ, Esser et al., 2020, section 2.2): its gradient is scaled by 1 / √(n · qmax).
 * At 1 bit, where qmax is 0, the grid's largest magnitude |qmin| = 1 stands in [ours].
 * @param count weights that share one step
 */
export function learnedRule(quantizer: WeightQuantizer, bits: number, count: number): GradientRule {
  const {qmax} = quantizer.grid(bits);
  return {input: quantizer.gradient, scale: 'lsq', gradientScale: 1 / Math.sqrt(count * Math.max(1, qmax))};
}

/** Rounds to a grid with the current backend's kernel. Not differentiable: for use inside a custom gradient. */
export function roundToGrid(x: tf.Tensor, scale: tf.Tensor, grid: Grid): tf.Tensor {
  return item(
    runFused('SdqFakeQuantize', {x, scale}, grid, () => [composedFakeQuantize(x, scale, grid)]),
    0,
  );
}

/** The straight-through gradient of `roundToGrid` in `x`. For use inside a custom gradient. */
export function straightThrough(
  x: tf.Tensor,
  scale: tf.Tensor,
  dy: tf.Tensor,
  grid: Grid,
  input: GradientRule['input'],
): tf.Tensor {
  if (input === 'identity') return tf.clone(dy);
  const rule: GradientRule = {input, scale: 'none', gradientScale: 1};
  return item(
    runFused('SdqFakeQuantizeGrad', {x, scale, dy}, {grid, rule}, () =>
      composedFakeQuantizeGrad(x, scale, dy, grid, rule),
    ),
    0,
  );
}

/** Rounds to the grid whose step comes from the statistics of `t`; the statistics stay off the gradient tape. */
function quantizeByStatistics(t: tf.Tensor, quantizer: WeightQuantizer, bits: number): tf.Tensor {
  const grid = quantizer.grid(bits);
  return withGradient(
    [t],
    (save) => {
      const scale = statisticScale(t, quantizer, bits);
      save([t, scale]);
      return roundToGrid(t, scale, grid);
    },
    (dy, saved) => [straightThrough(item(saved, 0), item(saved, 1), dy, grid, quantizer.gradient)],
  );
}

/**
 * Fake-quantized weights, differentiable in `w` (straight-through) and, where a learned `scale` is given, in it.
 * @param w a layer's weights in run layout, [..., C] or depthwise [kh, kw, C, 1]
 * @param bits 1 to 8, or 32: `w` itself
 * @param scale the learned step, [C] or []; without it the step comes from the statistics of `w` and has no gradient
 * @returns like w, at most 2^bits levels a step
 */
export function quantizeWeights(
  w: tf.Tensor,
  quantizer: WeightQuantizer,
  bits: number,
  channels: number,
  scale?: tf.Tensor,
): tf.Tensor {
  if (bits === fullPrecision) return w;
  const t = quantizer.transform(asMatrix(w, channels));
  const y =
    scale === undefined
      ? quantizeByStatistics(t, quantizer, bits)
      : fakeQuantize(t, scale, quantizer.grid(bits), learnedRule(quantizer, bits, t.size / scale.size));
  return tf.reshape(y, w.shape);
}

/** Weights as stored: value = scale · (index + offset). */
export interface IntegerWeights {
  /** Whole numbers in qmin … qmax, in the run layout of the weights. */
  readonly indices: Int32Array;
  /** Steps: one for the layer, or one per output channel. */
  readonly scale: Float32Array;
  readonly grid: Grid;
}

/**
 * The integers behind `quantizeWeights`: what a file stores, and the proof that b bits mean at most 2^b levels.
 * @param bits 1 to 8
 */
export async function integerWeights(
  w: tf.Tensor,
  quantizer: WeightQuantizer,
  bits: number,
  channels: number,
  scale?: tf.Tensor,
): Promise<IntegerWeights> {
  const grid = quantizer.grid(bits);
  const [indices, step] = tf.tidy(() => {
    const t = quantizer.transform(asMatrix(w, channels));
    const step = scale ?? statisticScale(t, quantizer, bits);
    return [gridIndex(t, step, grid), tf.clone(step)] as [tf.Tensor, tf.Tensor];
  });
  try {
    const [whole, steps] = await Promise.all([indices.data(), step.data()]);
    return {indices: Int32Array.from(whole), scale: Float32Array.from(steps), grid};
  } finally {
    tf.dispose([indices, step]);
  }
}

/**
 * e(b) = ‖w − Q_b(w)‖² / ‖w‖² in the quantizer's space, for several bitwidths; 0 for weights that are all zero.
 * @returns [bits.length]
 */
export function quantizationErrors(
  w: tf.Tensor,
  quantizer: WeightQuantizer,
  bits: readonly number[],
  channels: number,
): tf.Tensor1D {
  return tf.tidy(() => {
    const t = quantizer.transform(asMatrix(w, channels));
    const scales = quantizer.statisticScales(t, bits);
    const power = tf.maximum(tf.sum(tf.square(t)), 1e-30);
    const errors = bits.map((b, i) =>
      tf.sum(tf.squaredDifference(t, roundToGrid(t, item(scales, i), quantizer.grid(b)))),
    );
    return tf.div(tf.stack(errors), power);
  });
}
