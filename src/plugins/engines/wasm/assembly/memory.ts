/** Data movement: fill and copy, for elements of 4 bytes. */
import {float, int, pointer, shareStart} from './task';

/** First byte that the kernels' constants leave free. */
export function heapBase(): usize {
  return __heap_base;
}

/** fillFloats: [out, length] (value). */
export function fillFloats(task: usize, thread: i32, threads: i32): void {
  const out = pointer(task, 0);
  const length = int(task, 1);
  const value = float(task, 0);
  let p = out + (<usize>shareStart(length, thread, threads) << 2);
  const last = out + (<usize>shareStart(length, thread + 1, threads) << 2);
  const vector = f32x4.splat(value);
  for (; p + 16 <= last; p += 16) v128.store(p, vector);
  for (; p < last; p += 4) store<f32>(p, value);
}

/**
 * copyStrided: [from, to, size 0 … 5, stride in `from` 0 … 5, stride in `to` 0 … 5] copies a box of six dimensions, the last
 * one innermost. Strides are in elements and may be 0 or negative. The rows (all but the last dimension) are shared out.
 */
export function copyStrided(task: usize, thread: i32, threads: i32): void {
  const from = pointer(task, 0);
  const to = pointer(task, 1);
  const width = int(task, 7);
  const fromStep = <usize>(int(task, 13) << 2);
  const toStep = <usize>(int(task, 19) << 2);
  const size1 = int(task, 3), size2 = int(task, 4), size3 = int(task, 5), size4 = int(task, 6);
  const rows = int(task, 2) * size1 * size2 * size3 * size4;
  const end = shareStart(rows, thread + 1, threads);
  for (let row = shareStart(rows, thread, threads); row < end; row++) {
    let index = row;
    const i4 = index % size4;
    index /= size4;
    const i3 = index % size3;
    index /= size3;
    const i2 = index % size2;
    index /= size2;
    const i1 = index % size1;
    const i0 = index / size1;
    let source = from + (<usize>(i0 * int(task, 8) + i1 * int(task, 9) + i2 * int(task, 10) + i3 * int(task, 11) + i4 * int(task, 12)) << 2);
    let target = to + (<usize>(i0 * int(task, 14) + i1 * int(task, 15) + i2 * int(task, 16) + i3 * int(task, 17) + i4 * int(task, 18)) << 2);
    if (fromStep == 4 && toStep == 4) {
      const last = target + (<usize>width << 2);
      for (; target + 16 <= last; target += 16, source += 16) v128.store(target, v128.load(source));
      for (; target < last; target += 4, source += 4) store<u32>(target, load<u32>(source));
    } else {
      for (let i = 0; i < width; i++) {
        store<u32>(target, load<u32>(source));
        source += fromStep;
        target += toStep;
      }
    }
  }
}
