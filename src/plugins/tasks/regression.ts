/** The numbers that the data set has for each image. */
import {invalidInput} from '../../errors.ts';
import type {TaskDefinition} from '../../plugin-api/registry.ts';
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
  load: async () => (await import('./regression-loss.ts')).regressionTask,
};
