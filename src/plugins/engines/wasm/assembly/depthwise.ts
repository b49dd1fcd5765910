/**
 * Depthwise convolution, channel multiplier 1, and its input gradient, which is the same sum over other pixels: 8 pixels of a row
 * at a time, run by run (depthwise-runs.ts). Filters 3 wide have loops of their own (depthwise-slide.ts).
 */
import {blockPixels, limitRuns, runBytes, runsOf, scratchOf, tapsOf, weightStep} from './depthwise-runs';
import {writePhases, writeRows, writeRuns} from './depthwise-runs';
import {slideRow, slides} from './depthwise-slide';
import {clip, storeUpTo} from './rows';
import {float, int, madd, pointer, shareStart} from './task';

/** clip(sum + what is in the target or the bias). */
// @ts-ignore: decorator
@inline
function total(target: usize, sum: v128, bias: v128, adds: bool, low: v128, high: v128): v128 {
  return clip(f32x4.add(sum, adds ? v128.load(target) : bias), low, high);
}

/**
 * target[i][c] = clip(bias[c] + Σ over the runs' taps of x · w) for up to 8 pixels and all channels; with `adds` what is there takes
 * the place of the bias. Each column of the image is read once, for as many pixels as the run has taps. A condition before each
 * column leaves out those outside the image; it also makes a basic block of each, which is what V8 has enough registers for
 * (tiles.ts): 8 sums, 5 weights and a pixel.
 * @param taps of each run (1 … 5: a constant, so that each has code of its own)
 * @param adds a constant too
 * @param shift what is added to the place of the runs' columns
 */
// @ts-ignore: decorator
@inline
function sumRuns(
  taps: i32,
  adds: bool,
  runs: usize,
  runsEnd: usize,
  shift: usize,
  step: usize,
  weights: usize,
  bias: usize,
  target: usize,
  targetStep: usize,
  count: i32,
  bytes: usize,
  low: v128,
  high: v128,
): void {
  for (let c: usize = 0; c < bytes; c += 16) {
    let a0 = f32x4.splat(0);
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    let a4 = a0;
    let a5 = a0;
    let a6 = a0;
    let a7 = a0;
    for (let run = runs; run < runsEnd; run += runBytes) {
      const row = load<usize>(run);
      let place = load<usize>(run, 4) + shift + c;
      let w = load<usize>(run, 8) + c;
      const end = load<usize>(run, 12);
      const w0 = v128.load(w);
      if (taps > 1) w += weights;
      const w1 = v128.load(w);
      if (taps > 2) w += weights;
      const w2 = v128.load(w);
      if (taps > 3) w += weights;
      const w3 = v128.load(w);
      if (taps > 4) w += weights;
      const w4 = v128.load(w);
      if (place < end) {
        const x = v128.load(row + place);
        a0 = madd(x, w0, a0);
      }
      place += step;
      if (place < end) {
        const x = v128.load(row + place);
        a1 = madd(x, w0, a1);
        if (taps > 1) a0 = madd(x, w1, a0);
      }
      place += step;
      if (place < end) {
        const x = v128.load(row + place);
        a2 = madd(x, w0, a2);
        if (taps > 1) a1 = madd(x, w1, a1);
        if (taps > 2) a0 = madd(x, w2, a0);
      }
      place += step;
      if (place < end) {
        const x = v128.load(row + place);
        a3 = madd(x, w0, a3);
        if (taps > 1) a2 = madd(x, w1, a2);
        if (taps > 2) a1 = madd(x, w2, a1);
        if (taps > 3) a0 = madd(x, w3, a0);
      }
      place += step;
      if (place < end) {
        const x = v128.load(row + place);
        a4 = madd(x, w0, a4);
        if (taps > 1) a3 = madd(x, w1, a3);
        if (taps > 2) a2 = madd(x, w2, a2);
        if (taps > 3) a1 = madd(x, w3, a1);
        if (taps > 4) a0 = madd(x, w4, a0);
      }
      place += step;
      if (place < end) {
        const x = v128.load(row + place);
        a5 = madd(x, w0, a5);
        if (taps > 1) a4 = madd(x, w1, a4);
        if (taps > 2) a3 = madd(x, w2, a3);
        if (taps > 3) a2 = madd(x, w3, a2);
        if (taps > 4) a1 = madd(x, w4, a1);
      }
      place += step;
      if (place < end) {
        const x = v128.load(row + place);
        a6 = madd(x, w0, a6);
        if (taps > 1) a5 = madd(x, w1, a5);
        if (taps > 2) a4 = madd(x, w2, a4);
        if (taps > 3) a3 = madd(x, w3, a3);
        if (taps > 4) a2 = madd(x, w4, a2);
      }
      place += step;
      if (place < end) {
        const x = v128.load(row + place);
        a7 = madd(x, w0, a7);
        if (taps > 1) a6 = madd(x, w1, a6);
        if (taps > 2) a5 = madd(x, w2, a5);
        if (taps > 3) a4 = madd(x, w3, a4);
        if (taps > 4) a3 = madd(x, w4, a3);
      }
      place += step;
      if (taps > 1 && place < end) {
        const x = v128.load(row + place);
        a7 = madd(x, w1, a7);
        if (taps > 2) a6 = madd(x, w2, a6);
        if (taps > 3) a5 = madd(x, w3, a5);
        if (taps > 4) a4 = madd(x, w4, a4);
      }
      place += step;
      if (taps > 2 && place < end) {
        const x = v128.load(row + place);
        a7 = madd(x, w2, a7);
        if (taps > 3) a6 = madd(x, w3, a6);
        if (taps > 4) a5 = madd(x, w4, a5);
      }
      place += step;
      if (taps > 3 && place < end) {
        const x = v128.load(row + place);
        a7 = madd(x, w3, a7);
        if (taps > 4) a6 = madd(x, w4, a6);
      }
      place += step;
      if (taps > 4 && place < end) {
        const x = v128.load(row + place);
        a7 = madd(x, w4, a7);
      }
    }
    const left = bytes - c;
    const b = adds || bias == 0 ? f32x4.splat(0) : v128.load(bias + c);
    let to = target + c;
    if (count == blockPixels && left >= 16) {
      v128.store(to, total(to, a0, b, adds, low, high));
      to += targetStep;
      v128.store(to, total(to, a1, b, adds, low, high));
      to += targetStep;
      v128.store(to, total(to, a2, b, adds, low, high));
      to += targetStep;
      v128.store(to, total(to, a3, b, adds, low, high));
      to += targetStep;
      v128.store(to, total(to, a4, b, adds, low, high));
      to += targetStep;
      v128.store(to, total(to, a5, b, adds, low, high));
      to += targetStep;
      v128.store(to, total(to, a6, b, adds, low, high));
      to += targetStep;
      v128.store(to, total(to, a7, b, adds, low, high));
    } else {
      storeUpTo(to, total(to, a0, b, adds, low, high), left);
      to += targetStep;
      if (count > 1) storeUpTo(to, total(to, a1, b, adds, low, high), left);
      to += targetStep;
      if (count > 2) storeUpTo(to, total(to, a2, b, adds, low, high), left);
      to += targetStep;
      if (count > 3) storeUpTo(to, total(to, a3, b, adds, low, high), left);
      to += targetStep;
      if (count > 4) storeUpTo(to, total(to, a4, b, adds, low, high), left);
      to += targetStep;
      if (count > 5) storeUpTo(to, total(to, a5, b, adds, low, high), left);
      to += targetStep;
      if (count > 6) storeUpTo(to, total(to, a6, b, adds, low, high), left);
      to += targetStep;
      if (count > 7) storeUpTo(to, total(to, a7, b, adds, low, high), left);
    }
  }
}

/** `sumRuns` by the number of taps; the first runs of a block do not add. */
function sumRunsOf(
  taps: i32,
  runs: usize,
  runsEnd: usize,
  shift: usize,
  step: usize,
  weights: usize,
  bias: usize,
  target: usize,
  targetStep: usize,
  count: i32,
  bytes: usize,
  low: v128,
  high: v128,
): void {
  if (taps == 5)
    sumRuns(5, false, runs, runsEnd, shift, step, weights, bias, target, targetStep, count, bytes, low, high);
  else if (taps == 4)
    sumRuns(4, false, runs, runsEnd, shift, step, weights, bias, target, targetStep, count, bytes, low, high);
  else if (taps == 3)
    sumRuns(3, false, runs, runsEnd, shift, step, weights, bias, target, targetStep, count, bytes, low, high);
  else if (taps == 2)
    sumRuns(2, false, runs, runsEnd, shift, step, weights, bias, target, targetStep, count, bytes, low, high);
  else sumRuns(1, false, runs, runsEnd, shift, step, weights, bias, target, targetStep, count, bytes, low, high);
}

/** The same for the runs that follow them. */
function addRunsOf(
  taps: i32,
  runs: usize,
  runsEnd: usize,
  shift: usize,
  step: usize,
  weights: usize,
  target: usize,
  targetStep: usize,
  count: i32,
  bytes: usize,
  low: v128,
  high: v128,
): void {
  if (taps == 4) sumRuns(4, true, runs, runsEnd, shift, step, weights, 0, target, targetStep, count, bytes, low, high);
  else if (taps == 3)
    sumRuns(3, true, runs, runsEnd, shift, step, weights, 0, target, targetStep, count, bytes, low, high);
  else if (taps == 2)
    sumRuns(2, true, runs, runsEnd, shift, step, weights, 0, target, targetStep, count, bytes, low, high);
  else sumRuns(1, true, runs, runsEnd, shift, step, weights, 0, target, targetStep, count, bytes, low, high);
}

/** The pixels of a target row. @param rowsEnd of its source rows in the scratch memory */
function sumRow(task: usize, scratch: usize, rowsEnd: usize, target: usize, low: v128, high: v128): void {
  const targetWidth = int(task, 10);
  const divisor = int(task, 20);
  const bytes = (<usize>int(task, 8)) << 2;
  const step = <usize>int(task, 14) * bytes;
  const targetStep = <usize>divisor * bytes;
  const weights = weightStep(task);
  const runs = runsOf(task, scratch);
  for (let phase = 0; phase < min(divisor, targetWidth); phase++) {
    const runsEnd = writeRuns(task, scratch, rowsEnd, phase, runs);
    const pixels = (targetWidth - phase + divisor - 1) / divisor;
    const count = min(blockPixels, pixels);
    for (let next = 0; next < pixels; next += blockPixels) {
      // The last ones together with some before them, so that they are as many.
      const pixel = min(next, pixels - count);
      const to = target + <usize>(phase + pixel * divisor) * bytes;
      const shift = <usize>pixel * step;
      let first = runs;
      do {
        const taps = tapsOf(first, runsEnd);
        const end = limitRuns(task, first, runsEnd, taps, pixel + count);
        const lowest = end < runsEnd ? f32x4.splat(-Infinity) : low;
        const highest = end < runsEnd ? f32x4.splat(Infinity) : high;
        if (first == runs) {
          const bias = pointer(task, 3);
          sumRunsOf(taps, first, end, shift, step, weights, bias, to, targetStep, count, bytes, lowest, highest);
        } else {
          addRunsOf(taps, first, end, shift, step, weights, to, targetStep, count, bytes, lowest, highest);
        }
        first = end;
      } while (first < runsEnd);
    }
  }
}

/** depthwise: the parameters of depthwise-runs.ts (min, max). */
export function depthwise(task: usize, thread: i32, threads: i32): void {
  const targetHeight = int(task, 9);
  const bytes = (<usize>int(task, 8)) << 2;
  const image = <usize>(int(task, 6) * int(task, 7)) * bytes;
  const low = f32x4.splat(float(task, 0));
  const high = f32x4.splat(float(task, 1));
  const scratch = scratchOf(task, thread);
  writePhases(task, scratch);
  const slid = slides(task);
  const rows = int(task, 5) * targetHeight;
  for (let row = shareStart(rows, thread, threads); row < shareStart(rows, thread + 1, threads); row++) {
    const source = pointer(task, 0) + <usize>(row / targetHeight) * image;
    const target = pointer(task, 1) + <usize>(row * int(task, 10)) * bytes;
    const rowsEnd = writeRows(task, scratch, source, row % targetHeight);
    if (slid && rowsEnd > scratch) slideRow(task, scratch, rowsEnd, target, low, high);
    else sumRow(task, scratch, rowsEnd, target, low, high);
  }
}
