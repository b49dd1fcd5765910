/** The residual addition with its activation, and the gradient of every clipping activation. */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../lookup.ts';
import {withGradient} from './custom-gradient.ts';
import {runFused, type ActivationRange} from './kernels.ts';

/**
 * The gradient of y = clip(x, min, max): dy where min < y < max, else 0.
 * @param y the clipped output
 * @param dy like y
 */
export function clipGradient(y: tf.Tensor, dy: tf.Tensor, {min, max}: ActivationRange): tf.Tensor {
  const dx = runFused('SdqClipGrad', {y, dy}, {min, max}, () => [
    tf.mul(dy, tf.cast(tf.logicalAnd(tf.greater(y, min), tf.less(y, max)), 'float32')),
  ]);
  return item(dx, 0);
}

/**
 * clip(a + b, min, max). Differentiable in both; keeps only its output for the backward pass.
 * @param a any shape
 * @param b like a
 */
export function addAct(a: tf.Tensor, b: tf.Tensor, range: ActivationRange): tf.Tensor {
  return withGradient(
    [a, b],
    (save) => {
      const y = item(
        runFused('SdqAddAct', {a, b}, range, () => [tf.clipByValue(tf.add(a, b), range.min, range.max)]),
        0,
      );
      save([y]);
      return y;
    },
    (dy, saved) => {
      const dx = clipGradient(item(saved, 0), dy, range);
      return [dx, tf.clone(dx)];
    },
  );
}
