/** Products of matrices, as 1×1 convolutions over their rows (conv.ts). */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../../../../lookup.ts';
import {backendName, defineKernel, type WasmBackend} from '../backend.ts';
import {rowsGeometry} from './conv-geometry.ts';
import {convolve, convolveFilterGradient} from './conv.ts';
import {activated, clipRange, noClip, type Clip} from './fused-activation.ts';
import {integerProduct} from './integer-products.ts';
import {panelCount} from './panels.ts';

interface Operands {
  readonly a: tf.TensorInfo;
  readonly b: tf.TensorInfo;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** Transposes the last two dimensions. */
function transposed(backend: WasmBackend, x: tf.TensorInfo): tf.TensorInfo {
  const perm = x.shape.map((_, i) => i);
  perm.push(...perm.splice(-2).reverse());
  const {kernelFunc} = tf.getKernel(tf.Transpose, backendName);
  return kernelFunc({inputs: {x}, attrs: {perm}, backend}) as tf.TensorInfo;
}

interface ProductSizes {
  readonly count: number;
  readonly matricesA: number;
  readonly matricesB: number;
  readonly rows: number;
  readonly length: number;
  readonly columns: number;
}

/** Many products at once: every thread takes whole ones. */
function products(
  backend: WasmBackend,
  {a, b, y}: {readonly a: tf.TensorInfo; readonly b: tf.TensorInfo; readonly y: tf.TensorInfo},
  {count, matricesA, matricesB, rows, length, columns}: ProductSizes,
  transposed: readonly [boolean, boolean],
): void {
  const threads = backend.threadsFor(count * rows * length * columns);
  const entries = transposed[0] ? 72 * length : 8 * rows;
  const panels = 32 * panelCount(columns) * (length + 1);
  const bytes = 64 * Math.ceil((256 + entries + panels) / 64);
  const scratch = backend.allocate(threads * bytes);
  const addresses = [a, b, y].map((info) => backend.pointer(info));
  const sizes = [count, matricesA, matricesB, rows, length, columns];
  backend.run('products', [...addresses, scratch, ...sizes, ...transposed.map(Number), bytes], [], threads);
  backend.release(scratch);
}

/** clip(a · b + bias), bias [columns] at an address or 0. Batches are broadcast as tfjs' cpu backend does it. */
function product(
  backend: WasmBackend,
  {a, b, transposeA, transposeB}: Operands,
  bias: number,
  range: Clip,
): tf.TensorInfo {
  const [rowsA, columnsA] = a.shape.slice(-2) as [number, number];
  const [rowsB, columnsB] = b.shape.slice(-2) as [number, number];
  const [rows, length] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
  const [lengthB, columns] = transposeB ? [columnsB, rowsB] : [rowsB, columnsB];
  tf.util.assert(
    length === lengthB,
    () =>
      `matMul: inner shapes ${length} and ${lengthB} of [${a.shape.join(', ')}] and [${b.shape.join(', ')}] with ` +
      `transposeA=${transposeA} and transposeB=${transposeB} must match.`,
  );
  const batchesA = tf.util.sizeFromShape(a.shape.slice(0, -2));
  const batchesB = tf.util.sizeFromShape(b.shape.slice(0, -2));
  const batchShape = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const y = backend.output([...batchShape, rows, columns]);

  const count = tf.util.sizeFromShape(batchShape);
  if (count >= Math.max(2, backend.threads) && bias === 0 && range === noClip) {
    products(backend, {a, b, y}, {count, matricesA: batchesA, matricesB: batchesB, rows, length, columns}, [
      transposeA,
      transposeB,
    ]);
    return y;
  }
  if (count === 1 && !transposeA && !transposeB) {
    const sizes = {x: a, w: b, target: backend.pointer(y), bias, rows, length, columns, range};
    if (integerProduct(backend, sizes)) return y;
  }
  // aᵀ · b sums outer products of rows, as a filter gradient does.
  const outer = transposeA && !transposeB && bias === 0 && range === noClip;
  const left = transposeA && !outer ? transposed(backend, a) : a;
  for (let i = 0; i < count; i++) {
    const source = backend.pointer(left) + 4 * (i % batchesA) * rows * length;
    const other = backend.pointer(b) + 4 * (i % batchesB) * length * columns;
    const target = backend.pointer(y) + 4 * i * rows * columns;
    if (outer) {
      convolveFilterGradient(backend, source, other, target, rowsGeometry(length, rows, columns));
      continue;
    }
    const weights = {
      ...{source: other, bias, down: 1, across: 1, first: 0, downStride: 0, acrossStride: 0, length, columns},
      ...(transposeB ? {stepStride: 1, columnStride: length} : {stepStride: columns, columnStride: 1}),
    };
    const dense = {offset: 0, image: 0, row: columns, column: 0};
    convolve(backend, source, target, weights, rowsGeometry(rows, length, columns), dense, range);
  }
  if (left !== a) backend.disposeData(left.dataId);
  return y;
}

export const matMulKernels: readonly tf.KernelConfig[] = [
  defineKernel<{a: tf.TensorInfo; b: tf.TensorInfo}, tf.BatchMatMulAttrs>(
    tf.BatchMatMul,
    ({backend, inputs: {a, b}, attrs: {transposeA, transposeB}, cpu}) =>
      a.dtype === 'float32' && b.dtype === 'float32'
        ? product(backend, {a, b, transposeA, transposeB}, 0, noClip)
        : cpu(),
  ),

  defineKernel<
    {a: tf.TensorInfo; b: tf.TensorInfo; bias?: tf.TensorInfo; preluActivationWeights?: tf.TensorInfo},
    tf._FusedMatMulAttrs
  >(tf._FusedMatMul, ({backend, inputs, attrs, cpu}) => {
    const {a, b, bias, preluActivationWeights} = inputs;
    const {transposeA, transposeB} = attrs;
    const columns = item(b.shape, b.shape.length - (transposeB ? 2 : 1));
    const perColumn =
      bias === undefined || (bias.shape.at(-1) === columns && tf.util.sizeFromShape(bias.shape) === columns);
    if (a.dtype !== 'float32' || b.dtype !== 'float32' || !perColumn) return cpu();
    const range = clipRange(attrs.activation);
    const address = bias === undefined ? 0 : backend.pointer(bias);
    const y = product(backend, {a, b, transposeA, transposeB}, address, range ?? noClip);
    return range === null ? activated(backend, y, attrs, preluActivationWeights) : y;
  }),
];
