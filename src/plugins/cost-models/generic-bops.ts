/** Bit operations alone: Σ MACs · weight bits · activation bits, which every cost row carries. No device, so no time and no energy. */
import type {CostModelDefinition} from '../../plugin-api/registry.ts';

export const genericBops: CostModelDefinition = {
  kind: 'cost-model',
  name: 'generic-bops',
  summary: 'Bit operations: multiply-accumulates times weight bits times activation bits.',
  constants: [],
  resources: [],
  energy: 'none',
  layer: () => ({cycles: null, latencyUs: null, energyUj: null, utilisation: null, boundBy: null}),
};
