import * as tf from '@tensorflow/tfjs-core';

import {item} from '../../lookup.ts';
import {distillationLoss} from '../../sdq/distillation.ts';
import {softCrossEntropy} from '../../tensor/cross-entropy.ts';
import type {Meter, Task} from '../../training/task.ts';

/** The network's one output is logits [N, classes]. */
export const classificationTask: Task = {
  loss(outputs, {labels}) {
    const logits = item(outputs, 0);
    return softCrossEntropy(logits, oneHot(labels, logits));
  },
  distillationLoss(outputs, teacher, {labels}, options) {
    const logits = item(outputs, 0);
    return distillationLoss(logits, item(teacher, 0), oneHot(labels, logits), options);
  },
  reported: (outputs, {labels}) => ({
    accuracy: tf.mean(tf.cast(tf.equal(tf.argMax(item(outputs, 0), -1), labels), 'float32')),
  }),
  meter: classificationMeter,
  classifies: true,
  agreement: {of: 'first class', isSame: (a, b) => firstClass(item(a, 0)) === firstClass(item(b, 0))},
};

const firstClass = (logits: Float32Array): number => logits.indexOf(Math.max(...logits));

/** [N, classes], float32 */
function oneHot(labels: tf.Tensor1D, logits: tf.Tensor): tf.Tensor2D {
  return tf.cast(tf.oneHot(labels, item(logits.shape, 1)), 'float32') as tf.Tensor2D;
}

/**
 * Top-1, top-5 (the label is among the five highest outputs) and mean cross-entropy in nats. Of equal outputs the one with the
 * lower index ranks higher; a label whose output is NaN is wrong.
 */
function classificationMeter(): Meter {
  const sums = {accuracy: 0, top5: 0, loss: 0};
  let samples = 0;
  return {
    add([logits = new Float32Array()], {labels}) {
      const classes = logits.length / labels.length;
      for (const [i, label] of labels.entries()) {
        const {rank, crossEntropy} = judge(logits.subarray(i * classes, (i + 1) * classes), label);
        if (rank < 1) sums.accuracy++;
        if (rank < 5) sums.top5++;
        sums.loss += crossEntropy;
      }
      samples += labels.length;
    },
    result: () => ({accuracy: sums.accuracy / samples, top5: sums.top5 / samples, loss: sums.loss / samples}),
  };
}

/** How many classes rank above the label (infinitely many when its logit is NaN), and −log softmax(logits)[label]. */
function judge(logits: Float32Array, label: number): {rank: number; crossEntropy: number} {
  const logitOfLabel = item(logits, label);
  let rank = Number.isNaN(logitOfLabel) ? Infinity : 0;
  let highest = -Infinity;
  for (const [c, logit] of logits.entries()) {
    if (logit > logitOfLabel || (logit === logitOfLabel && c < label) || (Number.isNaN(logit) && c !== label)) rank++;
    highest = Math.max(highest, logit);
  }
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - highest);
  return {rank, crossEntropy: highest + Math.log(sum) - logitOfLabel};
}
