/** Bin regularizer (entropy-aware, EBR): loss and gradient, see src/tensor/kernels.ts. Bins are grid indices over a whole tensor. */
import {gridIndex} from './grid';
import {float, int, pointer, shareStart} from './task';

/** Grid index of u = w / s. */
// @ts-ignore: decorator
@inline
function level(u: f32, offset: f32, qmin: f32, qmax: f32): f32 {
  const index = gridIndex(f32x4.splat(u - offset), f32x4.splat(offset), f32x4.splat(qmin), f32x4.splat(qmax));
  return f32x4.extract_lane(index, 0);
}

/**
 * binTotals: [w, scale, size, channels (1: one scale), totals f64 [threads, bins, 4], bins] (qmin, qmax, offset): of every
 * bin the count, Σ s², Σ s² d and Σ s² d², d = u − (q + offset) the distance to the level in steps.
 */
export function binTotals(task: usize, thread: i32, threads: i32): void {
  const w = pointer(task, 0);
  const scales = pointer(task, 1);
  const size = int(task, 2);
  const channels = int(task, 3);
  const bins = int(task, 5);
  const totals = pointer(task, 4) + <usize>thread * <usize>bins * 32;
  const qmin = float(task, 0);
  const qmax = float(task, 1);
  const offset = float(task, 2);
  memory.fill(totals, 0, <usize>bins * 32);
  const start = shareStart(size, thread, threads);
  const end = shareStart(size, thread + 1, threads);
  let channel = start % channels;
  for (let i = start; i < end; i++) {
    const scale = load<f32>(scales + (<usize>channel << 2));
    if (++channel == channels) channel = 0;
    const u = load<f32>(w + (<usize>i << 2)) / scale;
    const q = level(u, offset, qmin, qmax);
    const d = <f64>u - <f64>(q + offset);
    const weight = <f64>scale * <f64>scale;
    const bin = totals + <usize>min<i32>(max<i32>(<i32>(q - qmin), 0), bins - 1) * 32;
    const counted = f64x2.replace_lane(f64x2.splat(weight), 0, 1);
    const sums = f64x2.replace_lane(f64x2.splat(weight * d * d), 0, weight * d);
    v128.store(bin, f64x2.add(v128.load(bin), counted));
    v128.store(bin, f64x2.add(v128.load(bin, 16), sums), 16);
  }
}

/**
 * binLoss: [totals, parts, bins, size, loss, terms f64 [bins, 2]]; one thread. Writes the loss and, a bin, the mean of d
 * weighted by s² and the variance's slope 2 count / size / (count − 1), 0 under two weights.
 */
export function binLoss(task: usize, thread: i32, threads: i32): void {
  const totals = pointer(task, 0);
  const parts = int(task, 1);
  const bins = int(task, 2);
  const size = <f64>int(task, 3);
  const terms = pointer(task, 5);
  let squares: f64 = 0;
  let variances: f64 = 0;
  for (let bin = 0; bin < bins; bin++) {
    let count: f64 = 0;
    let weight: f64 = 0;
    let sum: f64 = 0;
    let square: f64 = 0;
    for (let part = 0; part < parts; part++) {
      const total = totals + <usize>(part * bins + bin) * 32;
      count += load<f64>(total);
      weight += load<f64>(total, 8);
      sum += load<f64>(total, 16);
      square += load<f64>(total, 24);
    }
    squares += square;
    const many = count > 1;
    const mean = many ? sum / weight : 0;
    const share = many ? count / size / (count - 1) : 0;
    variances += share * (square - sum * mean);
    store<f64>(terms + ((<usize>bin) << 4), mean);
    store<f64>(terms + ((<usize>bin) << 4), 2 * share, 8);
  }
  store<f32>(pointer(task, 4), <f32>(squares / size + variances));
}

/**
 * binGrad: [w, scale, size, channels, terms f64 [bins, 2], bins, dw] (qmin, qmax, offset):
 * dw = s · (2 d / size + slope · (d − mean)).
 */
export function binGrad(task: usize, thread: i32, threads: i32): void {
  const w = pointer(task, 0);
  const scales = pointer(task, 1);
  const size = int(task, 2);
  const channels = int(task, 3);
  const terms = pointer(task, 4);
  const bins = int(task, 5);
  const dw = pointer(task, 6);
  const qmin = float(task, 0);
  const qmax = float(task, 1);
  const offset = float(task, 2);
  const start = shareStart(size, thread, threads);
  const end = shareStart(size, thread + 1, threads);
  const perWeight = 2 / <f64>size;
  let channel = start % channels;
  for (let i = start; i < end; i++) {
    const scale = load<f32>(scales + (<usize>channel << 2));
    if (++channel == channels) channel = 0;
    const u = load<f32>(w + (<usize>i << 2)) / scale;
    const q = level(u, offset, qmin, qmax);
    const d = <f64>u - <f64>(q + offset);
    const term = terms + (<usize>min<i32>(max<i32>(<i32>(q - qmin), 0), bins - 1) << 4);
    store<f32>(dw + (<usize>i << 2), <f32>((perWeight * d + load<f64>(term, 8) * (d - load<f64>(term))) * <f64>scale));
  }
}
