/** Residual addition with activation range, the gradient of a range, and LeakyRelu: kernels of src/tensor/kernels.ts. */
import type * as tf from '@tensorflow/tfjs-core';

import type {ActivationRange, LeakyReluAttributes} from '../../../../tensor/kernels.ts';
import * as kernel from '../assembly/shared.ts';
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

  defineKernel<{x: tf.TensorInfo}, LeakyReluAttributes>('SdqLeakyRelu', ({backend, inputs: {x}, attrs: {alpha}}) => {
    const y = backend.output(x.shape);
    const size = sizeOf(x);
    backend.run(
      'unary',
      [backend.pointer(x), backend.pointer(y), size, kernel.leaky],
      [alpha, 0],
      backend.threadsFor(size),
    );
    return y;
  }),

  defineKernel<{x: tf.TensorInfo; dy: tf.TensorInfo}, LeakyReluAttributes>(
    'SdqLeakyReluGrad',
    ({backend, inputs: {x, dy}, attrs: {alpha}}) => {
      const dx = backend.output(x.shape);
      const size = sizeOf(x);
      const addresses = [x, dy, dx].map((info) => backend.pointer(info));
      backend.run('leakyGradient', [...addresses, size], [alpha], backend.threadsFor(size));
      return dx;
    },
  ),
];
