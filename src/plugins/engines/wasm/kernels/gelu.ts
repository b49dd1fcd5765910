/** Gelu and its gradient (src/tensor/gelu.ts). */
import type * as tf from '@tensorflow/tfjs-core';

import type {GeluAttributes} from '../../../../tensor/kernels.ts';
import {defineKernel} from '../backend.ts';
import {sizeOf} from './rows.ts';

/** Cost of an element in elements moved, for `threadsFor`. */
const cost = 4;

export const geluKernels: readonly tf.KernelConfig[] = [
  defineKernel<{x: tf.TensorInfo}, GeluAttributes>('SdqGelu', ({backend, inputs: {x}, attrs}) => {
    const y = backend.output(x.shape);
    const size = sizeOf(x);
    const ints = [backend.pointer(x), backend.pointer(y), size, Number(attrs.approximate)];
    backend.run('gelu', ints, [], backend.threadsFor(cost * size));
    return [y];
  }),

  defineKernel<{x: tf.TensorInfo; dy: tf.TensorInfo}, GeluAttributes>(
    'SdqGeluGrad',
    ({backend, inputs: {x, dy}, attrs}) => {
      const dx = backend.output(x.shape);
      const size = sizeOf(x);
      const addresses = [x, dy, dx].map((info) => backend.pointer(info));
      const ints = [...addresses, size, Number(attrs.approximate)];
      backend.run('geluGradient', ints, [], backend.threadsFor(cost * size));
      return [dx];
    },
  ),
];
