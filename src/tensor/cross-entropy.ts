import * as tf from '@tensorflow/tfjs-core';

import {item} from '../lookup.ts';
import {withGradient} from './custom-gradient.ts';
import {runFused} from './kernels.ts';

/** `SdqSoftmaxCrossEntropy` out of plain operators: [loss, dlogits]. */
export function composedSoftmaxCrossEntropy(logits: tf.Tensor, targets: tf.Tensor): [tf.Tensor, tf.Tensor] {
  const shifted = tf.sub(logits, tf.max(logits, -1, true));
  const logSum = tf.log(tf.sum(tf.exp(shifted), -1, true));
  const logProbabilities = tf.sub(shifted, logSum);
  const samples = logits.shape[0];
  const loss = tf.div(tf.neg(tf.sum(tf.mul(targets, logProbabilities))), samples);
  return [loss, tf.div(tf.sub(tf.exp(logProbabilities), targets), samples)];
}

/**
 * −(1/N) Σ_i Σ_c targets[i, c] · log softmax(logits)[i, c]. Differentiable in `logits`; with one-hot targets it is the
 * classification loss, with a teacher's probabilities the distillation loss.
 * @param logits [N, C]
 * @param targets [N, C], each row sums to 1
 * @returns scalar
 */
export function softCrossEntropy(logits: tf.Tensor, targets: tf.Tensor): tf.Tensor {
  return withGradient(
    [logits],
    (save) => {
      const results = runFused('SdqSoftmaxCrossEntropy', {logits, targets}, {}, () =>
        composedSoftmaxCrossEntropy(logits, targets),
      );
      save([item(results, 1)]);
      return item(results, 0);
    },
    (dy, saved) => [tf.mul(dy, item(saved, 0))],
  );
}
