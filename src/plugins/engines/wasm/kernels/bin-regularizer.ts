/** The bin regularizer with its gradient: kernel of src/tensor/kernels.ts. */
import type * as tf from '@tensorflow/tfjs-core';

import type {Grid} from '../../../../tensor/kernels.ts';
import {defineKernel} from '../backend.ts';
import {sizeOf} from './rows.ts';

/** Cost of a weight in elements moved, for `threadsFor`. */
const scattered = 4;

export const binRegularizerKernels: readonly tf.KernelConfig[] = [
  defineKernel<{w: tf.TensorInfo; scale: tf.TensorInfo}, Grid>('SdqBinRegularizer', ({backend, inputs, attrs}) => {
    const {w, scale} = inputs;
    const loss = backend.output([]);
    const dw = backend.output(w.shape);
    const size = sizeOf(w);
    const bins = attrs.qmax - attrs.qmin + 1;
    const threads = backend.threadsFor(scattered * size);
    const totals = backend.allocate(8 * 4 * threads * bins);
    const terms = backend.allocate(8 * 2 * bins);
    const grid = [attrs.qmin, attrs.qmax, attrs.offset];
    const weights = [backend.pointer(w), backend.pointer(scale), size, sizeOf(scale)];
    backend.run('binTotals', [...weights, totals, bins], grid, threads);
    backend.run('binLoss', [totals, threads, bins, size, backend.pointer(loss), terms], [], 1);
    backend.run('binGrad', [...weights, terms, bins, backend.pointer(dw)], grid, threads);
    backend.release(totals);
    backend.release(terms);
    return [loss, dw];
  }),
];
