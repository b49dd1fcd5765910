/** Sum, mean and maximum of float tensors over axes that follow one another; the rest is the cpu backend's. */
import * as tf from '@tensorflow/tfjs-core';

import {reduceMaximum, reduceSum} from '../assembly/shared.ts';
import {defineKernel, type WasmBackend} from '../backend.ts';
import {sizeOf} from './rows.ts';

interface ReducedView {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
  readonly shape: number[];
}

/** x as [outer, length, inner], reduced over `length`; null when the reduced axes do not follow one another. */
function reducedView({shape}: tf.TensorInfo, axis: number | number[], keepDims: boolean): ReducedView | null {
  const axes = tf.util.parseAxisParam(axis, shape).sort((a, b) => a - b);
  const [first, last] = [axes[0] ?? 0, axes.at(-1) ?? -1];
  if (last - first + 1 !== axes.length) return null;
  const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);
  return {
    outer: product(shape.slice(0, first)),
    length: product(shape.slice(first, last + 1)),
    inner: product(shape.slice(last + 1)),
    shape: shape.flatMap((size, i) => (axes.includes(i) ? (keepDims ? [1] : []) : [size])),
  };
}

function reduced(
  backend: WasmBackend,
  x: tf.TensorInfo,
  {outer, length, inner, shape}: ReducedView,
  operation: typeof reduceSum | typeof reduceMaximum,
  factor: number,
): tf.TensorInfo {
  const y = backend.output(shape);
  const threads = backend.threadsFor(sizeOf(x));
  // Few results: every thread takes a part of each; many: whole results.
  const parts = outer < 4 * threads ? threads : 1;
  const partials = backend.allocate(8 * outer * parts * 4 * Math.ceil(inner / 4));
  backend.run('reduce', [backend.pointer(x), outer, length, inner, partials, parts, operation], [], threads);
  backend.run('combineParts', [partials, outer, inner, parts, backend.pointer(y), operation], [factor], 1);
  backend.release(partials);
  return y;
}

interface ReductionAttrs {
  readonly axis: number | number[];
  readonly keepDims: boolean;
}

export const reduceKernels: readonly tf.KernelConfig[] = [
  defineKernel<{x: tf.TensorInfo}, ReductionAttrs>(tf.Sum, ({backend, inputs: {x}, attrs, cpu}) => {
    const view = reducedView(x, attrs.axis, attrs.keepDims);
    if (x.dtype !== 'float32' || view === null) return cpu();
    return reduced(backend, x, view, reduceSum, 1);
  }),

  defineKernel<{x: tf.TensorInfo}, ReductionAttrs>(tf.Mean, ({backend, inputs: {x}, attrs, cpu}) => {
    const view = reducedView(x, attrs.axis, attrs.keepDims);
    if (x.dtype !== 'float32' || view === null) return cpu();
    return reduced(backend, x, view, reduceSum, 1 / Math.max(1, view.length));
  }),

  defineKernel<{x: tf.TensorInfo}, {reductionIndices: number | number[]; keepDims: boolean}>(
    tf.Max,
    ({backend, inputs: {x}, attrs, cpu}) => {
      const view = reducedView(x, attrs.reductionIndices, attrs.keepDims);
      if (x.dtype !== 'float32' || view === null || view.length === 0) return cpu();
      return reduced(backend, x, view, reduceMaximum, 1);
    },
  ),
];
