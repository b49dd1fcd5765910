import type {ActivationQuantizerDefinition, WeightQuantizerDefinition} from '../../plugin-api/registry.ts';
import {
  dorefaTraits,
  entropyTraits,
  midRiseTraits,
  narrowPerTensorTraits,
  narrowTraits,
  symmetricTraits,
} from './traits.ts';

/** Their arithmetic, and with it the tensor library, is loaded where a network is quantized. */
export const weightQuantizers: readonly WeightQuantizerDefinition[] = [
  {
    ...narrowTraits,
    kind: 'weight-quantizer',
    name: 'narrow',
    summary: 'Signed integers in a range symmetric about 0, with a step per output channel.',
    load: async () => (await import('./narrow.ts')).narrow,
  },
  {
    ...symmetricTraits,
    kind: 'weight-quantizer',
    name: 'symmetric',
    summary: 'Signed integers with zero-point 0 and a step per output channel.',
    load: async () => (await import('./symmetric.ts')).symmetric,
  },
  {
    ...narrowPerTensorTraits,
    kind: 'weight-quantizer',
    name: 'narrow-per-tensor',
    summary: 'Signed integers in a range symmetric about 0, with one step a layer.',
    load: async () => (await import('./narrow.ts')).narrowPerTensor,
  },
  {
    ...midRiseTraits,
    kind: 'weight-quantizer',
    name: 'mid-rise',
    summary: 'Half-integer grid symmetric about 0, with a step per output channel: the least error at 2 and 3 bits.',
    load: async () => (await import('./mid-rise.ts')).midRise,
  },
  {
    ...dorefaTraits,
    kind: 'weight-quantizer',
    name: 'dorefa',
    summary: 'Weights squeezed by tanh onto a half-integer grid in [-1, 1]; the quantizer of the paper’s time.',
    load: async () => (await import('./dorefa.ts')).dorefa,
  },
  {
    ...entropyTraits,
    kind: 'weight-quantizer',
    name: 'entropy',
    summary:
      'Half-integer grid over a range set by the mean magnitude of each output channel, so that levels fill evenly.',
    load: async () => (await import('./entropy.ts')).entropy,
  },
];

export const activationQuantizers: readonly ActivationQuantizerDefinition[] = [
  {
    kind: 'activation-quantizer',
    name: 'pact',
    summary: 'Unsigned integers up to a learned clipping value, for inputs that cannot be negative.',
    load: async () => (await import('./pact.ts')).pact,
  },
  {
    kind: 'activation-quantizer',
    name: 'lsq',
    summary: 'Integers with a learned step, signed where the input can be negative.',
    load: async () => (await import('./lsq.ts')).lsq,
  },
];
