/** What the weight quantizers are, without their arithmetic: the rules of a device need no tensor library. */
import type {WeightQuantizerTraits} from '../../sdq/weight-quantizer.ts';
import type {Grid} from '../../tensor/kernels.ts';

/** 2^b levels at odd multiples of half a step, symmetric about 0, which is no level. */
const halfIntegerGrid = (bits: number): Grid => ({
  qmin: -(2 ** (bits - 1)),
  qmax: 2 ** (bits - 1) - 1,
  offset: 0.5,
});

/** The grid of `symmetric` without its lowest level; at 1 bit, where only zero would be left, ±c [ours]. */
const narrowGrid = (bits: number): Grid =>
  bits === 1 ? {qmin: -1, qmax: 0, offset: 0.5} : {qmin: -(2 ** (bits - 1) - 1), qmax: 2 ** (bits - 1) - 1, offset: 0};

/** Whole multiples of the step in −2^(b−1) … 2^(b−1) − 1; two levels ±c at 1 bit. */
export const symmetricTraits: WeightQuantizerTraits = {
  zeroPoint: 0,
  granularity: 'channel',
  gradient: 'identity',
  learnsScale: true,
  grid: (bits) => ({qmin: -(2 ** (bits - 1)), qmax: 2 ** (bits - 1) - 1, offset: bits === 1 ? 0.5 : 0}),
};

export const narrowTraits: WeightQuantizerTraits = {...symmetricTraits, grid: narrowGrid};

export const narrowPerTensorTraits: WeightQuantizerTraits = {...narrowTraits, granularity: 'tensor'};

export const midRiseTraits: WeightQuantizerTraits = {...symmetricTraits, zeroPoint: null, grid: halfIntegerGrid};

export const dorefaTraits: WeightQuantizerTraits = {
  zeroPoint: null,
  granularity: 'tensor',
  gradient: 'identity',
  learnsScale: false,
  grid: halfIntegerGrid,
};

/** The clip stops the gradient outside the grid's range. */
export const entropyTraits: WeightQuantizerTraits = {...dorefaTraits, granularity: 'channel', gradient: 'clipped'};
