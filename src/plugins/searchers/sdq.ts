import type {SearcherDefinition} from '../registry.ts';

export const sdq: SearcherDefinition = {
  kind: 'searcher',
  name: 'sdq',
  summary: 'Draws one of two adjacent bitwidths a layer and step, and learns the probability (the paper).',
  optionsSchema: {type: 'object', properties: {}, additionalProperties: false},
  forward: 'draw',
};
