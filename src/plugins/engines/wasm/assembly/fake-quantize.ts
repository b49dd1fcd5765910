/** Uniform fake-quantization and its straight-through gradients; the table and the equations are in src/tensor/kernels.ts. */
import {outside, quantize, scaleSlope} from './grid';
import {addToDoubles, blockRows, strip} from './rows';
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

/** Four floats of dx; returns the four terms of dscale. */
// @ts-ignore: decorator
@inline
function gradient(
  x: v128, scale: v128, dy: v128, dx: usize, clipped: bool, rule: i32, offset: v128, qmin: v128, qmax: v128,
): v128 {
  const ratio = f32x4.div(x, scale);
  const z = f32x4.sub(ratio, offset);
  const beyond = outside(z, qmin, qmax);
  v128.store(dx, clipped ? v128.andnot(dy, beyond) : dy);
  if (rule == 0) return f32x4.splat(0);
  return f32x4.mul(dy, scaleSlope(rule == 2, ratio, z, beyond, offset, qmin, qmax));
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
  if (rule != 0) memory.fill(totals, 0, <usize>width << 3);
  const stride = <usize>width << 2;
  const end = shareStart(rows, thread + 1, threads);
  for (let row = shareStart(rows, thread, threads); row < end; row += blockRows) {
    const count = min(blockRows, end - row);
    for (let j = 0; j < width; j += strip) {
      const s = scales + (<usize>j << 2);
      const s0 = v128.load(s);
      const s1 = v128.load(s, 16);
      const s2 = v128.load(s, 32);
      const s3 = v128.load(s, 48);
      let t0 = f32x4.splat(0);
      let t1 = t0;
      let t2 = t0;
      let t3 = t0;
      let at = <usize>row * stride + (<usize>j << 2);
      for (let r = 0; r < count; r++, at += stride) {
        const xr = x + at;
        const dyr = dy + at;
        const dxr = dx + at;
        t0 = f32x4.add(t0, gradient(v128.load(xr), s0, v128.load(dyr), dxr, clipped, rule, offset, qmin, qmax));
        t1 = f32x4.add(t1, gradient(v128.load(xr, 16), s1, v128.load(dyr, 16), dxr + 16, clipped, rule, offset, qmin, qmax));
        t2 = f32x4.add(t2, gradient(v128.load(xr, 32), s2, v128.load(dyr, 32), dxr + 32, clipped, rule, offset, qmin, qmax));
        t3 = f32x4.add(t3, gradient(v128.load(xr, 48), s3, v128.load(dyr, 48), dxr + 48, clipped, rule, offset, qmin, qmax));
      }
      if (rule != 0) {
        const total = totals + (<usize>j << 3);
        addToDoubles(total, t0);
        addToDoubles(total + 32, t1);
        addToDoubles(total + 64, t2);
        addToDoubles(total + 96, t3);
      }
    }
  }
  if (thread != threads - 1) return;
  const tail = int(task, 6);
  const last = <usize>rows * stride;
  for (let j = 0; j < tail; j++) {
    const at = last + (<usize>j << 2);
    const ratio = f32x4.div(v128.load32_splat(x + at), v128.load32_splat(scales + (<usize>j << 2)));
    const z = f32x4.sub(ratio, offset);
    const beyond = outside(z, qmin, qmax);
    const g = v128.load32_splat(dy + at);
    v128.store_lane<f32>(dx + at, clipped ? v128.andnot(g, beyond) : g, 0);
    if (rule == 0) continue;
    const term = f32x4.mul(g, scaleSlope(rule == 2, ratio, z, beyond, offset, qmin, qmax));
    const total = totals + (<usize>j << 3);
    store<f64>(total, load<f64>(total) + <f64>f32x4.extract_lane(term, 0));
  }
}

/**
 * fakeQuantizeGrad: [x, scale [width], dy, dx, rows, width, tail, totals f64 [threads, width], clipped, rule]
 * (qmin, qmax, offset). `rule` 0 none, 1 clip, 2 lsq; column sums of the dscale terms go to `totals`.
 */
export function fakeQuantizeGrad(task: usize, thread: i32, threads: i32): void {
  const rule = int(task, 9);
  if (int(task, 8) != 0) {
    if (rule == 0) gradientRows(task, thread, threads, true, 0);
    else if (rule == 1) gradientRows(task, thread, threads, true, 1);
    else gradientRows(task, thread, threads, true, 2);
  } else if (rule == 1) gradientRows(task, thread, threads, false, 1);
  else gradientRows(task, thread, threads, false, 2);
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
