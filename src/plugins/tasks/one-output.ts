/** The rule of tasks that learn one output of a network: [N, values]. */
import {invalidInput} from '../../errors.ts';
import type {ChosenOutputs, NetworkOutput, OptionsSchema} from '../../plugin-api/registry.ts';

export interface OneOutput {
  readonly output?: string;
}

export const oneOutputSchema: OptionsSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    output: {
      description: 'The output that is learned; left out: the first that is one row of values.',
      type: 'string',
      minLength: 1,
    },
  },
};

const shown = ({name, problem, shape}: NetworkOutput): string =>
  shape === null ? `"${name}" (${problem ?? 'not computed'})` : `"${name}" [${['N', ...shape].join(', ')}]`;

/** @throws SdqError (exit 3) that lists the network's outputs, where none is of the name or none is [N, values] */
export function oneOutput(outputs: readonly NetworkOutput[], {output: wanted}: OneOutput): ChosenOutputs {
  const fitting = outputs.filter(({shape}) => shape?.length === 1);
  const chosen = wanted === undefined ? fitting[0] : fitting.find(({name}) => name === wanted);
  if (chosen === undefined) {
    const what = wanted === undefined ? 'an output [N, values]' : `"${wanted}" as an output [N, values]`;
    throw invalidInput('output-unknown', `The task learns ${what}. The network has ${outputs.map(shown).join(', ')}.`, [
      ...fitting.map(({name}) => `--set task.options.output=${name}`),
      ...(outputs.some(({shape}) => shape?.length === 3) ? ['A detector: --set task.name=detection'] : []),
    ]);
  }
  const others = outputs.filter((each) => each !== chosen);
  return {
    names: [chosen.name],
    ...(wanted === undefined &&
      others.length > 0 && {
        notice:
          `Of the network's outputs the task learns "${chosen.name}" and leaves out ${others.map(shown).join(', ')}. ` +
          'To choose another: --set task.options.output=NAME.',
      }),
  };
}
