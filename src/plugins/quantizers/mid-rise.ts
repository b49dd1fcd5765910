import type {WeightQuantizer} from '../../sdq/weight-quantizer.ts';
import {midRiseSteps, rootMeanSquareSteps} from './normal-step.ts';
import {midRiseTraits} from './traits.ts';

/** All 2^b levels symmetric about 0, which is none of them: at 2 bits a fifth less squared error than `symmetric`. */
export const midRise: WeightQuantizer = {
  ...midRiseTraits,
  transform: (w) => w,
  statisticScales: (w, bits) => rootMeanSquareSteps(w, bits, midRiseSteps, true),
};
