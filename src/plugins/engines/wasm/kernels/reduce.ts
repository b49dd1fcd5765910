/** Sum, mean and maximum of float tensors over any axes; the rest is the cpu backend's. */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../../../../lookup.ts';
import {reduceMaximum, reduceSum} from '../assembly/shared.ts';
import {defineKernel, type WasmBackend} from '../backend.ts';
import {around, sizeOf} from './rows.ts';

type Reduction = typeof reduceSum | typeof reduceMaximum;

/** x as [outer, length, inner], reduced over `length`: the axes from `first` to before `end`. The result has 1 in their place. */
function reducedRun(
  backend: WasmBackend,
  x: tf.TensorInfo,
  [first, end]: readonly [number, number],
  operation: Reduction,
  factor: number,
): tf.TensorInfo {
  const [outer, length, inner] = around(x.shape, first, end);
  const y = backend.output(x.shape.map((size, i) => (i >= first && i < end ? 1 : size)));
  const threads = backend.threadsFor(sizeOf(x));
  // Few results: every thread takes a part of each; many: whole results.
  const parts = outer < 4 * threads ? threads : 1;
  const partials = backend.allocate(8 * outer * parts * 4 * Math.ceil(inner / 4));
  backend.run('reduce', [backend.pointer(x), outer, length, inner, partials, parts, operation], [], threads);
  backend.run('combineParts', [partials, outer, inner, parts, backend.pointer(y), operation], [factor], 1);
  backend.release(partials);
  return y;
}

/** x reduced over `axes`, run by run of neighbouring axes from the last one on. */
function reduced(
  backend: WasmBackend,
  x: tf.TensorInfo,
  axes: readonly number[],
  keepDims: boolean,
  operation: Reduction,
  factor = 1,
): tf.TensorInfo {
  const runs = axes.filter((axis) => !axes.includes(axis - 1)).sort((a, b) => b - a);
  let y = x;
  for (const first of runs.length === 0 ? [0] : runs) {
    let end = first;
    while (axes.includes(end)) end += 1;
    const next = reducedRun(backend, y, [first, end], operation, y === x ? factor : 1);
    if (y !== x) backend.disposeIntermediateTensorInfo(y);
    y = next;
  }
  return keepDims ? y : {...y, shape: y.shape.filter((_, i) => !axes.includes(i))};
}

interface ReductionAttrs {
  readonly axis: number | number[];
  readonly keepDims: boolean;
}

export const reduceKernels: readonly tf.KernelConfig[] = [
  defineKernel<{x: tf.TensorInfo}, ReductionAttrs>(tf.Sum, ({backend, inputs: {x}, attrs: {axis, keepDims}, cpu}) =>
    x.dtype === 'float32' ? reduced(backend, x, tf.util.parseAxisParam(axis, x.shape), keepDims, reduceSum) : cpu(),
  ),

  defineKernel<{x: tf.TensorInfo}, ReductionAttrs>(tf.Mean, ({backend, inputs: {x}, attrs: {axis, keepDims}, cpu}) => {
    if (x.dtype !== 'float32') return cpu();
    const axes = tf.util.parseAxisParam(axis, x.shape);
    const count = tf.util.sizeFromShape(axes.map((i) => item(x.shape, i)));
    return reduced(backend, x, axes, keepDims, reduceSum, 1 / Math.max(1, count));
  }),

  defineKernel<{x: tf.TensorInfo}, {reductionIndices: number | number[]; keepDims: boolean}>(
    tf.Max,
    ({backend, inputs: {x}, attrs: {reductionIndices, keepDims}, cpu}) =>
      x.dtype === 'float32' && sizeOf(x) > 0
        ? reduced(backend, x, tf.util.parseAxisParam(reductionIndices, x.shape), keepDims, reduceMaximum)
        : cpu(),
  ),
];
