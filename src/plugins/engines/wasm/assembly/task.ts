/**
 * What every kernel shares: how it reads its parameters, which part of the work is its own, and multiply-add.
 *
 * A kernel is exported as `name(task: usize, thread: i32, threads: i32): void`. The parameter block at `task` holds
 * `taskInts` 32-bit integers (numbers and addresses), then floats; the main thread writes it before it wakes the others.
 */
import {taskInts} from './shared';

// @ts-ignore: decorator
@inline
export function pointer(task: usize, index: usize): usize {
  return load<usize>(task + (index << 2));
}

// @ts-ignore: decorator
@inline
export function int(task: usize, index: usize): i32 {
  return load<i32>(task + (index << 2));
}

// @ts-ignore: decorator
@inline
export function float(task: usize, index: usize): f32 {
  return load<f32>(task + ((<usize>taskInts + index) << 2));
}

/** First of `total` items that belongs to `thread`; the last one is before `shareStart(total, thread + 1, threads)`. */
// @ts-ignore: decorator
@inline
export function shareStart(total: i32, thread: i32, threads: i32): i32 {
  return <i32>((<i64>total * thread) / threads);
}

/** The same in multiples of `grain` items (the last share takes the rest). */
// @ts-ignore: decorator
@inline
export function shareStartAligned(total: i32, grain: i32, thread: i32, threads: i32): i32 {
  return min(total, shareStart((total + grain - 1) / grain, thread, threads) * grain);
}

/** a · b + c: one rounding in the relaxed-SIMD build where the machine has FMA, two roundings in the other. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}
