import type {SearcherDefinition} from '../registry.ts';

export const uniform: SearcherDefinition = {
  kind: 'searcher',
  name: 'uniform',
  summary: 'Gives every layer that is not pinned the same bitwidth, without a search.',
  optionsSchema: {type: 'object', properties: {}, additionalProperties: false},
  forward: 'fixed',
};
