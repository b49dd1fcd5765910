import {leastErrorStep, type ActivationQuantizer} from '../../sdq/activation-quantizer.ts';
import type {Grid} from '../../tensor/kernels.ts';

/** Signed: −2^(b−1) … 2^(b−1) − 1, ±½ step at 1 bit; for inputs that cannot be negative 0 … 2^b − 1. */
function grid(bits: number, inputSigned: boolean): Grid {
  if (!inputSigned) return {qmin: 0, qmax: 2 ** bits - 1, offset: 0};
  return {qmin: -(2 ** (bits - 1)), qmax: 2 ** (bits - 1) - 1, offset: bits === 1 ? 0.5 : 0};
}

/**
 * A learned step for the whole tensor (LSQ, Esser et al., 2020), its gradient scaled by 1 / √(n · qmax) with n the tensor's
 * values a sample. The step starts where the error on the calibration sample is least [ours].
 */
export const lsq: ActivationQuantizer = {
  signed: true,
  grid,
  rule: (bits, inputSigned, features) => ({
    input: 'clipped',
    scale: 'lsq',
    gradientScale: 1 / Math.sqrt(features * Math.max(1, grid(bits, inputSigned).qmax)),
  }),
  scale: (step) => step,
  initialParameter: (sample, bits, inputSigned) => leastErrorStep(sample, grid(bits, inputSigned)),
};
