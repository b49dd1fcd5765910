/** Knowledge distillation with the teacher's probabilities, without temperature (SDQ, section 3.3). */
import * as tf from '@tensorflow/tfjs-core';

import {softCrossEntropy} from '../tensor/cross-entropy.ts';

/**
 * L_KD + μ L_CE = −(1/N) Σ_i Σ_c p^T_c(x_i) log p^S_c(x_i) + μ · cross-entropy with the labels. As cross-entropy is linear in
 * its target, both are one cross-entropy with the mixed target (p^T + μ y) / (1 + μ), times 1 + μ.
 * @param logits the student's [N, C]
 * @param teacherLogits [N, C]; no gradient passes to them
 * @param labels one-hot [N, C]
 * @param hardLabelWeight μ
 * @returns scalar
 */
export function distillationLoss(
  logits: tf.Tensor,
  teacherLogits: tf.Tensor,
  labels: tf.Tensor,
  hardLabelWeight: number,
): tf.Tensor {
  const soft = tf.softmax(teacherLogits as tf.Tensor2D);
  if (hardLabelWeight === 0) return softCrossEntropy(logits, soft);
  const target = tf.div(tf.add(soft, tf.mul(labels, hardLabelWeight)), 1 + hardLabelWeight);
  return tf.mul(softCrossEntropy(logits, target), 1 + hardLabelWeight);
}
