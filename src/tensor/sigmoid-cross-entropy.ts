import * as tf from '@tensorflow/tfjs-core';

import {item} from '../lookup.ts';
import {withGradient} from './custom-gradient.ts';

/**
 * Σ weights · BCE(σ(logits), targets) in nats, with BCE = ln(1 + e^z) − z · t in a form that does not overflow. Differentiable in
 * `logits` alone.
 * @param logits any shape
 * @param constants targets in 0 … 1 and weights, each like `logits` or broadcast to it; computed outside the tape
 * @returns scalar
 */
export function sigmoidCrossEntropy(
  logits: tf.Tensor,
  constants: () => {readonly targets: tf.Tensor; readonly weights: tf.Tensor},
): tf.Tensor {
  return withGradient(
    [logits],
    (save) => {
      const {targets, weights} = constants();
      const softplus = tf.add(tf.relu(logits), tf.log(tf.add(tf.exp(tf.neg(tf.abs(logits))), 1)));
      save([tf.mul(weights, tf.sub(tf.sigmoid(logits), targets))]);
      return tf.sum(tf.mul(weights, tf.sub(softplus, tf.mul(logits, targets))));
    },
    (dy, saved) => [tf.mul(dy, item(saved, 0))],
  );
}
