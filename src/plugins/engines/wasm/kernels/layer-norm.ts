/** Layer normalisation and its gradient (src/tensor/layer-norm.ts). */
import type * as tf from '@tensorflow/tfjs-core';

import type {LayerNormAttributes} from '../../../../tensor/kernels.ts';
import {defineKernel} from '../backend.ts';
import {sizeOf} from './rows.ts';

interface Inputs {
  readonly x: tf.TensorInfo;
  readonly gamma: tf.TensorInfo;
}

export const layerNormKernels: readonly tf.KernelConfig[] = [
  defineKernel<Inputs & {beta: tf.TensorInfo}, LayerNormAttributes>('SdqLayerNorm', ({backend, inputs, attrs}) => {
    const {x, gamma, beta} = inputs;
    const [rows, width] = x.shape as [number, number];
    const y = backend.output(x.shape);
    const addresses = [x, gamma, beta, y].map((info) => backend.pointer(info));
    backend.run('layerNorm', [...addresses, rows, width], [attrs.epsilon], backend.threadsFor(sizeOf(x)));
    return [y];
  }),

  defineKernel<Inputs & {dy: tf.TensorInfo}, LayerNormAttributes>('SdqLayerNormGrad', ({backend, inputs, attrs}) => {
    const {x, gamma, dy} = inputs;
    const [rows, width] = x.shape as [number, number];
    const [dx, dgamma, dbeta] = [x, gamma, gamma].map(({shape}) => backend.output(shape)) as [
      tf.TensorInfo,
      tf.TensorInfo,
      tf.TensorInfo,
    ];
    const threads = backend.threadsFor(sizeOf(x));
    const bytes = 8 * threads * 4 * Math.ceil(width / 4);
    // Totals of gamma's and beta's gradients of each thread, and its sums of a block of rows.
    const totals = backend.allocate(3 * bytes);
    const addresses = [x, gamma, dy, dx].map((info) => backend.pointer(info));
    const scratch = [totals, totals + bytes, totals + 2 * bytes];
    backend.run('layerNormGradient', [...addresses, rows, width, ...scratch], [attrs.epsilon], threads);
    for (const [index, sums] of [dgamma, dbeta].entries()) {
      const ints = [totals + index * bytes, 1, width, threads, backend.pointer(sums), 0];
      backend.run('combineParts', ints, [1], 1);
    }
    backend.release(totals);
    return [dx, dgamma, dbeta];
  }),
];
