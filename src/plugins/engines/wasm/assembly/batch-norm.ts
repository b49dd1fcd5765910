/**
 * Training batch-norm with activation range and fake-quantizer in one pass, and its gradient. Equations: src/tensor/kernels.ts.
 *
 * Forward: one pass for the statistics (per block of rows the mean, then the squared deviations while the block is in the
 * first-level cache; blocks combined in float64 by Chan, Golub & LeVeque 1983), one pass for the output.
 * Gradient: one pass for the sums, one for dx; both recompute z from x with the forward's own operations, bit for bit.
 *
 * Coefficients, each [width]: mean, multiplier = gamma / √(variance + epsilon), beta; for dx also slope and constant.
 */
import {lsqSlope, quantize} from './grid';
import {addToDoubles, blockRows, clip, strip} from './rows';
import {scaleClip, scaleLsq, scaleNone} from './shared';
import {float, int, madd, pointer, shareStart} from './task';

/** Rows whose mean is taken before their squared deviations: 128 rows of 64 bytes stay in a first-level cache. */
const statisticsRows: i32 = 128;

/** Two columns of {sum, squared deviations} at `total` (`height` bytes apart) take in a block of 1 / inverseCount rows. */
// @ts-ignore: decorator
@inline
function combine(total: usize, height: usize, sum: v128, squares: v128, inverseCount: f64, inverseSeen: f64, weight: f64): void {
  const seen = v128.load(total);
  const difference = f64x2.sub(
    f64x2.mul(sum, f64x2.splat(inverseCount)),
    f64x2.mul(seen, f64x2.splat(inverseSeen)),
  );
  const between = f64x2.mul(f64x2.mul(difference, difference), f64x2.splat(weight));
  v128.store(total, f64x2.add(seen, sum));
  v128.store(total + height, f64x2.add(v128.load(total + height), f64x2.add(squares, between)));
}

/** batchNormStatistics: [x, rows, width, totals f64 [threads, 2, width]]: column sums and squared deviations of a thread's rows. */
export function batchNormStatistics(task: usize, thread: i32, threads: i32): void {
  const x = pointer(task, 0);
  const rows = int(task, 1);
  const width = int(task, 2);
  const height = <usize>width << 3;
  const totals = pointer(task, 3) + height * 2 * <usize>thread;
  memory.fill(totals, 0, height * 2);
  const stride = <usize>width << 2;
  const start = shareStart(rows, thread, threads);
  const end = shareStart(rows, thread + 1, threads);
  for (let row = start; row < end; row += statisticsRows) {
    const count = min(statisticsRows, end - row);
    const seen = row - start;
    const inverseCount = 1 / <f64>count;
    const inverseSeen = seen > 0 ? 1 / <f64>seen : 0;
    const weight = (<f64>seen * <f64>count) / <f64>(seen + count);
    for (let j = 0; j < width; j += strip) {
      const block = x + <usize>row * stride + (<usize>j << 2);
      let s0 = f32x4.splat(0);
      let s1 = s0;
      let s2 = s0;
      let s3 = s0;
      let p = block;
      for (let r = 0; r < count; r++, p += stride) {
        s0 = f32x4.add(s0, v128.load(p));
        s1 = f32x4.add(s1, v128.load(p, 16));
        s2 = f32x4.add(s2, v128.load(p, 32));
        s3 = f32x4.add(s3, v128.load(p, 48));
      }
      const inverse = f32x4.splat(<f32>inverseCount);
      const m0 = f32x4.mul(s0, inverse);
      const m1 = f32x4.mul(s1, inverse);
      const m2 = f32x4.mul(s2, inverse);
      const m3 = f32x4.mul(s3, inverse);
      let q0 = f32x4.splat(0);
      let q1 = q0;
      let q2 = q0;
      let q3 = q0;
      p = block;
      for (let r = 0; r < count; r++, p += stride) {
        const d0 = f32x4.sub(v128.load(p), m0);
        const d1 = f32x4.sub(v128.load(p, 16), m1);
        const d2 = f32x4.sub(v128.load(p, 32), m2);
        const d3 = f32x4.sub(v128.load(p, 48), m3);
        q0 = madd(d0, d0, q0);
        q1 = madd(d1, d1, q1);
        q2 = madd(d2, d2, q2);
        q3 = madd(d3, d3, q3);
      }
      const total = totals + (<usize>j << 3);
      combineFour(total, height, s0, q0, inverseCount, inverseSeen, weight);
      combineFour(total + 32, height, s1, q1, inverseCount, inverseSeen, weight);
      combineFour(total + 64, height, s2, q2, inverseCount, inverseSeen, weight);
      combineFour(total + 96, height, s3, q3, inverseCount, inverseSeen, weight);
    }
  }
}

// @ts-ignore: decorator
@inline
function combineFour(total: usize, height: usize, sums: v128, squares: v128, inverseCount: f64, inverseSeen: f64, weight: f64): void {
  combine(total, height, f64x2.promote_low_f32x4(sums), f64x2.promote_low_f32x4(squares), inverseCount, inverseSeen, weight);
  const highSums = f64x2.promote_low_f32x4(i64x2.shuffle(sums, sums, 1, 1));
  const highSquares = f64x2.promote_low_f32x4(i64x2.shuffle(squares, squares, 1, 1));
  combine(total + 16, height, highSums, highSquares, inverseCount, inverseSeen, weight);
}

/**
 * batchNormCoefficients: [x, rows, width, totals, parts, tail, channels, gamma, beta, mean [C], variance [C],
 * coefficients [3, width]] (epsilon). Combines the threads' totals and the tail, channel by channel, in fixed order.
 */
export function batchNormCoefficients(task: usize, thread: i32, threads: i32): void {
  const rows = int(task, 1);
  const width = int(task, 2);
  const totals = pointer(task, 3);
  const parts = int(task, 4);
  const tail = int(task, 5);
  const channels = int(task, 6);
  const lastRow = pointer(task, 0) + ((<usize>rows * <usize>width) << 2);
  const coefficients = pointer(task, 11);
  const height = <usize>width << 2;
  const end = shareStart(channels, thread + 1, threads);
  for (let c = shareStart(channels, thread, threads); c < end; c++) {
    let n: f64 = 0;
    let sum: f64 = 0;
    let squares: f64 = 0;
    for (let part = 0; part < parts; part++) {
      const count = <f64>(shareStart(rows, part + 1, parts) - shareStart(rows, part, parts));
      if (count == 0) continue;
      for (let j = c; j < width; j += channels) {
        const total = totals + ((<usize>width * 2 * part + j) << 3);
        const partSum = load<f64>(total);
        const difference = partSum / count - (n > 0 ? sum / n : 0);
        squares += load<f64>(total + (<usize>width << 3)) + (difference * difference * n * count) / (n + count);
        sum += partSum;
        n += count;
      }
    }
    for (let j = c; j < tail; j += channels) {
      const value = <f64>load<f32>(lastRow + (<usize>j << 2));
      const difference = value - (n > 0 ? sum / n : 0);
      squares += (difference * difference * n) / (n + 1);
      sum += value;
      n += 1;
    }
    const at = <usize>c << 2;
    const mean = <f32>(sum / max<f64>(n, 1));
    const variance = <f32>(squares / max<f64>(n, 1));
    store<f32>(pointer(task, 9) + at, mean);
    store<f32>(pointer(task, 10) + at, variance);
    const multiplier = <f32>(<f64>load<f32>(pointer(task, 7) + at) / sqrt<f64>(<f64>variance + <f64>float(task, 0)));
    const beta = load<f32>(pointer(task, 8) + at);
    for (let j = c; j < width; j += channels) {
      const to = coefficients + (<usize>j << 2);
      store<f32>(to, mean);
      store<f32>(to + height, multiplier);
      store<f32>(to + 2 * height, beta);
    }
  }
}

/** multiplier · (x − mean) + beta at byte `j` of the coefficients. */
// @ts-ignore: decorator
@inline
function normalize(deviation: v128, coefficients: usize, height: usize): v128 {
  return madd(deviation, v128.load(coefficients + height), v128.load(coefficients + 2 * height));
}

// @ts-ignore: decorator
@inline
function applyOne(
  x: v128, coefficients: usize, height: usize, low: v128, high: v128, quantized: bool, scale: v128, offset: v128, qmin: v128, qmax: v128,
): v128 {
  const z = normalize(f32x4.sub(x, v128.load(coefficients)), coefficients, height);
  const a = clip(z, low, high);
  return quantized ? quantize(a, scale, offset, qmin, qmax) : a;
}

// @ts-ignore: decorator
@inline
function applyRows(task: usize, thread: i32, threads: i32, quantized: bool): void {
  const rows = int(task, 3);
  const stride = <usize>int(task, 4) << 2;
  const start = <usize>shareStart(rows, thread, threads) * stride;
  const end = pointer(task, 0) + <usize>shareStart(rows, thread + 1, threads) * stride;
  let x = pointer(task, 0) + start;
  let y = pointer(task, 2) + start;
  const coefficients = pointer(task, 1);
  const low = f32x4.splat(float(task, 0));
  const high = f32x4.splat(float(task, 1));
  const qmin = f32x4.splat(float(task, 2));
  const qmax = f32x4.splat(float(task, 3));
  const offset = f32x4.splat(float(task, 4));
  const scale = quantized ? v128.load32_splat(pointer(task, 6)) : offset;
  while (x < end) {
    for (let j: usize = 0; j < stride; j += 64, x += 64, y += 64) {
      const k = coefficients + j;
      v128.store(y, applyOne(v128.load(x), k, stride, low, high, quantized, scale, offset, qmin, qmax));
      v128.store(y, applyOne(v128.load(x, 16), k + 16, stride, low, high, quantized, scale, offset, qmin, qmax), 16);
      v128.store(y, applyOne(v128.load(x, 32), k + 32, stride, low, high, quantized, scale, offset, qmin, qmax), 32);
      v128.store(y, applyOne(v128.load(x, 48), k + 48, stride, low, high, quantized, scale, offset, qmin, qmax), 48);
    }
  }
  if (thread != threads - 1) return;
  const tail = <usize>int(task, 5) << 2;
  for (let j: usize = 0; j < tail; j += 4) {
    const value = applyOne(v128.load32_splat(x + j), coefficients + j, stride, low, high, quantized, scale, offset, qmin, qmax);
    v128.store_lane<f32>(y + j, value, 0);
  }
}

/**
 * batchNormApply: [x, coefficients [3, width], y, rows, width, tail, scale] (min, max, qmin, qmax, offset);
 * scale 0: not quantized.
 */
export function batchNormApply(task: usize, thread: i32, threads: i32): void {
  if (pointer(task, 6) != 0) applyRows(task, thread, threads, true);
  else applyRows(task, thread, threads, false);
}

/** The float after x. */
// @ts-ignore: decorator
@inline
function next(x: f32): f32 {
  if (x == 0) return reinterpret<f32>(1);
  const bits = reinterpret<i32>(x);
  return reinterpret<f32>(bits > 0 ? bits + 1 : bits - 1);
}

/** Smallest z whose gradient passes: the first above `low` and, with a clipped quantizer, on the grid. */
// @ts-ignore: decorator
@inline
function firstPassed(task: usize, clipped: bool): v128 {
  const first = next(float(task, 0));
  return f32x4.splat(clipped ? max<f32>(first, load<f32>(pointer(task, 6)) * (float(task, 2) + float(task, 4))) : first);
}

/** Largest z whose gradient passes. */
// @ts-ignore: decorator
@inline
function lastPassed(task: usize, clipped: bool): v128 {
  const last = -next(-float(task, 1));
  return f32x4.splat(clipped ? min<f32>(last, load<f32>(pointer(task, 6)) * (float(task, 3) + float(task, 4))) : last);
}

/** dy where first ≤ z ≤ last, else 0. */
// @ts-ignore: decorator
@inline
function passed(z: v128, dy: v128, first: v128, last: v128): v128 {
  return v128.and(dy, v128.and(f32x4.ge(z, first), f32x4.le(z, last)));
}

/**
 * The sums of the gradient. The clipped activation leaves the grid where z is
 * above `top` or below `bottom`; an end that the activation range does not reach is infinite.
 */
// @ts-ignore: decorator
@inline
function sumRows(task: usize, thread: i32, threads: i32, rule: i32): void {
  const x = pointer(task, 0);
  const dy = pointer(task, 1);
  const coefficients = pointer(task, 2);
  const rows = int(task, 3);
  const width = int(task, 4);
  const tail = int(task, 5);
  const height = <usize>width << 3;
  const totals = pointer(task, 7) + height * 3 * <usize>thread;
  memory.fill(totals, 0, height * 3);
  const first = firstPassed(task, int(task, 8) != 0);
  const last = lastPassed(task, int(task, 8) != 0);
  const low = f32x4.splat(float(task, 0));
  const high = f32x4.splat(float(task, 1));
  const qmin = f32x4.splat(float(task, 2));
  const qmax = f32x4.splat(float(task, 3));
  const offset = f32x4.splat(float(task, 4));
  const step: f32 = rule != scaleNone ? load<f32>(pointer(task, 6)) : 1;
  const scale = f32x4.splat(step);
  const lowest = float(task, 2) + float(task, 4);
  const highest = float(task, 3) + float(task, 4);
  const bottom = f32x4.splat(float(task, 0) < step * lowest ? step * lowest : -Infinity);
  const top = f32x4.splat(float(task, 1) > step * highest ? step * highest : Infinity);
  const stride = <usize>width << 2;
  const end = shareStart(rows, thread + 1, threads);
  for (let row = shareStart(rows, thread, threads); row < end; row += blockRows) {
    const count = min(blockRows, end - row);
    for (let j = 0; j < width; j += 8) {
      const k = coefficients + (<usize>j << 2);
      const mean0 = v128.load(k);
      const mean1 = v128.load(k, 16);
      let g0 = f32x4.splat(0);
      let g1 = g0;
      let h0 = g0;
      let h1 = g0;
      let t0 = g0;
      let t1 = g0;
      let at = <usize>row * stride + (<usize>j << 2);
      for (let r = 0; r < count; r++, at += stride) {
        const d0 = f32x4.sub(v128.load(x + at), mean0);
        const d1 = f32x4.sub(v128.load(x + at, 16), mean1);
        const dy0 = v128.load(dy + at);
        const dy1 = v128.load(dy + at, 16);
        const z0 = normalize(d0, k, stride);
        const z1 = normalize(d1, k + 16, stride);
        const p0 = passed(z0, dy0, first, last);
        const p1 = passed(z1, dy1, first, last);
        if (rule == scaleClip) {
          t0 = f32x4.add(t0, clipTerms(z0, dy0, bottom, top, lowest, highest));
          t1 = f32x4.add(t1, clipTerms(z1, dy1, bottom, top, lowest, highest));
        } else if (rule == scaleLsq) {
          t0 = madd(dy0, lsqSlope(f32x4.div(clip(z0, low, high), scale), offset, qmin, qmax), t0);
          t1 = madd(dy1, lsqSlope(f32x4.div(clip(z1, low, high), scale), offset, qmin, qmax), t1);
        }
        g0 = f32x4.add(g0, p0);
        g1 = f32x4.add(g1, p1);
        h0 = madd(p0, d0, h0);
        h1 = madd(p1, d1, h1);
      }
      const total = totals + (<usize>j << 3);
      addToDoubles(total, g0);
      addToDoubles(total + 32, g1);
      addToDoubles(total + height, h0);
      addToDoubles(total + height + 32, h1);
      addToDoubles(total + 2 * height, t0);
      addToDoubles(total + 2 * height + 32, t1);
    }
  }
  if (thread != threads - 1) return;
  const lastRow = <usize>rows * stride;
  for (let j = 0; j < tail; j++) {
    const at = lastRow + (<usize>j << 2);
    const k = coefficients + (<usize>j << 2);
    const d = f32x4.sub(v128.load32_splat(x + at), v128.load(k));
    const g = v128.load32_splat(dy + at);
    const z = normalize(d, k, stride);
    const p = passed(z, g, first, last);
    const total = totals + (<usize>j << 3);
    addLane(total, p);
    addLane(total + height, f32x4.mul(p, d));
    if (rule == scaleClip) addLane(total + 2 * height, clipTerms(z, g, bottom, top, lowest, highest));
    if (rule == scaleLsq) {
      addLane(total + 2 * height, f32x4.mul(g, lsqSlope(f32x4.div(clip(z, low, high), scale), offset, qmin, qmax)));
    }
  }
}

/** Terms of PACT's dscale: dy times the level of the end that z is past. */
// @ts-ignore: decorator
@inline
function clipTerms(z: v128, dy: v128, bottom: v128, top: v128, lowest: f32, highest: f32): v128 {
  const above = f32x4.mul(v128.and(dy, f32x4.gt(z, top)), f32x4.splat(highest));
  return madd(v128.and(dy, f32x4.lt(z, bottom)), f32x4.splat(lowest), above);
}

/** The f64 at `address` += first lane. */
// @ts-ignore: decorator
@inline
function addLane(address: usize, value: v128): void {
  store<f64>(address, load<f64>(address) + <f64>f32x4.extract_lane(value, 0));
}

/**
 * batchNormGradSums: [x, dy, coefficients, rows, width, tail, scale, totals f64 [threads, 3, width], clipped, rule]
 * (min, max, qmin, qmax, offset). Totals: Σ g, Σ g · (x − mean), dscale terms. `rule` is `scaleNone` without a quantizer.
 */
export function batchNormGradSums(task: usize, thread: i32, threads: i32): void {
  const rule = int(task, 9);
  if (rule == scaleNone) sumRows(task, thread, threads, scaleNone);
  else if (rule == scaleClip) sumRows(task, thread, threads, scaleClip);
  else sumRows(task, thread, threads, scaleLsq);
}

/**
 * batchNormGradCoefficients: [totals, parts, width, channels, gamma, mean, variance, beta, coefficients [5, width],
 * dgamma, dbeta, dscale] (epsilon, gradientScale), count in int 12. `dscale` 0: none.
 *
 * dx = multiplier · (g − Σg / n − (x − mean) · Σ(g · (x − mean)) / (n · (variance + epsilon)))
 *    = multiplier · g + slope · (x − mean) + constant.
 * Called before the sums (parts 0) it writes the forward's three coefficients only.
 */
export function batchNormGradCoefficients(task: usize, thread: i32, threads: i32): void {
  const totals = pointer(task, 0);
  const parts = int(task, 1);
  const width = int(task, 2);
  const channels = int(task, 3);
  const coefficients = pointer(task, 8);
  const height = <usize>width << 2;
  const n = <f64>int(task, 12);
  const end = shareStart(channels, thread + 1, threads);
  for (let c = shareStart(channels, thread, threads); c < end; c++) {
    const at = <usize>c << 2;
    const mean = load<f32>(pointer(task, 5) + at);
    const spread = <f64>load<f32>(pointer(task, 6) + at) + <f64>float(task, 0);
    const inverse = 1 / sqrt<f64>(spread);
    const multiplier = <f32>(<f64>load<f32>(pointer(task, 4) + at) / sqrt<f64>(spread));
    const beta = load<f32>(pointer(task, 7) + at);
    let sum: f64 = 0;
    let product: f64 = 0;
    for (let part = 0; part < parts; part++) {
      for (let j = c; j < width; j += channels) {
        const total = totals + ((<usize>width * 3 * part + j) << 3);
        sum += load<f64>(total);
        product += load<f64>(total + (<usize>width << 3));
      }
    }
    if (parts != 0) {
      store<f32>(pointer(task, 9) + at, <f32>(product * inverse));
      store<f32>(pointer(task, 10) + at, <f32>sum);
    }
    const slope = <f32>((-<f64>multiplier * product) / (n * spread));
    const constant = <f32>((-<f64>multiplier * sum) / n);
    for (let j = c; j < width; j += channels) {
      const to = coefficients + (<usize>j << 2);
      store<f32>(to, mean);
      store<f32>(to + height, multiplier);
      store<f32>(to + 2 * height, beta);
      store<f32>(to + 3 * height, slope);
      store<f32>(to + 4 * height, constant);
    }
  }
  if (thread != 0 || pointer(task, 11) == 0 || parts == 0) return;
  let dscale: f64 = 0;
  for (let part = 0; part < parts; part++) {
    const total = totals + ((<usize>width * (3 * part + 2)) << 3);
    for (let j = 0; j < width; j++) dscale += load<f64>(total + (<usize>j << 3));
  }
  store<f32>(pointer(task, 11), <f32>(dscale * <f64>float(task, 1)));
}

// @ts-ignore: decorator
@inline
function inputGradient(x: v128, dy: v128, k: usize, height: usize, first: v128, last: v128): v128 {
  const d = f32x4.sub(x, v128.load(k));
  const multiplier = v128.load(k + height);
  const g = passed(madd(d, multiplier, v128.load(k + 2 * height)), dy, first, last);
  return madd(multiplier, g, madd(v128.load(k + 3 * height), d, v128.load(k + 4 * height)));
}

/** batchNormGradInput: [x, dy, coefficients [5, width], rows, width, tail, scale, dx, clipped] (min, max, qmin, qmax, offset). */
export function batchNormGradInput(task: usize, thread: i32, threads: i32): void {
  const rows = int(task, 3);
  const stride = <usize>int(task, 4) << 2;
  const start = <usize>shareStart(rows, thread, threads) * stride;
  const end = pointer(task, 0) + <usize>shareStart(rows, thread + 1, threads) * stride;
  let x = pointer(task, 0) + start;
  let dy = pointer(task, 1) + start;
  let dx = pointer(task, 7) + start;
  const coefficients = pointer(task, 2);
  const first = firstPassed(task, int(task, 8) != 0);
  const last = lastPassed(task, int(task, 8) != 0);
  while (x < end) {
    for (let j: usize = 0; j < stride; j += 32, x += 32, dy += 32, dx += 32) {
      const k = coefficients + j;
      v128.store(dx, inputGradient(v128.load(x), v128.load(dy), k, stride, first, last));
      v128.store(dx, inputGradient(v128.load(x, 16), v128.load(dy, 16), k + 16, stride, first, last), 16);
    }
  }
  if (thread != threads - 1) return;
  const tail = <usize>int(task, 5) << 2;
  for (let j: usize = 0; j < tail; j += 4) {
    const g = v128.load32_splat(dy + j);
    const value = inputGradient(v128.load32_splat(x + j), g, coefficients + j, stride, first, last);
    v128.store_lane<f32>(dx + j, value, 0);
  }
}
