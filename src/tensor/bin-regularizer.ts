/**
 * The entropy-aware bin regularizer (EBR) of SDQ, equation 10: pulls the weights of every bin to the bin's value.
 * The form is the authors' later code's. Ours: a bin counts by its share of the weights, and so does a channel's step. With
 * the plain sum over bins, in squared steps, a bin of two weights at 8 bits, or a channel of tiny weights, has a curvature
 * that no learning rate survives.
 */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../lookup.ts';
import {withGradient} from './custom-gradient.ts';
import {gridIndex} from './fake-quantize.ts';
import {runFused, type Grid} from './kernels.ts';

/** `SdqBinRegularizer` out of plain operators: [loss, dw]. */
export function composedBinRegularizer(w: tf.Tensor, scale: tf.Tensor, grid: Grid): [tf.Tensor, tf.Tensor] {
  const q = gridIndex(w, scale, grid);
  const bin = tf.cast(tf.reshape<tf.Rank.R1>(tf.sub(q, grid.qmin), [-1]), 'int32');
  const bins = grid.qmax - grid.qmin + 1;
  const inBin = (x: tf.Tensor): tf.Tensor => tf.unsortedSegmentSum(tf.reshape(x, [-1]), bin, bins);
  /** Distance to the level, in steps. */
  const d = tf.sub(tf.div(w, scale), tf.add(q, grid.offset));
  const weight = tf.mul(tf.onesLike(w), tf.square(scale));
  const count = inBin(tf.onesLike(w));
  const total = inBin(weight);
  const mean = tf.div(inBin(tf.mul(weight, d)), tf.where(tf.greater(total, 0), total, tf.onesLike(total)));
  const deviation = tf.sub(d, tf.reshape(tf.gather(mean, bin), w.shape));
  // n_b / n / (n_b − 1) where a bin has at least two weights; the others do not count.
  const many = tf.cast(tf.greaterEqual(count, 2), 'float32');
  const share = tf.mul(many, tf.div(tf.div(count, w.size), tf.maximum(tf.sub(count, 1), 1)));
  const variances = tf.mul(inBin(tf.mul(weight, tf.square(deviation))), share);
  const loss = tf.add(tf.mean(tf.mul(weight, tf.square(d))), tf.sum(variances));
  const pull = tf.mul(deviation, tf.reshape(tf.gather(share, bin), w.shape));
  return [loss, tf.mul(tf.mul(tf.add(pull, tf.div(d, w.size)), 2), scale)];
}

/**
 * mean((ŵ − w)²) + Σ over bins b with n_b ≥ 2 weights of (n_b / n) · Var(w in b), ŵ = s · (q + offset). The variance is
 * unbiased, of w / s about the bin's mean weighted by s², in units of s²: with one step for all it is that of w.
 * Differentiable in `w`, the bins and `scale` held; a bin with one weight or none adds exactly 0 to the second term.
 * @param w [..., C], in the space where the grid is uniform
 * @param scale [] or [C]
 * @returns scalar, in the unit of w²
 */
export function binRegularizer(w: tf.Tensor, scale: tf.Tensor, grid: Grid): tf.Tensor {
  return withGradient(
    [w],
    (save) => {
      const results = runFused('SdqBinRegularizer', {w, scale}, grid, () => composedBinRegularizer(w, scale, grid));
      save([item(results, 1)]);
      return item(results, 0);
    },
    (dy, saved) => [tf.mul(dy, item(saved, 0))],
  );
}
