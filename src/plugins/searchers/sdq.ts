import {dbpDefinition} from './dbp/definition.ts';

export const sdq = dbpDefinition(
  'sdq',
  'Draws one of two adjacent bitwidths a layer and step, and learns the probability (the paper).',
  'draw',
  'sensitivity',
);
