import type {WeightQuantizerDefinition} from '../registry.ts';
import {fullRangeSteps, rootMeanSquareSteps} from './normal-step.ts';

/** Whole multiples of the step in −2^(b−1) … 2^(b−1) − 1, zero-point 0, a step per output channel; two levels ±c at 1 bit. */
export const symmetric: WeightQuantizerDefinition = {
  kind: 'weight-quantizer',
  name: 'symmetric',
  summary: 'Signed integers with zero-point 0 and a step per output channel.',
  optionsSchema: {type: 'object', properties: {}, additionalProperties: false},
  zeroPoint: 0,
  granularity: 'channel',
  gradient: 'identity',
  learnsScale: true,
  grid: (bits) => ({qmin: -(2 ** (bits - 1)), qmax: 2 ** (bits - 1) - 1, offset: bits === 1 ? 0.5 : 0}),
  transform: (w) => w,
  statisticScales: (w, bits) => rootMeanSquareSteps(w, bits, fullRangeSteps, true),
};
