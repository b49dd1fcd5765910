/** Optimizer updates in one pass: kernels of src/tensor/kernels.ts. */
import type * as tf from '@tensorflow/tfjs-core';

import type {AdamAttributes, SgdAttributes} from '../../../../tensor/kernels.ts';
import {defineKernel} from '../backend.ts';
import {sizeOf} from './rows.ts';

interface SgdInputs {
  readonly param: tf.TensorInfo;
  readonly grad: tf.TensorInfo;
  readonly velocity: tf.TensorInfo;
}

interface AdamInputs {
  readonly param: tf.TensorInfo;
  readonly grad: tf.TensorInfo;
  readonly m: tf.TensorInfo;
  readonly v: tf.TensorInfo;
}

export const optimizerKernels: readonly tf.KernelConfig[] = [
  defineKernel<SgdInputs, SgdAttributes>('SdqSgdUpdate', ({backend, inputs, attrs}) => {
    const {param, grad, velocity} = inputs;
    const outputs = [param, velocity].map(({shape}) => backend.output(shape));
    const size = sizeOf(param);
    const addresses = [param, grad, velocity, ...outputs].map((info) => backend.pointer(info));
    backend.run(
      'sgdUpdate',
      [...addresses, size, attrs.nesterov ? 1 : 0],
      [attrs.learningRate, attrs.momentum, attrs.weightDecay],
      backend.threadsFor(size),
    );
    return outputs;
  }),

  defineKernel<AdamInputs, AdamAttributes>('SdqAdamUpdate', ({backend, inputs, attrs}) => {
    const {param, grad, m, v} = inputs;
    const {learningRate, beta1, beta2, epsilon, weightDecay, decoupled, step} = attrs;
    const outputs = [param, m, v].map(({shape}) => backend.output(shape));
    const size = sizeOf(param);
    const addresses = [param, grad, m, v, ...outputs].map((info) => backend.pointer(info));
    backend.run(
      'adamUpdate',
      [...addresses, size],
      [
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
        epsilon,
        decoupled ? 0 : weightDecay,
        decoupled ? 1 - learningRate * weightDecay : 1,
        learningRate / (1 - beta1 ** step),
        1 / (1 - beta2 ** step),
      ],
      backend.threadsFor(size),
    );
    return outputs;
  }),
];
