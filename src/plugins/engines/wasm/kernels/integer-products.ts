/** Products of quantized matrices on whole numbers (../assembly/integer-products.ts). */
import type * as tf from '@tensorflow/tfjs-core';

import {item} from '../../../../lookup.ts';
import type {Grid} from '../../../../tensor/kernels.ts';
import {tileColumns, tileRows} from '../assembly/shared.ts';
import type {WasmBackend} from '../backend.ts';
import type {Clip} from './fused-activation.ts';
import {panelCount, withFlag} from './panels.ts';

/** Bytes of packed rows that stay in the first-level cache next to a panel. */
const bandBytes = 16 * 1024;
/** Rows below which packing the weights costs more than is gained. */
const fewestRows = 16;

/** Values scale · (code + zero), codes whole numbers 0 … levels − 1 + lowest. */
interface Codes {
  readonly lowest: number;
  readonly highest: number;
  readonly zero: number;
}

/** Signed bytes; null where the grid has more levels. */
function rowCodes({qmin, qmax, offset}: Grid): Codes | null {
  const base = qmin >= -128 && qmax <= 127 ? 0 : qmin + 128;
  return qmax - base <= 127 ? {lowest: qmin - base, highest: qmax - base, zero: base + offset} : null;
}

/** Counted from the lowest level. */
function weightCodes({qmin, qmax, offset}: Grid): Codes {
  return {lowest: 0, highest: qmax - qmin, zero: qmin + offset};
}

/** Steps of which 16 bits hold the sum of two products each. */
function longestStretch(a: Codes, c: Codes): number {
  return Math.floor(32_767 / (2 * Math.max(-a.lowest, a.highest) * c.highest));
}

/** Whether a code can be read from a value: the step neither vanishes nor overflows in the product with its inverse. */
function invertible(scale: number): boolean {
  return Math.abs(scale) > 1e-30 && Math.abs(scale) < 1e30;
}

interface IntegerProduct {
  /** [rows, length] */
  readonly x: tf.TensorInfo;
  /** [length, columns] */
  readonly w: tf.TensorInfo;
  /** Addresses: of the product, and of a value for each column, or 0. */
  readonly target: number;
  readonly bias: number;
  readonly rows: number;
  readonly length: number;
  readonly columns: number;
  readonly range: Clip;
}

/**
 * target = clip(x · w + bias) where both are known to lie on grids of few levels.
 * @returns whether it was done: else an operand has other values, too many levels, a NaN or an infinity
 */
export function integerProduct(backend: WasmBackend, product: IntegerProduct): boolean {
  const {x, w, target, bias, rows, length, columns, range} = product;
  const left = backend.levels(x);
  const right = backend.levels(w);
  if (left === null || right === null || rows < fewestRows || length === 0 || columns === 0) return false;
  const perColumn = right.scale.length === columns;
  if (left.scale.length !== 1 || (!perColumn && right.scale.length !== 1)) return false;
  const step = item(left.scale, 0);
  if (!invertible(step) || !right.scale.every((scale) => invertible(scale) && invertible(scale * step))) return false;
  const a = rowCodes(left.grid);
  const c = weightCodes(right.grid);
  if (a === null || c.highest > 127) return false;
  const stretch = longestStretch(a, c);
  const largest = Math.max(Math.abs(a.lowest + a.zero), Math.abs(a.highest + a.zero));
  const heaviest = Math.max(Math.abs(c.zero), Math.abs(c.highest + c.zero));
  if (stretch < 2 || 4 * largest * heaviest * length >= 2 ** 31) return false;

  const padded = panelCount(columns) * tileColumns;
  const numbers = new Float32Array(2 * padded);
  for (let j = 0; j < columns; j++) {
    const scale = item(right.scale, perColumn ? j : 0);
    numbers[j] = 1 / scale;
    numbers[padded + j] = (step * scale) / 4;
  }
  const parameters = backend.makeTensorInfo([2 * padded], 'float32', numbers);
  const inverses = backend.pointer(parameters);
  const threads = backend.threadsFor(rows * length * columns);
  const steps = Math.ceil(length / 4);
  const panels = backend.allocate(panelCount(columns) * (96 + 32 * steps));
  const groups = Math.ceil(rows / tileRows);
  const packedBytes = 16 + 16 * steps;
  const band = Math.max(1, Math.min(Math.ceil(groups / threads), Math.floor(bandBytes / packedBytes)));
  const bytes = 64 * Math.ceil((128 + band * packedBytes) / 64);
  const scratch = backend.allocate(threads * bytes);
  const spoilt = withFlag(backend, (notFinite) => {
    backend.run(
      'packWeightCodes',
      [
        ...[backend.pointer(w), panels, inverses, inverses + 4 * padded, bias, notFinite, length, columns],
        ...[4 * a.zero, 4 * a.zero * c.zero * length],
      ],
      [c.zero],
      Math.min(threads, backend.threadsFor(length * columns)),
    );
    backend.run(
      'integerProduct',
      [
        ...[backend.pointer(x), target, panels, scratch, rows, length, columns, notFinite],
        ...[band, stretch, 4 * c.zero, bytes],
      ],
      [1 / step, a.zero, range.min, range.max],
      threads,
    );
  });
  backend.release(scratch);
  backend.release(panels);
  backend.disposeData(parameters.dataId);
  return !spoilt;
}
