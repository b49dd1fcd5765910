/** The numbers that the data set has for each image. */
import type {Tensor} from '@tensorflow/tfjs-core';

import {invalidInput} from '../../errors.ts';
import {item} from '../../lookup.ts';
import type {TaskDefinition} from '../../plugin-api/registry.ts';
import type {Meter, Targets} from '../../training/task.ts';
import {oneOutput, oneOutputSchema, type OneOutput} from './one-output.ts';

export const regression: TaskDefinition<OneOutput> = {
  kind: 'task',
  name: 'regression',
  summary: 'Numbers an image: mean squared error, mean absolute error, R².',
  optionsSchema: oneOutputSchema,
  metrics: [
    {name: 'mse', better: 'lower', isFraction: false},
    {name: 'mae', better: 'lower', isFraction: false},
    {name: 'r2', better: 'higher', isFraction: false},
  ],
  reported: ['mae'],
  outputs({name, values = []}) {
    if (values.length > 0) return values.length;
    throw invalidInput(
      'task-without-targets',
      `The task regression needs numbers, and the data set ${name} has none beside its images.`,
      ['Choose another task, e.g. --set task.name=classification, or another data set.'],
    );
  },
  chooseOutputs: oneOutput,
  async load() {
    const tf = await import('@tensorflow/tfjs-core');
    /** Over all entries. @returns scalar */
    const meanSquaredError = (a: Tensor, b: Tensor): Tensor => tf.mean(tf.square(tf.sub(a, b)));
    // The network's one output is [N, values].
    return {
      loss: (outputs, targets) => meanSquaredError(item(outputs, 0), valuesOf(targets)),
      /**
       * MSE(student, teacher) + μ MSE(student, values), with μ = `hardLabelWeight`. [ours] A temperature has no meaning here:
       * dividing both outputs by T and multiplying the loss by T² changes nothing.
       */
      distillationLoss(outputs, teacher, targets, {hardLabelWeight}) {
        const output = item(outputs, 0);
        const distilled = meanSquaredError(output, item(teacher, 0));
        if (hardLabelWeight === 0) return distilled;
        return tf.add(distilled, tf.mul(meanSquaredError(output, valuesOf(targets)), hardLabelWeight));
      },
      reported: (outputs, targets) => ({mae: tf.mean(tf.abs(tf.sub(item(outputs, 0), valuesOf(targets))))}),
      meter: regressionMeter,
    };
  },
};

/** `outputs` of the definition refuses a data set without values. */
function valuesOf({values}: Targets): Tensor {
  if (values === undefined) throw new Error('the batch has no values');
  return values;
}

/**
 * MSE and MAE over all numbers. R² = 1 − Σ residual² / Σ (value − mean)² for each number and averaged, as scikit-learn's
 * `r2_score` does; a number that never changes counts as 1 where it is met exactly, else as 0.
 */
function regressionMeter(): Meter {
  let [absolute, samples] = [0, 0];
  /** Of each number: Σ residual², and mean and Σ (value − mean)² by Welford's update. */
  let columns: {squared: number; mean: number; spread: number}[] = [];
  return {
    add([outputs = new Float32Array()], {labels, values = new Float32Array()}) {
      const width = values.length / labels.length;
      if (columns.length === 0) columns = Array.from({length: width}, () => ({squared: 0, mean: 0, spread: 0}));
      for (let i = 0; i < labels.length; i++) {
        samples++;
        for (const [k, column] of columns.entries()) {
          const value = values[i * width + k] ?? NaN;
          const residual = (outputs[i * width + k] ?? NaN) - value;
          absolute += Math.abs(residual);
          column.squared += residual ** 2;
          const delta = value - column.mean;
          column.mean += delta / samples;
          column.spread += delta * (value - column.mean);
        }
      }
    },
    result() {
      const entries = samples * columns.length;
      const mse = columns.reduce((sum, {squared}) => sum + squared, 0) / entries;
      const r2 =
        columns.reduce(
          (sum, {squared, spread}) => sum + (spread > 0 ? 1 - squared / spread : Number(squared === 0)),
          0,
        ) / columns.length;
      return {mse, mae: absolute / entries, r2, loss: mse};
    },
  };
}
