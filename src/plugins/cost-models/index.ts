/** The built-in cost models, by family of devices. */
import type {CostModelDefinition} from '../../plugin-api/registry.ts';
import {bitFusion} from './bit-fusion.ts';
import {dpu} from './dpu.ts';
import {finnDataflow} from './finn-dataflow.ts';
import {genericBops} from './generic-bops.ts';
import {genericEnergy} from './generic-energy.ts';
import {gpuRoofline} from './gpu-roofline.ts';

export const costModels: readonly CostModelDefinition[] = [
  bitFusion,
  gpuRoofline,
  finnDataflow,
  dpu,
  genericBops,
  genericEnergy,
];
