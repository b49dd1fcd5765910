import type {Grid} from '../../tensor/kernels.ts';

/** 2^b levels at odd multiples of half a step, symmetric about 0, which is no level. */
export function halfIntegerGrid(bits: number): Grid {
  return {qmin: -(2 ** (bits - 1)), qmax: 2 ** (bits - 1) - 1, offset: 0.5};
}
