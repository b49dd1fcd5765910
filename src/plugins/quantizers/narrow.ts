import type {WeightQuantizerDefinition} from '../registry.ts';
import {narrowRangeSteps, rootMeanSquareSteps} from './normal-step.ts';

/** The grid of `symmetric` without its lowest level; at 1 bit, where only zero would be left, ±c [ours]. */
function narrowDefinition(
  name: string,
  summary: string,
  granularity: WeightQuantizerDefinition['granularity'],
): WeightQuantizerDefinition {
  return {
    kind: 'weight-quantizer',
    name,
    summary,
    optionsSchema: {type: 'object', properties: {}, additionalProperties: false},
    zeroPoint: 0,
    granularity,
    gradient: 'identity',
    learnsScale: true,
    grid: (bits) =>
      bits === 1
        ? {qmin: -1, qmax: 0, offset: 0.5}
        : {qmin: -(2 ** (bits - 1) - 1), qmax: 2 ** (bits - 1) - 1, offset: 0},
    transform: (w) => w,
    statisticScales: (w, bits) => rootMeanSquareSteps(w, bits, narrowRangeSteps, granularity === 'channel'),
  };
}

export const narrow = narrowDefinition(
  'narrow',
  'Signed integers in a range symmetric about 0, with a step per output channel.',
  'channel',
);

export const narrowPerTensor = narrowDefinition(
  'narrow-per-tensor',
  'Signed integers in a range symmetric about 0, with one step a layer.',
  'tensor',
);
