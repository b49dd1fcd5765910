/** Residual addition with activation range, and the gradient of a range: kernels of src/tensor/kernels.ts. */
import type * as tf from '@tensorflow/tfjs-core';

import type {ActivationRange} from '../../../../tensor/kernels.ts';
import {defineKernel} from '../backend.ts';
import {sizeOf} from './rows.ts';

export const activationKernels: readonly tf.KernelConfig[] = [
  defineKernel<{a: tf.TensorInfo; b: tf.TensorInfo}, ActivationRange>('SdqAddAct', ({backend, inputs, attrs}) => {
    const {a, b} = inputs;
    const y = backend.output(a.shape);
    const size = sizeOf(a);
    const addresses = [a, b, y].map((info) => backend.pointer(info));
    backend.run('addClip', [...addresses, size], [attrs.min, attrs.max], backend.threadsFor(size));
    return y;
  }),

  defineKernel<{y: tf.TensorInfo; dy: tf.TensorInfo}, ActivationRange>('SdqClipGrad', ({backend, inputs, attrs}) => {
    const {y, dy} = inputs;
    const dx = backend.output(y.shape);
    const size = sizeOf(y);
    const addresses = [y, dy, dx].map((info) => backend.pointer(info));
    backend.run('clipGrad', [...addresses, size], [attrs.min, attrs.max], backend.threadsFor(size));
    return dx;
  }),
];
