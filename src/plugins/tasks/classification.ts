/** Which one of the data set's classes an image shows. */
import type {Tensor, Tensor1D} from '@tensorflow/tfjs-core';

import {invalidInput} from '../../errors.ts';
import {item} from '../../lookup.ts';
import type {TaskDefinition} from '../../plugin-api/registry.ts';
import type {Meter} from '../../training/task.ts';
import {oneOutput, oneOutputSchema, type OneOutput} from './one-output.ts';

export const classification: TaskDefinition<OneOutput> = {
  kind: 'task',
  name: 'classification',
  summary: 'One class an image: cross-entropy, top-1 and top-5 accuracy.',
  optionsSchema: oneOutputSchema,
  metrics: [
    {name: 'accuracy', better: 'higher', isFraction: true},
    {name: 'top5', better: 'higher', isFraction: true, minOutputs: 6},
  ],
  reported: ['accuracy'],
  outputs({classes, name}) {
    if (classes.length > 0) return classes.length;
    throw invalidInput(
      'task-without-targets',
      `The task classification needs classes, and the data set ${name} has none.`,
      ['Choose another task, e.g. --set task.name=regression, or another data set.'],
    );
  },
  caution({classes, name}) {
    return classes.length < 2
      ? `${name} has one class only (${classes.join()}): there is nothing to learn.`
      : undefined;
  },
  chooseOutputs: oneOutput,
  async load() {
    const [tf, {distillationLoss}, {softCrossEntropy}] = await Promise.all([
      import('@tensorflow/tfjs-core'),
      import('../../sdq/distillation.ts'),
      import('../../tensor/cross-entropy.ts'),
    ]);
    /** [N, classes] */
    const oneHot = (labels: Tensor1D, logits: Tensor): Tensor =>
      tf.cast(tf.oneHot(labels, item(logits.shape, 1)), 'float32');
    // The network's one output is logits [N, classes].
    return {
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
  },
};

const firstClass = (logits: Float32Array): number => logits.indexOf(Math.max(...logits));

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
