import * as tf from '@tensorflow/tfjs-core';

import {leastErrorStep, type ActivationQuantizer} from '../../sdq/activation-quantizer.ts';

/** The whole numbers 0 … 2^b − 1. */
function grid(bits: number) {
  return {qmin: 0, qmax: 2 ** bits - 1, offset: 0} as const;
}

/**
 * round(clip(x, 0, α)(2^b − 1)/α)·α/(2^b − 1) with a learned clipping value α (PACT, Choi et al., 2018): α receives the gradient of
 * every x ≥ α. α starts where the error on the calibration sample is least [ours].
 */
export const pact: ActivationQuantizer = {
  signed: false,
  grid,
  rule: () => ({input: 'clipped', scale: 'clip', gradientScale: 1}),
  scale: (alpha, bits) => tf.div(alpha, 2 ** bits - 1),
  initialParameter: (sample, bits) => leastErrorStep(sample, grid(bits)) * (2 ** bits - 1),
};
