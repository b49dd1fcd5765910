import type {SearcherDefinition} from '../registry.ts';

export const interpolation: SearcherDefinition = {
  kind: 'searcher',
  name: 'interpolation',
  summary: 'Mixes two adjacent bitwidths by a learned share (FracBits; the paper’s counter-example).',
  optionsSchema: {type: 'object', properties: {}, additionalProperties: false},
  forward: 'mix',
};
