/** Data movement: fill and copy. Addresses are byte addresses; sizes are in elements of 4 bytes unless said otherwise. */
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
  const start = shareStart(length, thread, threads);
  const end = shareStart(length, thread + 1, threads);
  const vector = f32x4.splat(value);
  let p = out + ((<usize>start) << 2);
  const last = out + ((<usize>end) << 2);
  for (; p + 16 <= last; p += 16) v128.store(p, vector);
  for (; p < last; p += 4) store<f32>(p, value);
}
