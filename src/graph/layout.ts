/** Order of axes of stored weights: ONNX's in files, the executor's in memory. */
import {item} from '../lookup.ts';
import type {Array32, Shape} from './graph.ts';

/* eslint-disable @typescript-eslint/no-non-null-assertion -- a loop over every weight; all indices are within the shape */
/** As `tf.transpose`, on plain data: axis i of the result is axis `axes[i]` of the argument. */
export function transposed({shape, data}: Array32, axes: readonly number[]): Array32 {
  if (axes.every((axis, index) => axis === index)) return {shape, data};
  const stride = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) stride[axis] = stride[axis + 1]! * shape[axis + 1]!;
  const sizes = axes.map((axis) => shape[axis]!);
  const steps = axes.map((axis) => stride[axis]!);
  const out = new Float32Array(data.length);
  const position = new Array<number>(sizes.length).fill(0);
  let from = 0;
  for (let to = 0; to < out.length; to++) {
    out[to] = data[from]!;
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      from += steps[axis]!;
      if (++position[axis]! < sizes[axis]!) break;
      from -= steps[axis]! * sizes[axis]!;
      position[axis] = 0;
    }
  }
  return {shape: sizes, data: out};
}
/* eslint-enable @typescript-eslint/no-non-null-assertion */

export function inverse(axes: readonly number[]): number[] {
  return axes.map((_, index) => axes.indexOf(index));
}

/**
 * How a value lies in memory. The batch is always its first axis.
 *   plain          ONNX's own order of axes
 *   channels-last  the channels, ONNX's second axis, moved to the end: what convolutions and pooling compute
 * With fewer than two axes beside the batch both are the same; such a value counts as plain.
 */
export type Layout = 'plain' | 'channels-last';

/** The ONNX axis that each axis in memory holds. @param rank number of axes, the batch included */
export function memoryOrder(rank: number, layout: Layout): number[] {
  const axes = Array.from({length: rank}, (_, axis) => axis);
  if (layout === 'plain' || rank < 3) return axes;
  return [0, ...axes.slice(2), 1];
}

/** Where an ONNX axis lies in memory. @param rank number of axes, the batch included */
export function memoryAxis(axis: number, rank: number, layout: Layout): number {
  return memoryOrder(rank, layout).indexOf(axis);
}

/** The sizes in memory of a value of this ONNX shape, both without the batch. */
export function memoryShape(shape: Shape, layout: Layout): number[] {
  return memoryOrder(shape.length + 1, layout)
    .slice(1)
    .map((axis) => item(shape, axis - 1));
}

/** `tf.transpose`'s argument that brings a tensor from one layout into another. */
export function conversionAxes(rank: number, from: Layout, to: Layout): number[] {
  const held = memoryOrder(rank, from);
  return memoryOrder(rank, to).map((axis) => held.indexOf(axis));
}

/** The layout of the graph's input: data sets give images [channels, height, width] with the channels last. */
export function inputLayout(shape: Shape): Layout {
  return shape.length === 3 ? 'channels-last' : 'plain';
}
