/** Tensors with a channel as last axis, cut into rows of whole vectors: the layout of ../assembly/rows.ts. */
import type * as tf from '@tensorflow/tfjs-core';

import type {WasmBackend} from '../backend.ts';

/** Floats of a cache line: a row is a multiple of it. */
const line = 16;

export interface RowLayout {
  readonly rows: number;
  /** Floats in a row: the least common multiple of the channels and 16. */
  readonly width: number;
  /** Floats after the last whole row. */
  readonly tail: number;
}

export function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** The rows of `size` floats whose last axis has `channels`; 1 for parameters that the whole tensor shares. */
export function rowLayout(size: number, channels: number): RowLayout {
  const width = channels === 0 ? line : (channels / greatestCommonDivisor(channels, line)) * line;
  const rows = Math.floor(size / width);
  return {rows, width, tail: size - rows * width};
}

/** Calls `use` with the address of `parameter` ([] or [C]) repeated to `width` floats. */
export function withRow(
  backend: WasmBackend,
  parameter: tf.TensorInfo,
  width: number,
  use: (address: number) => void,
): void {
  const values = backend.floats(parameter);
  if (values.length === width) {
    use(backend.pointer(parameter));
    return;
  }
  const row = backend.allocate(4 * width);
  backend.run('repeatRow', [backend.pointer(parameter), values.length, row, width], [], 1);
  use(row);
  backend.release(row);
}

const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);

/** Elements of a tensor. */
export function sizeOf({shape}: tf.TensorInfo): number {
  return product(shape);
}

/** Elements before, in and after the axes from `first` to before `end`. */
export function around(shape: readonly number[], first: number, end: number): readonly [number, number, number] {
  return [product(shape.slice(0, first)), product(shape.slice(first, end)), product(shape.slice(end))];
}
