/** Gelu, x · Φ(x), and its approximation by tanh, with their gradients (src/tensor/gelu.ts). */
import {storeUpTo} from './rows';
import {int, madd, pointer, shareStartAligned} from './task';
import {expOfNegative4, normalTail4, sigmoid4} from './vector-math';

const cubic: f32 = 0.044715;
/** 2 √(2 / π): tanh's argument is half of the sigmoid's. */
const slope: f32 = 1.5957691216057308;

/** Φ(x), or σ of the approximation's argument. */
// @ts-ignore: decorator
@inline
function gate(approximate: bool, x: v128, density: v128): v128 {
  if (approximate) {
    const inner = madd(f32x4.mul(f32x4.mul(x, x), f32x4.splat(cubic)), x, x);
    return sigmoid4(f32x4.mul(inner, f32x4.splat(slope)));
  }
  const tail = normalTail4(x, density);
  return v128.bitselect(tail, f32x4.sub(f32x4.splat(1), tail), f32x4.lt(x, f32x4.splat(0)));
}

/** e^(−x²/2); the approximation does without. */
// @ts-ignore: decorator
@inline
function bell(approximate: bool, x: v128): v128 {
  return approximate ? x : expOfNegative4(f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5)));
}

// @ts-ignore: decorator
@inline
function value(approximate: bool, x: v128): v128 {
  return f32x4.mul(x, gate(approximate, x, bell(approximate, x)));
}

// @ts-ignore: decorator
@inline
function forward(approximate: bool, task: usize, thread: i32, threads: i32): void {
  const length = int(task, 2);
  const end = <usize>shareStartAligned(length, 16, thread + 1, threads) << 2;
  const source = pointer(task, 0);
  const target = pointer(task, 1);
  let i = <usize>shareStartAligned(length, 16, thread, threads) << 2;
  for (; i + 16 <= end; i += 16) v128.store(target + i, value(approximate, v128.load(source + i)));
  if (i < end) storeUpTo(target + i, value(approximate, v128.load(source + i)), end - i);
}

/** gelu: [x, y, length, approximate (0, 1)]. */
export function gelu(task: usize, thread: i32, threads: i32): void {
  if (int(task, 3) == 1) forward(true, task, thread, threads);
  else forward(false, task, thread, threads);
}

/** The derivative: Φ + x · φ, or σ + x · σ · (1 − σ) · argument'. */
// @ts-ignore: decorator
@inline
function derivative(approximate: bool, x: v128): v128 {
  const density = bell(approximate, x);
  const g = gate(approximate, x, density);
  if (!approximate) return madd(f32x4.mul(x, f32x4.splat(0.3989422804014327)), density, g);
  const inner = madd(f32x4.mul(x, x), f32x4.splat(3 * cubic * slope), f32x4.splat(slope));
  const spread = f32x4.mul(g, f32x4.sub(f32x4.splat(1), g));
  return madd(f32x4.mul(x, spread), inner, g);
}

// @ts-ignore: decorator
@inline
function backward(approximate: bool, task: usize, thread: i32, threads: i32): void {
  const length = int(task, 3);
  const end = <usize>shareStartAligned(length, 16, thread + 1, threads) << 2;
  const source = pointer(task, 0);
  const dy = pointer(task, 1);
  const target = pointer(task, 2);
  let i = <usize>shareStartAligned(length, 16, thread, threads) << 2;
  for (; i + 16 <= end; i += 16) {
    const slopes = derivative(approximate, v128.load(source + i));
    v128.store(target + i, f32x4.mul(v128.load(dy + i), slopes));
  }
  if (i < end) {
    const slopes = derivative(approximate, v128.load(source + i));
    storeUpTo(target + i, f32x4.mul(v128.load(dy + i), slopes), end - i);
  }
}

/** geluGradient: [x, dy, dx, length, approximate (0, 1)]. */
export function geluGradient(task: usize, thread: i32, threads: i32): void {
  if (int(task, 4) == 1) backward(true, task, thread, threads);
  else backward(false, task, thread, threads);
}
