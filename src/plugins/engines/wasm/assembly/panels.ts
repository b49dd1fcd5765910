/** Panels: the weights of 8 output columns as a tile kernel reads them, see tiles.ts. */
import {tileColumns} from './shared';
import {int, pointer, shareStart} from './task';

/** Four steps of four columns whose steps are contiguous, to rows 32 bytes apart. Returns the sum of 0 · value. */
// @ts-ignore: decorator
@inline
function transposeQuad(source: usize, columnStride: usize, target: usize): v128 {
  const zero = f32x4.splat(0);
  const c0 = v128.load(source);
  const c1 = v128.load(source + columnStride);
  const c2 = v128.load(source + 2 * columnStride);
  const c3 = v128.load(source + 3 * columnStride);
  const low01 = v128.shuffle<f32>(c0, c1, 0, 4, 1, 5);
  const low23 = v128.shuffle<f32>(c2, c3, 0, 4, 1, 5);
  v128.store(target, v128.shuffle<i64>(low01, low23, 0, 2));
  v128.store(target, v128.shuffle<i64>(low01, low23, 1, 3), 32);
  const high01 = v128.shuffle<f32>(c0, c1, 2, 6, 3, 7);
  const high23 = v128.shuffle<f32>(c2, c3, 2, 6, 3, 7);
  v128.store(target, v128.shuffle<i64>(high01, high23, 0, 2), 64);
  v128.store(target, v128.shuffle<i64>(high01, high23, 1, 3), 96);
  const first = f32x4.add(f32x4.mul(c0, zero), f32x4.mul(c1, zero));
  return f32x4.add(first, f32x4.add(f32x4.mul(c2, zero), f32x4.mul(c3, zero)));
}

/** Copies `length` steps of 8 columns; columns from `columns` on are 0. Returns the sum of 0 · value: NaN if one is not finite. */
export function packSteps(
  source: usize,
  target: usize,
  length: i32,
  stepStride: usize,
  columnStride: usize,
  columns: i32,
): v128 {
  const zero = f32x4.splat(0);
  let check = zero;
  let k = 0;
  if (stepStride == 4 && columns == tileColumns) {
    for (; k + 4 <= length; k += 4) {
      check = f32x4.add(check, transposeQuad(source, columnStride, target));
      check = f32x4.add(check, transposeQuad(source + 4 * columnStride, columnStride, target + 16));
      source += 16;
      target += 128;
    }
  }
  for (; k < length; k++) {
    let a: v128;
    let b: v128;
    if (columnStride == 4 && columns == tileColumns) {
      a = v128.load(source);
      b = v128.load(source, 16);
      v128.store(target, a);
      v128.store(target, b, 16);
    } else {
      v128.store(target, zero);
      v128.store(target, zero, 16);
      let from = source;
      for (let j = 0; j < columns; j++) {
        store<f32>(target + (<usize>j << 2), load<f32>(from));
        from += columnStride;
      }
      a = v128.load(target);
      b = v128.load(target, 16);
    }
    check = f32x4.add(check, f32x4.add(f32x4.mul(a, zero), f32x4.mul(b, zero)));
    source += stepStride;
    target += 32;
  }
  return check;
}

/**
 * packPanels: [source, target, bias or 0, notFinite, taps down, taps across, first, stride down, stride across,
 * length, stride of a step, stride of a column, columns] (strides in floats).
 *
 * Panel j: the bias of columns 8j … 8j + 7 (or 0), then for each tap, row by row, `length` steps of 8 columns.
 * `notFinite` is the address of an integer that becomes 1 when a weight is NaN or infinite (it is left alone otherwise).
 */
export function packPanels(task: usize, thread: i32, threads: i32): void {
  const bias = pointer(task, 2);
  const down = int(task, 4);
  const across = int(task, 5);
  const length = int(task, 9);
  const stepStride = pointer(task, 10) << 2;
  const columnStride = pointer(task, 11) << 2;
  const columns = int(task, 12);
  const panels = (columns + tileColumns - 1) / tileColumns;
  const panelBytes = <usize>(down * across * length + 1) * 32;
  let check = f32x4.splat(0);
  for (let i = shareStart(panels, thread, threads); i < shareStart(panels, thread + 1, threads); i++) {
    const first = i * tileColumns;
    const here = min(tileColumns, columns - first);
    let target = pointer(task, 1) + <usize>i * panelBytes;
    for (let j = 0; j < tileColumns; j++) {
      const value: f32 = bias != 0 && j < here ? load<f32>(bias + (<usize>(first + j) << 2)) : 0;
      store<f32>(target + (<usize>j << 2), value);
    }
    target += 32;
    const start = pointer(task, 0) + <usize>first * columnStride;
    for (let y = 0; y < down; y++) {
      for (let x = 0; x < across; x++) {
        const tap = (int(task, 6) + y * int(task, 7) + x * int(task, 8)) << 2;
        check = f32x4.add(check, packSteps(start + tap, target, length, stepStride, columnStride, here));
        target += <usize>length * 32;
      }
    }
  }
  if (v128.any_true(f32x4.ne(check, check))) store<i32>(pointer(task, 3), 1);
}
