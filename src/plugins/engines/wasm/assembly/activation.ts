/** Residual addition with activation range, and the gradient of a range (src/tensor/kernels.ts). */
import {clip, storeUpTo} from './rows';
import {float, int, pointer, shareStartAligned} from './task';

/** addClip: [a, b, y, length] (min, max): clip(a + b, min, max). */
export function addClip(task: usize, thread: i32, threads: i32): void {
  const length = int(task, 3);
  const low = f32x4.splat(float(task, 0));
  const high = f32x4.splat(float(task, 1));
  const end = <usize>shareStartAligned(length, 16, thread + 1, threads) << 2;
  const a = pointer(task, 0);
  const b = pointer(task, 1);
  const y = pointer(task, 2);
  for (let i = <usize>shareStartAligned(length, 16, thread, threads) << 2; i < end; i += 16) {
    storeUpTo(y + i, clip(f32x4.add(v128.load(a + i), v128.load(b + i)), low, high), end - i);
  }
}

/** leakyGradient: [x, dy, dx, length] (alpha): dy where x is positive, else alpha · dy. */
export function leakyGradient(task: usize, thread: i32, threads: i32): void {
  const length = int(task, 3);
  const alpha = f32x4.splat(float(task, 0));
  const end = <usize>shareStartAligned(length, 16, thread + 1, threads) << 2;
  const x = pointer(task, 0);
  const dy = pointer(task, 1);
  const dx = pointer(task, 2);
  for (let i = <usize>shareStartAligned(length, 16, thread, threads) << 2; i < end; i += 16) {
    const d = v128.load(dy + i);
    const positive = f32x4.gt(v128.load(x + i), f32x4.splat(0));
    storeUpTo(dx + i, v128.bitselect(d, f32x4.mul(d, alpha), positive), end - i);
  }
}

/** clipGrad: [y, dy, dx, length] (min, max): dy where min < y < max, else 0. */
export function clipGrad(task: usize, thread: i32, threads: i32): void {
  const length = int(task, 3);
  const low = f32x4.splat(float(task, 0));
  const high = f32x4.splat(float(task, 1));
  const end = <usize>shareStartAligned(length, 16, thread + 1, threads) << 2;
  const outputs = pointer(task, 0);
  const dy = pointer(task, 1);
  const dx = pointer(task, 2);
  for (let i = <usize>shareStartAligned(length, 16, thread, threads) << 2; i < end; i += 16) {
    const y = v128.load(outputs + i);
    const between = v128.and(f32x4.gt(y, low), f32x4.lt(y, high));
    storeUpTo(dx + i, v128.and(v128.load(dy + i), between), end - i);
  }
}
