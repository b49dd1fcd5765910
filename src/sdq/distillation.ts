/** Knowledge distillation (SDQ, section 3.3). The paper's authors use no temperature; with one it is Hinton et al.'s (2015). */
import * as tf from '@tensorflow/tfjs-core';

import {softCrossEntropy} from '../tensor/cross-entropy.ts';

export interface DistillationOptions {
  /** T: logits of both networks are divided by it, the loss is multiplied by T², so that its gradients keep their size. */
  readonly temperature: number;
  /** μ */
  readonly hardLabelWeight: number;
}

/**
 * L_KD + μ L_CE with L_KD = −(T²/N) Σ_i Σ_c softmax(t_i/T)_c · log softmax(s_i/T)_c and the cross-entropy with the labels.
 * @param logits the student's s, [N, C]
 * @param teacherLogits t, [N, C]; no gradient passes to them
 * @param labels one-hot [N, C]
 * @returns scalar
 */
export function distillationLoss(
  logits: tf.Tensor,
  teacherLogits: tf.Tensor,
  labels: tf.Tensor,
  {temperature, hardLabelWeight}: DistillationOptions,
): tf.Tensor {
  const soft = tf.softmax(tf.div<tf.Tensor2D>(teacherLogits, temperature));
  const distilled = tf.mul(softCrossEntropy(tf.div(logits, temperature), soft), temperature ** 2);
  if (hardLabelWeight === 0) return distilled;
  return tf.add(distilled, tf.mul(softCrossEntropy(logits, labels), hardLabelWeight));
}
