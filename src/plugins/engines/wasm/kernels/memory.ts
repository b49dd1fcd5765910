/** Data movement: tensors are filled, copied and rearranged. */
import * as tf from '@tensorflow/tfjs-core';

import {defineKernel} from '../backend.ts';

export const memoryKernels: readonly tf.KernelConfig[] = [
  defineKernel<object, tf.FillAttrs>(tf.Fill, ({backend, attrs, cpu}) => {
    if (typeof attrs.value !== 'number' || attrs.dtype !== 'float32') return cpu();
    const out = backend.output(attrs.shape);
    const length = tf.util.sizeFromShape(attrs.shape);
    backend.run('fillFloats', [backend.pointer(out), length], [attrs.value], backend.threadsFor(length));
    return out;
  }),
];
