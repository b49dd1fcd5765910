/** Which one of the data set's classes an image shows. */
import {invalidInput} from '../../errors.ts';
import type {TaskDefinition} from '../../plugin-api/registry.ts';
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
  load: async () => (await import('./classification-loss.ts')).classificationTask,
};
