import type {WeightQuantizer} from '../../sdq/weight-quantizer.ts';
import {fullRangeSteps, rootMeanSquareSteps} from './normal-step.ts';
import {symmetricTraits} from './traits.ts';

/** Zero-point 0, a step per output channel from the root mean square of its weights. */
export const symmetric: WeightQuantizer = {
  ...symmetricTraits,
  transform: (w) => w,
  statisticScales: (w, bits) => rootMeanSquareSteps(w, bits, fullRangeSteps, true),
};
