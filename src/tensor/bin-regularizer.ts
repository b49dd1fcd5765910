/**
 * The entropy-aware bin regularizer (EBR) of SDQ, equation 10: pulls the weights of every bin to the bin's value.
 * The form is the authors' later code's; the unit (squared steps, so that layers of different precision count alike) ours.
 */
import * as tf from '@tensorflow/tfjs-core';

import {withGradient} from './custom-gradient.ts';
import {gridIndex} from './fake-quantize.ts';
import {runFused, type Grid} from './kernels.ts';

/** `SdqBinRegularizer` out of plain operators: [loss, dw]. */
export function composedBinRegularizer(w: tf.Tensor, scale: tf.Tensor, grid: Grid): [tf.Tensor, tf.Tensor] {
  const u = tf.div(w, scale);
  const q = gridIndex(w, scale, grid);
  const error = tf.sub(tf.add(q, grid.offset), u);
  const bin = tf.cast(tf.reshape<tf.Rank.R1>(tf.sub(q, grid.qmin), [-1]), 'int32');
  const bins = grid.qmax - grid.qmin + 1;
  const flat = tf.reshape(u, [-1]);
  const count = tf.unsortedSegmentSum(tf.onesLike(flat), bin, bins);
  const mean = tf.div(tf.unsortedSegmentSum(flat, bin, bins), tf.maximum(count, 1));
  const deviation = tf.sub(flat, tf.gather(mean, bin));
  // Bins with at least two weights weigh 1 / (n − 1), the unbiased variance; the others do not count.
  const weight = tf.div(tf.cast(tf.greaterEqual(count, 2), 'float32'), tf.maximum(tf.sub(count, 1), 1));
  const variances = tf.mul(tf.unsortedSegmentSum(tf.square(deviation), bin, bins), weight);
  const loss = tf.add(tf.mean(tf.square(error)), tf.sum(variances));
  const pull = tf.reshape(tf.mul(deviation, tf.gather(weight, bin)), w.shape);
  const du = tf.mul(tf.sub(pull, tf.div(error, w.size)), 2);
  return [loss, tf.div(du, scale)];
}

/**
 * mean((q + offset − w / s)²) + Σ over bins with at least two weights of the unbiased variance of w / s in the bin.
 * Differentiable in `w`, the bins and `scale` held; a bin with one weight or none adds exactly 0 to the second term.
 * @param w [..., C], in the space where the grid is uniform
 * @param scale [] or [C]
 * @returns scalar, in squared steps
 */
export function binRegularizer(w: tf.Tensor, scale: tf.Tensor, grid: Grid): tf.Tensor {
  return withGradient(
    [w],
    (save) => {
      const [loss, dw] = runFused('SdqBinRegularizer', {w, scale}, grid, () => composedBinRegularizer(w, scale, grid));
      save([dw!]);
      return loss!;
    },
    (dy, [dw]) => [tf.mul(dy, dw!)],
  );
}
