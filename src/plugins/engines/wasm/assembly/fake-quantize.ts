/** Uniform fake-quantization and its straight-through gradients; the table and the equations are in src/tensor/kernels.ts. */
import {lsqSlope, quantize} from './grid';
import {addToDoubles, blockRows} from './rows';
import {scaleClip, scaleLsq, scaleNone} from './shared';
import {float, int, pointer, shareStart} from './task';

/** fakeQuantize: [x, scale [width], y, rows, width, tail] (qmin, qmax, offset). */
export function fakeQuantize(task: usize, thread: i32, threads: i32): void {
  const rows = int(task, 3);
  const width = <usize>int(task, 4) << 2;
  const start = <usize>shareStart(rows, thread, threads) * width;
  let x = pointer(task, 0) + start;
  let y = pointer(task, 2) + start;
  const scales = pointer(task, 1);
  const qmin = f32x4.splat(float(task, 0));
  const qmax = f32x4.splat(float(task, 1));
  const offset = f32x4.splat(float(task, 2));
  const end = pointer(task, 0) + <usize>shareStart(rows, thread + 1, threads) * width;
  while (x < end) {
    for (let j: usize = 0; j < width; j += 64, x += 64, y += 64) {
      const s = scales + j;
      v128.store(y, quantize(v128.load(x), v128.load(s), offset, qmin, qmax));
      v128.store(y, quantize(v128.load(x, 16), v128.load(s, 16), offset, qmin, qmax), 16);
      v128.store(y, quantize(v128.load(x, 32), v128.load(s, 32), offset, qmin, qmax), 32);
      v128.store(y, quantize(v128.load(x, 48), v128.load(s, 48), offset, qmin, qmax), 48);
    }
  }
  if (thread != threads - 1) return;
  const tail = <usize>int(task, 5) << 2;
  for (let j: usize = 0; j < tail; j += 4) {
    const value = quantize(v128.load32_splat(x + j), v128.load32_splat(scales + j), offset, qmin, qmax);
    v128.store_lane<f32>(y + j, value, 0);
  }
}

/** All ones where x is above (`top`) or below the grid; the ends in the unit of x, so that nothing is divided. */
// @ts-ignore: decorator
@inline
function past(top: bool, x: v128, scale: v128, level: v128): v128 {
  const end = f32x4.mul(scale, level);
  return top ? f32x4.gt(x, end) : f32x4.lt(x, end);
}

/** The terms of dscale by `rule`. */
// @ts-ignore: decorator
@inline
function scaleTerms(
  rule: i32,
  x: v128,
  scale: v128,
  dy: v128,
  above: v128,
  beyond: v128,
  offset: v128,
  qmin: v128,
  qmax: v128,
): v128 {
  if (rule == scaleNone) return f32x4.splat(0);
  if (rule == scaleLsq) return f32x4.mul(dy, lsqSlope(f32x4.div(x, scale), offset, qmin, qmax));
  return f32x4.mul(v128.and(dy, beyond), f32x4.add(v128.bitselect(qmax, qmin, above), offset));
}

// @ts-ignore: decorator
@inline
function gradientRows(task: usize, thread: i32, threads: i32, clipped: bool, rule: i32): void {
  const rows = int(task, 4);
  const width = int(task, 5);
  const x = pointer(task, 0);
  const scales = pointer(task, 1);
  const dy = pointer(task, 2);
  const dx = pointer(task, 3);
  const totals = pointer(task, 7) + ((<usize>width * thread) << 3);
  const qmin = f32x4.splat(float(task, 0));
  const qmax = f32x4.splat(float(task, 1));
  const offset = f32x4.splat(float(task, 2));
  const lowest = f32x4.add(qmin, offset);
  const highest = f32x4.add(qmax, offset);
  memory.fill(totals, 0, <usize>width << 3);
  const stride = <usize>width << 2;
  const end = shareStart(rows, thread + 1, threads);
  for (let row = shareStart(rows, thread, threads); row < end; row += blockRows) {
    const count = min(blockRows, end - row);
    for (let j = 0; j < width; j += 8) {
      const s = scales + (<usize>j << 2);
      const s0 = v128.load(s);
      const s1 = v128.load(s, 16);
      let t0 = f32x4.splat(0);
      let t1 = t0;
      let at = <usize>row * stride + (<usize>j << 2);
      for (let r = 0; r < count; r++, at += stride) {
        const x0 = v128.load(x + at);
        const x1 = v128.load(x + at, 16);
        const g0 = v128.load(dy + at);
        const g1 = v128.load(dy + at, 16);
        const above0 = past(true, x0, s0, highest);
        const above1 = past(true, x1, s1, highest);
        const beyond0 = v128.or(above0, past(false, x0, s0, lowest));
        const beyond1 = v128.or(above1, past(false, x1, s1, lowest));
        v128.store(dx + at, clipped ? v128.andnot(g0, beyond0) : g0);
        v128.store(dx + at, clipped ? v128.andnot(g1, beyond1) : g1, 16);
        t0 = f32x4.add(t0, scaleTerms(rule, x0, s0, g0, above0, beyond0, offset, qmin, qmax));
        t1 = f32x4.add(t1, scaleTerms(rule, x1, s1, g1, above1, beyond1, offset, qmin, qmax));
      }
      const total = totals + (<usize>j << 3);
      addToDoubles(total, t0);
      addToDoubles(total + 32, t1);
    }
  }
  if (thread != threads - 1) return;
  const tail = int(task, 6);
  const last = <usize>rows * stride;
  for (let j = 0; j < tail; j++) {
    const at = last + (<usize>j << 2);
    const s = v128.load32_splat(scales + (<usize>j << 2));
    const value = v128.load32_splat(x + at);
    const g = v128.load32_splat(dy + at);
    const above = past(true, value, s, highest);
    const beyond = v128.or(above, past(false, value, s, lowest));
    v128.store_lane<f32>(dx + at, clipped ? v128.andnot(g, beyond) : g, 0);
    const terms = scaleTerms(rule, value, s, g, above, beyond, offset, qmin, qmax);
    const total = totals + (<usize>j << 3);
    store<f64>(total, load<f64>(total) + <f64>f32x4.extract_lane(terms, 0));
  }
}

/**
 * fakeQuantizeGrad: [x, scale [width], dy, dx, rows, width, tail, totals f64 [threads, width], clipped, rule]
 * (qmin, qmax, offset). column sums of the dscale terms go to `totals`.
 */
export function fakeQuantizeGrad(task: usize, thread: i32, threads: i32): void {
  const rule = int(task, 9);
  if (int(task, 8) != 0) {
    if (rule == scaleNone) gradientRows(task, thread, threads, true, scaleNone);
    else if (rule == scaleClip) gradientRows(task, thread, threads, true, scaleClip);
    else gradientRows(task, thread, threads, true, scaleLsq);
  } else if (rule == scaleClip) gradientRows(task, thread, threads, false, scaleClip);
  else gradientRows(task, thread, threads, false, scaleLsq);
}

/** foldTotals: [totals f64 [parts, width], parts, width, channels, out [channels]] (factor): out = factor · column sums. */
export function foldTotals(task: usize, thread: i32, threads: i32): void {
  const totals = pointer(task, 0);
  const length = int(task, 1) * int(task, 2);
  const channels = int(task, 3);
  const out = pointer(task, 4);
  const factor = <f64>float(task, 0);
  const end = shareStart(channels, thread + 1, threads);
  for (let c = shareStart(channels, thread, threads); c < end; c++) {
    let sum: f64 = 0;
    for (let j = c; j < length; j += channels) sum += load<f64>(totals + (<usize>j << 3));
    store<f32>(out + (<usize>c << 2), <f32>(factor * sum));
  }
}
