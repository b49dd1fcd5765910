import {dbpDefinition} from './dbp/definition.ts';

export const interpolation = dbpDefinition(
  'interpolation',
  'Mixes two adjacent bitwidths by a learned share (FracBits; the paper’s counter-example).',
  'mix',
  'highest',
);
