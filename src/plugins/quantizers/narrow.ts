import type {WeightQuantizer, WeightQuantizerTraits} from '../../sdq/weight-quantizer.ts';
import {narrowRangeSteps, rootMeanSquareSteps} from './normal-step.ts';
import {narrowPerTensorTraits, narrowTraits} from './traits.ts';

function narrowQuantizer(traits: WeightQuantizerTraits): WeightQuantizer {
  return {
    ...traits,
    transform: (w) => w,
    statisticScales: (w, bits) => rootMeanSquareSteps(w, bits, narrowRangeSteps, traits.granularity === 'channel'),
  };
}

/** The grid of `symmetric` without its lowest level. */
export const narrow = narrowQuantizer(narrowTraits);

/** The same with one step a layer. */
export const narrowPerTensor = narrowQuantizer(narrowPerTensorTraits);
