/** Softmax, and softmax cross-entropy with its gradient (src/tensor/kernels.ts). */
import * as tf from '@tensorflow/tfjs-core';

import {last} from '../../../../lookup.ts';
import {defineKernel} from '../backend.ts';
import {sizeOf} from './rows.ts';

/** Cost of an exponential in elements moved, for `threadsFor`. */
const exponential = 4;

export const softmaxKernels: readonly tf.KernelConfig[] = [
  defineKernel<{logits: tf.TensorInfo}, tf.SoftmaxAttrs>(tf.Softmax, ({backend, inputs: {logits}, attrs, cpu}) => {
    const columns = logits.shape.at(-1);
    if (
      columns === undefined ||
      logits.dtype !== 'float32' ||
      (attrs.dim !== -1 && attrs.dim !== logits.shape.length - 1)
    ) {
      return cpu();
    }
    const y = backend.output(logits.shape);
    const size = sizeOf(logits);
    backend.run(
      'softmax',
      [backend.pointer(logits), backend.pointer(y), columns === 0 ? 0 : size / columns, columns],
      [],
      backend.threadsFor(exponential * size),
    );
    return y;
  }),

  defineKernel<{y: tf.TensorInfo; dy: tf.TensorInfo}>('SdqSoftmaxGrad', ({backend, inputs: {y, dy}}) => {
    const dx = backend.output(y.shape);
    const columns = last(y.shape);
    const size = sizeOf(y);
    const addresses = [y, dy, dx].map((info) => backend.pointer(info));
    const ints = [...addresses, columns === 0 ? 0 : size / columns, columns];
    backend.run('softmaxGradient', ints, [], backend.threadsFor(size));
    return [dx];
  }),

  defineKernel<{logits: tf.TensorInfo; targets: tf.TensorInfo}>('SdqSoftmaxCrossEntropy', ({backend, inputs}) => {
    const {logits, targets} = inputs;
    const [rows, columns] = logits.shape as [number, number];
    const loss = backend.output([]);
    const dlogits = backend.output(logits.shape);
    const losses = backend.allocate(8 * rows);
    const addresses = [logits, targets, dlogits].map((info) => backend.pointer(info));
    const threads = backend.threadsFor(exponential * rows * columns);
    backend.run('softmaxCrossEntropy', [...addresses, rows, columns, losses], [], threads);
    backend.run('meanOfDoubles', [losses, rows, backend.pointer(loss)], [], 1);
    backend.release(losses);
    return [loss, dlogits];
  }),
];
