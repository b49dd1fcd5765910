/** Data movement: tensors are filled, copied and rearranged. Everything but a fill is a copy of a box with strides. */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../../../../lookup.ts';
import {defineKernel, type WasmBackend} from '../backend.ts';
import {around} from './rows.ts';

/** Dimensions that the kernel `copyStrided` takes. */
const boxRank = 6;

interface Unary {
  readonly x: tf.TensorInfo;
}

interface Gathered extends Unary {
  readonly indices: tf.TensorInfo;
}

interface Segments extends Unary {
  readonly segmentIds: tf.TensorInfo;
}

/** A copy's box: sizes, and the strides (in elements) in the source and the target, outermost first. */
interface Box {
  readonly sizes: readonly number[];
  readonly from: readonly number[];
  readonly to: readonly number[];
}

/** Elements between neighbours of each dimension, the last one included. */
function strides(shape: readonly number[]): number[] {
  return shape.map((_, i) => tf.util.sizeFromShape(shape.slice(i + 1)));
}

/** The same box with neighbouring dimensions merged where both sides step through them evenly. */
function merged({sizes, from, to}: Box): Box {
  const out = {sizes: [] as number[], from: [] as number[], to: [] as number[]};
  for (const [i, size] of sizes.entries()) {
    if (size === 1) continue;
    const last = out.sizes.length - 1;
    if (last >= 0 && out.from[last] === item(from, i) * size && out.to[last] === item(to, i) * size) {
      out.sizes[last] = item(out.sizes, last) * size;
      out.from[last] = item(from, i);
      out.to[last] = item(to, i);
    } else {
      out.sizes.push(size);
      out.from.push(item(from, i));
      out.to.push(item(to, i));
    }
  }
  return out;
}

/** Copies a box of 4-byte elements; addresses are those of its first element on each side. */
function copyBox(backend: WasmBackend, source: number, target: number, box: Box): void {
  const {sizes, from, to} = merged(box);
  const pad = <T>(list: readonly T[], fill: T): T[] => [...Array<T>(boxRank - list.length).fill(fill), ...list];
  const ints = [
    source,
    target,
    ...pad(sizes, 1),
    ...pad(from, sizes.length === 0 ? 1 : 0),
    ...pad(to, sizes.length === 0 ? 1 : 0),
  ];
  backend.run('copyStrided', ints, [], backend.threadsFor(tf.util.sizeFromShape([...sizes])));
}

/** Whether `copyBox` can move this tensor: as many dimensions as `copyBox` cannot merge must fit. */
function movable({dtype, shape}: tf.TensorInfo, box?: Box): boolean {
  const rank = box === undefined ? shape.length : merged(box).sizes.length;
  return (dtype === 'float32' || dtype === 'int32') && rank <= boxRank;
}

function filled(backend: WasmBackend, shape: readonly number[], value: number): tf.TensorInfo {
  const out = backend.output(shape);
  const length = tf.util.sizeFromShape([...shape]);
  backend.run('fillFloats', [backend.pointer(out), length], [value], backend.threadsFor(length));
  return out;
}

const fillLike = (kernelName: string, value: number): tf.KernelConfig =>
  defineKernel<Unary>(kernelName, ({backend, inputs: {x}, cpu}) =>
    x.dtype === 'float32' ? filled(backend, x.shape, value) : cpu(),
  );

export const memoryKernels: readonly tf.KernelConfig[] = [
  defineKernel<object, tf.FillAttrs>(tf.Fill, ({backend, attrs: {shape, value, dtype}, cpu}) =>
    typeof value === 'number' && dtype === 'float32' ? filled(backend, shape, value) : cpu(),
  ),
  fillLike(tf.ZerosLike, 0),
  fillLike(tf.OnesLike, 1),

  // The cpu backend relabels integers as floats without converting them, which needs JavaScript numbers.
  defineKernel<Unary, tf.CastAttrs>(tf.Cast, ({backend, inputs: {x}, attrs: {dtype}, cpu}) => {
    const widens =
      (x.dtype === 'int32' && dtype === 'float32') ||
      (x.dtype === 'bool' && (dtype === 'float32' || dtype === 'int32'));
    return widens ? backend.makeTensorInfo(x.shape, dtype, backend.values(x)) : cpu();
  }),

  defineKernel<Unary, tf.PadV2Attrs>(tf.PadV2, ({backend, inputs: {x}, attrs: {paddings, constantValue}, cpu}) => {
    if (!movable(x) || x.dtype !== 'float32') return cpu();
    const out = filled(
      backend,
      x.shape.map((size, i) => size + item(paddings, i)[0] + item(paddings, i)[1]),
      constantValue,
    );
    const to = strides(out.shape);
    const first = to.reduce((sum, stride, i) => sum + stride * item(paddings, i)[0], 0);
    copyBox(backend, backend.pointer(x), backend.pointer(out) + 4 * first, {
      sizes: x.shape,
      from: strides(x.shape),
      to,
    });
    return out;
  }),

  defineKernel<Unary, tf.SliceAttrs>(tf.Slice, ({backend, inputs: {x}, attrs, cpu}) => {
    if (!movable(x)) return cpu();
    const [begin, size] = tf.slice_util.parseSliceParams(x, attrs.begin, attrs.size) as [number[], number[]];
    tf.slice_util.assertParamsValid(x, begin, size);
    const out = backend.output(size, x.dtype);
    const from = strides(x.shape);
    const first = from.reduce((sum, stride, i) => sum + stride * item(begin, i), 0);
    copyBox(backend, backend.pointer(x) + 4 * first, backend.pointer(out), {sizes: size, from, to: strides(size)});
    return out;
  }),

  defineKernel<Unary, tf.TransposeAttrs>(tf.Transpose, ({backend, inputs: {x}, attrs: {perm}, cpu}) => {
    const shape = perm.map((axis) => item(x.shape, axis));
    const from = strides(x.shape);
    const box = {sizes: shape, from: perm.map((axis) => item(from, axis)), to: strides(shape)};
    if (!movable(x, box)) return cpu();
    const out = backend.output(shape, x.dtype);
    copyBox(backend, backend.pointer(x), backend.pointer(out), box);
    return out;
  }),

  defineKernel<Unary, tf.ReverseAttrs>(tf.Reverse, ({backend, inputs: {x}, attrs: {dims}, cpu}) => {
    if (!movable(x)) return cpu();
    const out = backend.output(x.shape, x.dtype);
    const axes = tf.util.parseAxisParam(dims, x.shape);
    const to = strides(x.shape);
    const last = axes.reduce((sum, axis) => sum + item(to, axis) * Math.max(0, item(x.shape, axis) - 1), 0);
    copyBox(backend, backend.pointer(x) + 4 * last, backend.pointer(out), {
      sizes: x.shape,
      from: to.map((stride, axis) => (axes.includes(axis) ? -stride : stride)),
      to,
    });
    return out;
  }),

  defineKernel<tf.ConcatInputs, tf.ConcatAttrs>(tf.Concat, ({backend, inputs, attrs, cpu}) => {
    const dtype = item(inputs, 0).dtype;
    if (!inputs.every((x) => movable(x) && x.dtype === dtype)) return cpu();
    const axis = item(tf.util.parseAxisParam(attrs.axis, item(inputs, 0).shape), 0);
    const shapes = inputs.map(({shape}) => shape);
    tf.backend_util.assertParamsConsistent(shapes, axis);
    const out = backend.output(tf.backend_util.computeOutShape(shapes, axis), dtype);
    const to = strides(out.shape);
    let target = backend.pointer(out);
    for (const x of inputs) {
      copyBox(backend, backend.pointer(x), target, {sizes: x.shape, from: strides(x.shape), to});
      target += 4 * item(to, axis) * item(x.shape, axis);
    }
    return out;
  }),

  defineKernel<Gathered, tf.GatherV2Attrs>(tf.GatherV2, ({backend, inputs: {x, indices}, attrs, cpu}) => {
    if (!movable(x) || indices.dtype !== 'int32' || attrs.batchDims !== 0) return cpu();
    const axis = item(tf.util.parseAxisParam(attrs.axis, x.shape), 0);
    const [outer, size, inner] = around(x.shape, axis, axis + 1);
    const at = backend.values(indices);
    if (at.some((index) => index < 0 || index >= size)) return cpu();
    const out = backend.output([...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)], x.dtype);
    const [source, target] = [backend.values(x), backend.values(out)];
    let to = 0;
    for (let row = 0; row < outer; row++) {
      for (const index of at) {
        const from = (row * size + index) * inner;
        for (let i = 0; i < inner; i++) target[to++] = source[from + i] as number;
      }
    }
    return out;
  }),

  // The cpu backend compares every row with every segment.
  defineKernel<Segments, tf.UnsortedSegmentSumAttrs>(
    tf.UnsortedSegmentSum,
    ({backend, inputs: {x, segmentIds}, attrs: {numSegments}, cpu}) => {
      if (x.dtype !== 'float32' || segmentIds.dtype !== 'int32' || segmentIds.shape.length !== 1) return cpu();
      const out = filled(backend, [numSegments, ...x.shape.slice(1)], 0);
      const inner = tf.util.sizeFromShape(x.shape.slice(1));
      const [source, target] = [backend.floats(x), backend.floats(out)];
      for (const [row, segment] of backend.values(segmentIds).entries()) {
        if (segment < 0 || segment >= numSegments) continue;
        const [from, to] = [row * inner, segment * inner];
        for (let i = 0; i < inner; i++) target[to + i] = (target[to + i] as number) + (source[from + i] as number);
      }
      return out;
    },
  ),

  defineKernel<Unary, tf.TileAttrs>(tf.Tile, ({backend, inputs: {x}, attrs: {reps}, cpu}) => {
    const from = strides(x.shape);
    const shape = x.shape.map((size, i) => size * item(reps, i));
    const to = strides(shape);
    const box = merged({
      sizes: x.shape.flatMap((size, i) => [item(reps, i), size]),
      from: from.flatMap((stride) => [0, stride]),
      to: to.flatMap((stride, i) => [stride * item(x.shape, i), stride]),
    });
    if (!movable(x, box)) return cpu();
    const out = backend.output(shape, x.dtype);
    copyBox(backend, backend.pointer(x), backend.pointer(out), box);
    return out;
  }),
];
