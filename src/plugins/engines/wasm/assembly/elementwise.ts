/**
 * Element-wise arithmetic of one and two tensors. Operations are numbered in shared.ts.
 *
 * Those of two tensors stand here as numbers: with the names of constants the compiler no longer makes a loop for each of them, and
 * `broadcast` takes up to 3.8 times as long.
 */
import {clip, storeUpTo} from './rows';
import {
  absolute,
  clipping,
  errorFunction,
  exponential,
  leaky,
  logarithm,
  negation,
  reciprocalRoot,
  relu,
  relu6,
  roundEven,
  sigmoid,
  square,
  squareRoot,
} from './shared';
import {float, int, pointer, shareStart, shareStartAligned} from './task';
import {exp4, normalTail4, sigmoid4} from './vector-math';

// @ts-ignore: decorator
@inline
function binaryValue(operation: i32, a: v128, b: v128): v128 {
  if (operation == 0) return f32x4.add(a, b);
  if (operation == 1) return f32x4.sub(a, b);
  if (operation == 2) return f32x4.mul(a, b);
  if (operation == 3) return f32x4.div(a, b);
  if (operation == 4) return f32x4.max(a, b);
  return f32x4.min(a, b);
}

// @ts-ignore: decorator
@inline
function binaryRows(operation: i32, task: usize, thread: i32, threads: i32): void {
  const rows = int(task, 3);
  const bytes = <usize>int(task, 4) << 2;
  const aStride = <usize>int(task, 6) << 2;
  const bStride = <usize>int(task, 7) << 2;
  const start = shareStart(rows, thread, threads);
  const end = shareStart(rows, thread + 1, threads);
  let a = pointer(task, 0) + <usize>start * aStride;
  let b = pointer(task, 1) + <usize>start * bStride;
  let y = pointer(task, 2) + <usize>start * bytes;
  for (let row = start; row < end; row++, a += aStride, b += bStride, y += bytes) {
    for (let j: usize = 0; j < bytes; j += 64) {
      v128.store(y + j, binaryValue(operation, v128.load(a + j), v128.load(b + j)));
      v128.store(y + j, binaryValue(operation, v128.load(a + j, 16), v128.load(b + j, 16)), 16);
      v128.store(y + j, binaryValue(operation, v128.load(a + j, 32), v128.load(b + j, 32)), 32);
      v128.store(y + j, binaryValue(operation, v128.load(a + j, 48), v128.load(b + j, 48)), 48);
    }
  }
  if (thread != threads - 1) return;
  const tail = <usize>int(task, 5) << 2;
  for (let j: usize = 0; j < tail; j += 16) {
    storeUpTo(y + j, binaryValue(operation, v128.load(a + j), v128.load(b + j)), tail - j);
  }
}

/**
 * binary: [a, b, y, rows, width, tail, aStride, bStride, operation]: rows of `width` floats (a multiple of 16) and a tail;
 * an operand's stride is the width, or 0 where its one row serves all.
 * 0 add, 1 subtract, 2 multiply, 3 divide, 4 maximum, 5 minimum.
 */
export function binary(task: usize, thread: i32, threads: i32): void {
  const operation = int(task, 8);
  if (operation == 0) binaryRows(0, task, thread, threads);
  else if (operation == 1) binaryRows(1, task, thread, threads);
  else if (operation == 2) binaryRows(2, task, thread, threads);
  else if (operation == 3) binaryRows(3, task, thread, threads);
  else if (operation == 4) binaryRows(4, task, thread, threads);
  else binaryRows(5, task, thread, threads);
}

/** The tensors of tfjs' cpu kernels: Relu turns −0 into 0, Clip does not; NaN stays NaN. */
// @ts-ignore: decorator
@inline
function unaryValue(operation: i32, x: v128, low: v128, high: v128): v128 {
  const zero = f32x4.splat(0);
  const one = f32x4.splat(1);
  if (operation == relu) return f32x4.add(f32x4.pmax(x, zero), zero);
  if (operation == relu6) return f32x4.add(clip(x, zero, f32x4.splat(6)), zero);
  if (operation == clipping) return clip(x, low, high);
  if (operation == squareRoot) return f32x4.sqrt(x);
  if (operation == reciprocalRoot) return f32x4.div(one, f32x4.sqrt(x));
  if (operation == square) return f32x4.mul(x, x);
  if (operation == negation) return f32x4.neg(x);
  if (operation == absolute) return f32x4.abs(x);
  if (operation == leaky) return v128.bitselect(x, f32x4.mul(x, low), f32x4.gt(x, f32x4.splat(0)));
  return f32x4.nearest(x);
}

// @ts-ignore: decorator
@inline
function unaryVectors(operation: i32, task: usize, thread: i32, threads: i32): void {
  const length = int(task, 2);
  const low = f32x4.splat(float(task, 0));
  const high = f32x4.splat(float(task, 1));
  const end = <usize>shareStartAligned(length, 16, thread + 1, threads) << 2;
  const x = pointer(task, 0);
  const y = pointer(task, 1);
  for (let i = <usize>shareStartAligned(length, 16, thread, threads) << 2; i < end; i += 16) {
    storeUpTo(y + i, unaryValue(operation, v128.load(x + i), low, high), end - i);
  }
}

/**
 * unary: [x, y, length, operation] (low, high: of the clip; low: alpha of the leaky Relu).
 */
export function unary(task: usize, thread: i32, threads: i32): void {
  const operation = int(task, 3);
  if (operation == relu) unaryVectors(relu, task, thread, threads);
  else if (operation == relu6) unaryVectors(relu6, task, thread, threads);
  else if (operation == clipping) unaryVectors(clipping, task, thread, threads);
  else if (operation == squareRoot) unaryVectors(squareRoot, task, thread, threads);
  else if (operation == reciprocalRoot) unaryVectors(reciprocalRoot, task, thread, threads);
  else if (operation == square) unaryVectors(square, task, thread, threads);
  else if (operation == negation) unaryVectors(negation, task, thread, threads);
  else if (operation == absolute) unaryVectors(absolute, task, thread, threads);
  else if (operation == leaky) unaryVectors(leaky, task, thread, threads);
  else unaryVectors(roundEven, task, thread, threads);
}

// @ts-ignore: decorator
@inline
function transcendentalVectors(operation: i32, task: usize, thread: i32, threads: i32): void {
  const end = <usize>shareStartAligned(int(task, 2), 16, thread + 1, threads) << 2;
  for (let i = <usize>shareStartAligned(int(task, 2), 16, thread, threads) << 2; i < end; i += 16) {
    const x = v128.load(pointer(task, 0) + i);
    let value: v128;
    if (operation == exponential) {
      value = exp4(x);
    } else if (operation == sigmoid) {
      value = sigmoid4(x);
    } else {
      // erf(x) = 1 − 2 · (1 − Φ(√2 · x)) where x is positive; it is odd.
      const scaled = f32x4.mul(x, f32x4.splat(<f32>Math.SQRT2));
      const tail = normalTail4(scaled, exp4(f32x4.neg(f32x4.mul(x, x))));
      const magnitude = f32x4.sub(f32x4.splat(1), f32x4.add(tail, tail));
      value = v128.bitselect(x, magnitude, f32x4.splat(-0.0));
    }
    storeUpTo(pointer(task, 1) + i, value, end - i);
  }
}

/** transcendental: [x, y, length, operation]; logarithm and tangent in float64. */
export function transcendental(task: usize, thread: i32, threads: i32): void {
  const length = int(task, 2);
  const operation = int(task, 3);
  if (operation == exponential) return transcendentalVectors(exponential, task, thread, threads);
  if (operation == sigmoid) return transcendentalVectors(sigmoid, task, thread, threads);
  if (operation == errorFunction) return transcendentalVectors(errorFunction, task, thread, threads);
  const end = <usize>shareStartAligned(length, 16, thread + 1, threads) << 2;
  const inputs = pointer(task, 0);
  const y = pointer(task, 1);
  for (let i = <usize>shareStartAligned(length, 16, thread, threads) << 2; i < end; i += 4) {
    const x = <f64>load<f32>(inputs + i);
    store<f32>(y + i, <f32>(operation == logarithm ? Math.log(x) : Math.tanh(x)));
  }
}

/** repeatRow: [x [length], length, row [width], width]: x again and again; one thread. */
export function repeatRow(task: usize, thread: i32, threads: i32): void {
  const x = pointer(task, 0);
  const bytes = <usize>int(task, 1) << 2;
  const row = pointer(task, 2);
  const end = <usize>int(task, 3) << 2;
  for (let i: usize = 0; i < end; i += bytes) memory.copy(row + i, x, bytes);
}

// @ts-ignore: decorator
@inline
function broadcastRows(operation: i32, task: usize, thread: i32, threads: i32): void {
  const size1 = int(task, 4), size2 = int(task, 5), width = int(task, 6);
  const rows = int(task, 3) * size1 * size2;
  const aStep = int(task, 10), bStep = int(task, 14);
  const bytes = <usize>width << 2;
  const end = shareStart(rows, thread + 1, threads);
  for (let row = shareStart(rows, thread, threads); row < end; row++) {
    const i2 = row % size2;
    const i1 = (row / size2) % size1;
    const i0 = row / size2 / size1;
    const a = pointer(task, 0) + (<usize>(i0 * int(task, 7) + i1 * int(task, 8) + i2 * int(task, 9)) << 2);
    const b = pointer(task, 1) + (<usize>(i0 * int(task, 11) + i1 * int(task, 12) + i2 * int(task, 13)) << 2);
    const y = pointer(task, 2) + <usize>row * bytes;
    if (aStep == 0) {
      const one = v128.load32_splat(a);
      for (let j: usize = 0; j < bytes; j += 16) {
        storeUpTo(y + j, binaryValue(operation, one, v128.load(b + j)), bytes - j);
      }
    } else if (bStep == 0) {
      const one = v128.load32_splat(b);
      for (let j: usize = 0; j < bytes; j += 16) {
        storeUpTo(y + j, binaryValue(operation, v128.load(a + j), one), bytes - j);
      }
    } else {
      for (let j: usize = 0; j < bytes; j += 16) {
        storeUpTo(y + j, binaryValue(operation, v128.load(a + j), v128.load(b + j)), bytes - j);
      }
    }
  }
}

/**
 * broadcast: [a, b, y, size 0 … 3, stride of a 0 … 3, stride of b 0 … 3, operation] of four dimensions, the last one
 * innermost, where a stride is 0 or 1. Strides are in elements, 0 where an operand is repeated. Operations as in `binary`.
 */
export function broadcast(task: usize, thread: i32, threads: i32): void {
  const operation = int(task, 15);
  if (operation == 0) broadcastRows(0, task, thread, threads);
  else if (operation == 1) broadcastRows(1, task, thread, threads);
  else if (operation == 2) broadcastRows(2, task, thread, threads);
  else if (operation == 3) broadcastRows(3, task, thread, threads);
  else if (operation == 4) broadcastRows(4, task, thread, threads);
  else broadcastRows(5, task, thread, threads);
}
