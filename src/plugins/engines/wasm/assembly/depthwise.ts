/**
 * Depthwise convolution, channel multiplier 1: for each output pixel the list of taps that lie in the image, then sums of 16
 * channels at a time over this list. The input gradient is the same sum over other pixels.
 */
import {clip, storeUpTo} from './rows';
import {float, int, madd, pointer, shareStart} from './task';

/**
 * target[c] = clip(bias[c] + Σ over the taps of x[c] · w[c]) for all channels.
 * @param taps pairs of addresses (x, w), up to `tapsEnd`
 * @param shift what is added to the addresses of x
 * @param bias address or 0
 */
function sumTaps(
  taps: usize,
  tapsEnd: usize,
  shift: usize,
  bias: usize,
  target: usize,
  bytes: usize,
  low: v128,
  high: v128,
): void {
  const zero = f32x4.splat(0);
  let c: usize = 0;
  for (; c + 64 <= bytes; c += 64) {
    let a0 = zero;
    let a1 = zero;
    let a2 = zero;
    let a3 = zero;
    if (bias != 0) {
      a0 = v128.load(bias + c);
      a1 = v128.load(bias + c, 16);
      a2 = v128.load(bias + c, 32);
      a3 = v128.load(bias + c, 48);
    }
    for (let tap = taps; tap < tapsEnd; tap += 8) {
      const x = load<usize>(tap) + shift + c;
      const w = load<usize>(tap, 4) + c;
      a0 = madd(v128.load(x), v128.load(w), a0);
      a1 = madd(v128.load(x, 16), v128.load(w, 16), a1);
      a2 = madd(v128.load(x, 32), v128.load(w, 32), a2);
      a3 = madd(v128.load(x, 48), v128.load(w, 48), a3);
    }
    v128.store(target + c, clip(a0, low, high));
    v128.store(target + c, clip(a1, low, high), 16);
    v128.store(target + c, clip(a2, low, high), 32);
    v128.store(target + c, clip(a3, low, high), 48);
  }
  for (; c < bytes; c += 16) {
    let sum = bias == 0 ? zero : v128.load(bias + c);
    for (let tap = taps; tap < tapsEnd; tap += 8) {
      sum = madd(v128.load(load<usize>(tap) + shift + c), v128.load(load<usize>(tap, 4) + c), sum);
    }
    storeUpTo(target + c, clip(sum, low, high), bytes - c);
  }
}

/**
 * `sumTaps` of six pixels, `sourceStep` apart in x and `targetStep` in the target: they share the loads of taps and weights, and
 * their chains of multiply-adds run at the same time.
 */
function sumTapsOfSix(
  taps: usize,
  tapsEnd: usize,
  shift: usize,
  sourceStep: usize,
  bias: usize,
  target: usize,
  targetStep: usize,
  bytes: usize,
  low: v128,
  high: v128,
): void {
  for (let c: usize = 0; c < bytes; c += 16) {
    let a0 = bias == 0 ? f32x4.splat(0) : v128.load(bias + c);
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    let a4 = a0;
    let a5 = a0;
    const from = shift + c;
    for (let tap = taps; tap < tapsEnd; tap += 8) {
      let x = load<usize>(tap) + from;
      const w = v128.load(load<usize>(tap, 4) + c);
      a0 = madd(v128.load(x), w, a0);
      x += sourceStep;
      a1 = madd(v128.load(x), w, a1);
      x += sourceStep;
      a2 = madd(v128.load(x), w, a2);
      x += sourceStep;
      a3 = madd(v128.load(x), w, a3);
      x += sourceStep;
      a4 = madd(v128.load(x), w, a4);
      x += sourceStep;
      a5 = madd(v128.load(x), w, a5);
    }
    const left = bytes - c;
    let to = target + c;
    storeUpTo(to, clip(a0, low, high), left);
    to += targetStep;
    storeUpTo(to, clip(a1, low, high), left);
    to += targetStep;
    storeUpTo(to, clip(a2, low, high), left);
    to += targetStep;
    storeUpTo(to, clip(a3, low, high), left);
    to += targetStep;
    storeUpTo(to, clip(a4, low, high), left);
    to += targetStep;
    storeUpTo(to, clip(a5, low, high), left);
  }
}

/**
 * Neighbouring pixels of a row under a filter of width 3 and step 1. The weights of four channels stay in registers, each column
 * of the image is read once. Its products with a column of the filter are a sum of their own, which is then added: chains of 3
 * multiply-adds are short enough that those of several pixels run at the same time, chains of 9 are not. The loop's values,
 * 9 weights, 3 pixels, 2 sums and one more, fill V8's 15 registers (tiles.ts).
 * @param rows pairs of addresses (the leftmost column, the filter row)
 * @param down how many: 1, 2 or 3; a constant, so that each has code of its own
 * @param target of the first pixel that has all columns in the image
 * @param count such pixels; the image has `count` + 2 columns for them
 * @param before whether to write the pixel before them too, whose first column is outside
 * @param after the same of the pixel behind them and its last column
 * @param turned the filter's columns from right to left (0, 1)
 */
// @ts-ignore: decorator
@inline
function slide(
  rows: usize,
  down: i32,
  target: usize,
  count: i32,
  before: bool,
  after: bool,
  bytes: usize,
  turned: bool,
): void {
  const firstTap: usize = turned ? 2 * bytes : 0;
  const lastTap: usize = turned ? 0 : 2 * bytes;
  const second = down > 1 ? load<usize>(rows, 8) - load<usize>(rows) : 0;
  const third = down > 2 ? load<usize>(rows, 16) - load<usize>(rows) : 0;
  for (let c: usize = 0; c < bytes; c += 16) {
    let w = load<usize>(rows, 4) + c;
    const w00 = v128.load(w + firstTap);
    const w01 = v128.load(w + bytes);
    const w02 = v128.load(w + lastTap);
    if (down > 1) w = load<usize>(rows, 12) + c;
    const w10 = v128.load(w + firstTap);
    const w11 = v128.load(w + bytes);
    const w12 = v128.load(w + lastTap);
    if (down > 2) w = load<usize>(rows, 20) + c;
    const w20 = v128.load(w + firstTap);
    const w21 = v128.load(w + bytes);
    const w22 = v128.load(w + lastTap);
    const left = bytes - c;
    let to = target + c;
    let x = load<usize>(rows) + c;
    // One column: the sum of a pixel whose first column it was, and of one whose second.
    let one = column(x, second, third, down, w00, w10, w20);
    let two = column(x, second, third, down, w01, w11, w21);
    x += bytes;
    if (before) storeUpTo(to - bytes, f32x4.add(two, column(x, second, third, down, w02, w12, w22)), left);
    two = f32x4.add(one, column(x, second, third, down, w01, w11, w21));
    one = column(x, second, third, down, w00, w10, w20);
    for (let i = 0; i < count; i++) {
      x += bytes;
      storeUpTo(to, f32x4.add(two, column(x, second, third, down, w02, w12, w22)), left);
      two = f32x4.add(one, column(x, second, third, down, w01, w11, w21));
      one = column(x, second, third, down, w00, w10, w20);
      to += bytes;
    }
    if (after) storeUpTo(to, two, left);
  }
}

/** Σ over the `down` rows of x · w. */
// @ts-ignore: decorator
@inline
function column(x: usize, second: usize, third: usize, down: i32, w0: v128, w1: v128, w2: v128): v128 {
  let sum = f32x4.mul(v128.load(x), w0);
  if (down > 1) sum = madd(v128.load(x + second), w1, sum);
  if (down > 2) sum = madd(v128.load(x + third), w2, sum);
  return sum;
}

/** `slide` for as many rows of the filter as are in the image. */
function slideRows(
  rows: usize,
  rowsEnd: usize,
  target: usize,
  count: i32,
  before: bool,
  after: bool,
  bytes: usize,
  turned: bool,
): void {
  const down = rowsEnd - rows;
  if (down == 24) slide(rows, 3, target, count, before, after, bytes, turned);
  else if (down == 16) slide(rows, 2, target, count, before, after, bytes, turned);
  else slide(rows, 1, target, count, before, after, bytes, turned);
}

/** clip(x + bias, low, high) of `count` pixels, in place. @param bias address or 0 */
function finishRow(target: usize, count: i32, bias: usize, bytes: usize, low: v128, high: v128): void {
  const zero = f32x4.splat(0);
  for (let i = 0; i < count; i++) {
    for (let c: usize = 0; c < bytes; c += 16) {
      const sum = f32x4.add(v128.load(target + c), bias == 0 ? zero : v128.load(bias + c));
      storeUpTo(target + c, clip(sum, low, high), bytes - c);
    }
    target += bytes;
  }
}

/** Writes the rows of the filter that lie in the image under a target row, for `slide` at `left`; returns their end. */
function writeRows(task: usize, rows: usize, source: usize, y: i32, left: i32): usize {
  const bytes = <usize>int(task, 8) << 2;
  for (let ky = 0; ky < int(task, 11); ky++) {
    const fromY = y * int(task, 13) + ky * int(task, 15) + int(task, 17);
    const sourceY = fromY / int(task, 19);
    if (fromY < 0 || sourceY >= int(task, 6) || sourceY * int(task, 19) != fromY) continue;
    store<usize>(rows, source + <usize>(sourceY * int(task, 7) + left) * bytes);
    store<usize>(rows, pointer(task, 2) + <usize>(3 * ky) * bytes, 4);
    rows += 8;
  }
  return rows;
}

/** Writes the taps of a target pixel that lie in the image, as `sumTaps` reads them; returns their end. */
function writeTaps(task: usize, taps: usize, source: usize, y: i32, x: i32): usize {
  const bytes = <usize>int(task, 8) << 2;
  const divisorX = int(task, 20);
  const divisorY = int(task, 19);
  let fromY = y * int(task, 13) + int(task, 17);
  for (let ky = 0; ky < int(task, 11); ky++, fromY += int(task, 15)) {
    const sourceY = divisorY == 1 ? fromY : fromY / divisorY;
    if (fromY < 0 || sourceY >= int(task, 6) || sourceY * divisorY != fromY) continue;
    let fromX = x * int(task, 14) + int(task, 18);
    let w = pointer(task, 2) + <usize>(ky * int(task, 12)) * bytes;
    for (let kx = 0; kx < int(task, 12); kx++, fromX += int(task, 16), w += bytes) {
      const sourceX = divisorX == 1 ? fromX : fromX / divisorX;
      if (fromX < 0 || sourceX >= int(task, 7) || sourceX * divisorX != fromX) continue;
      store<usize>(taps, source + <usize>(sourceY * int(task, 7) + sourceX) * bytes);
      store<usize>(taps, w, 4);
      taps += 8;
    }
  }
  return taps;
}

/**
 * A target row, the pixels from `skipFirst` up to `skipEnd` excepted. Every divisor-th pixel has the same taps of the filter, one
 * step further; between the borders all of them are in the image.
 */
function sumRow(
  task: usize,
  taps: usize,
  source: usize,
  target: usize,
  y: i32,
  skipFirst: i32,
  skipEnd: i32,
  low: v128,
  high: v128,
): void {
  const bytes = <usize>int(task, 8) << 2;
  const width = int(task, 10);
  const divisor = int(task, 20);
  const step = int(task, 14);
  const bias = pointer(task, 3);
  for (let phase = 0; phase < divisor; phase++) {
    // The outermost source columns of this phase's first pixel.
    let leftmost: i32 = 0x7fffffff;
    let rightmost: i32 = -0x7fffffff;
    for (let kx = 0; kx < int(task, 12); kx++) {
      const from = phase * step + int(task, 18) + kx * int(task, 16);
      const column = from / divisor;
      if (column * divisor != from) continue;
      leftmost = min(leftmost, column);
      rightmost = max(rightmost, column);
    }
    const hasTaps = leftmost <= rightmost;
    for (let x = phase, column = 0; x < width; x += divisor, column += step) {
      if (x >= skipFirst && x < skipEnd) continue;
      const tapsEnd = writeTaps(task, taps, source, y, x);
      let shift: usize = 0;
      if (hasTaps && leftmost + column >= 0) {
        while (x + 5 * divisor < width && rightmost + column + 5 * step < int(task, 7) && (x >= skipEnd || x + 5 * divisor < skipFirst)) {
          const to = target + <usize>x * bytes;
          sumTapsOfSix(taps, tapsEnd, shift, <usize>step * bytes, bias, to, <usize>divisor * bytes, bytes, low, high);
          shift += <usize>(6 * step) * bytes;
          x += 6 * divisor;
          column += 6 * step;
        }
        // The rest between the borders.
        while (x < width && rightmost + column < int(task, 7) && !(x >= skipFirst && x < skipEnd)) {
          sumTaps(taps, tapsEnd, shift, bias, target + <usize>x * bytes, bytes, low, high);
          shift += <usize>step * bytes;
          x += divisor;
          column += step;
        }
        if (shift > 0) {
          // Back to the last pixel that was done, from which the loop steps on.
          x -= divisor;
          column -= step;
          continue;
        }
      }
      sumTaps(taps, tapsEnd, 0, bias, target + <usize>x * bytes, bytes, low, high);
    }
  }
}

/**
 * depthwise: [source, target, filter, bias or 0, scratch, batch, sourceHeight, sourceWidth, channels, targetHeight,
 * targetWidth, kernelHeight, kernelWidth, step y, step x, tap step y, tap step x, start y, start x, divisor y, divisor x]
 * (min, max). Scratch: 8 bytes a tap and thread.
 *
 * Target pixel (y, x) takes through tap (ky, kx) the source pixel (y · step + ky · tap step + start) / divisor where this
 * is a whole number inside the image: step = stride, divisor 1 forward; step 1, tap step −1, divisor = stride backward.
 */
export function depthwise(task: usize, thread: i32, threads: i32): void {
  const batch = int(task, 5);
  const sourceHeight = int(task, 6);
  const sourceWidth = int(task, 7);
  const targetHeight = int(task, 9);
  const targetWidth = int(task, 10);
  const down = int(task, 11);
  const across = int(task, 12);
  const bytes = <usize>int(task, 8) << 2;
  const taps = pointer(task, 4) + <usize>(thread * down * across) * 8;
  const bias = pointer(task, 3);
  const low = f32x4.splat(float(task, 0));
  const high = f32x4.splat(float(task, 1));
  const finishes = bias != 0 || float(task, 0) != -Infinity || float(task, 1) != Infinity;
  // The pixels from `firstInner` up to `innerEnd` have all their columns in the image.
  const tapStep = int(task, 16);
  const left = int(task, 18) + min(0, 2 * tapStep);
  const firstInner = max(0, -left);
  const innerEnd = min(targetWidth, sourceWidth - 2 - left);
  const count = innerEnd - firstInner;
  // `slide` also takes the pixels beside them that miss one column.
  const firstSlid = firstInner > 0 ? firstInner - 1 : 0;
  const slidEnd = innerEnd < targetWidth ? innerEnd + 1 : innerEnd;
  const adjacent = abs(tapStep) == 1 && int(task, 14) == 1 && int(task, 20) == 1;
  const fits = across == 3 && down <= 3 && adjacent && count >= 0 && sourceWidth >= 2 && slidEnd > firstSlid;
  const rows = batch * targetHeight;
  for (let row = shareStart(rows, thread, threads); row < shareStart(rows, thread + 1, threads); row++) {
    const y = row % targetHeight;
    const source = pointer(task, 0) + <usize>((row / targetHeight) * sourceHeight * sourceWidth) * bytes;
    const target = pointer(task, 1) + <usize>(row * targetWidth) * bytes;
    const rowsEnd = fits ? writeRows(task, taps, source, y, firstInner + left) : taps;
    const slides = rowsEnd > taps;
    if (slides) {
      const inner = target + <usize>firstInner * bytes;
      slideRows(taps, rowsEnd, inner, count, firstSlid < firstInner, slidEnd > innerEnd, bytes, tapStep < 0);
      if (finishes) finishRow(target + <usize>firstSlid * bytes, slidEnd - firstSlid, bias, bytes, low, high);
    }
    sumRow(task, taps, source, target, y, slides ? firstSlid : 0, slides ? slidEnd : 0, low, high);
  }
}

/** sums[c] += Σ over `count` pixels of x[c] · dy[c]; both walk with their own step (bytes). */
function sumPixels(x: usize, xStep: usize, dy: usize, dyStep: usize, count: i32, sums: usize, bytes: usize): void {
  let c: usize = 0;
  for (; c + 64 <= bytes; c += 64) {
    let a0 = v128.load(sums + c);
    let a1 = v128.load(sums + c, 16);
    let a2 = v128.load(sums + c, 32);
    let a3 = v128.load(sums + c, 48);
    let p = x + c;
    let q = dy + c;
    for (let i = 0; i < count; i++) {
      a0 = madd(v128.load(p), v128.load(q), a0);
      a1 = madd(v128.load(p, 16), v128.load(q, 16), a1);
      a2 = madd(v128.load(p, 32), v128.load(q, 32), a2);
      a3 = madd(v128.load(p, 48), v128.load(q, 48), a3);
      p += xStep;
      q += dyStep;
    }
    v128.store(sums + c, a0);
    v128.store(sums + c, a1, 16);
    v128.store(sums + c, a2, 32);
    v128.store(sums + c, a3, 48);
  }
  for (; c < bytes; c += 16) {
    let sum = v128.load(sums + c);
    for (let i: usize = 0; i < <usize>count; i++) {
      sum = madd(v128.load(x + c + i * xStep), v128.load(dy + c + i * dyStep), sum);
    }
    storeUpTo(sums + c, sum, bytes - c);
  }
}

/**
 * sums[k][c] += Σ over `count` pixels of x[pixel + k][c] · dy[pixel][c], k = 0, 1, 2: a window slides along a row, so that each
 * value is read once for the three taps of a filter row.
 */
function sumWindow(x: usize, dy: usize, count: i32, sums: usize, bytes: usize): void {
  let c: usize = 0;
  for (; c + 32 <= bytes; c += 32) {
    let to = sums + c;
    let a0 = v128.load(to);
    let b0 = v128.load(to, 16);
    let a1 = v128.load(to + bytes);
    let b1 = v128.load(to + bytes, 16);
    let a2 = v128.load(to + 2 * bytes);
    let b2 = v128.load(to + 2 * bytes, 16);
    let p = x + c;
    let q = dy + c;
    let x0 = v128.load(p);
    let y0 = v128.load(p, 16);
    p += bytes;
    let x1 = v128.load(p);
    let y1 = v128.load(p, 16);
    for (let i = 0; i < count; i++) {
      p += bytes;
      const x2 = v128.load(p);
      const y2 = v128.load(p, 16);
      const d = v128.load(q);
      const e = v128.load(q, 16);
      a0 = madd(x0, d, a0);
      b0 = madd(y0, e, b0);
      a1 = madd(x1, d, a1);
      b1 = madd(y1, e, b1);
      a2 = madd(x2, d, a2);
      b2 = madd(y2, e, b2);
      x0 = x1;
      y0 = y1;
      x1 = x2;
      y1 = y2;
      q += bytes;
    }
    v128.store(to, a0);
    v128.store(to, b0, 16);
    to += bytes;
    v128.store(to, a1);
    v128.store(to, b1, 16);
    to += bytes;
    v128.store(to, a2);
    v128.store(to, b2, 16);
  }
  sumRest(x, bytes, dy, count, sums, bytes, c);
}

/** `sumWindow` of pixels `step` columns of x apart. */
function sumSteps(x: usize, step: usize, dy: usize, count: i32, sums: usize, bytes: usize): void {
  let c: usize = 0;
  for (; c + 32 <= bytes; c += 32) {
    let to = sums + c;
    let a0 = v128.load(to);
    let b0 = v128.load(to, 16);
    let a1 = v128.load(to + bytes);
    let b1 = v128.load(to + bytes, 16);
    let a2 = v128.load(to + 2 * bytes);
    let b2 = v128.load(to + 2 * bytes, 16);
    let p0 = x + c;
    let p1 = p0 + bytes;
    let p2 = p1 + bytes;
    let q = dy + c;
    for (let i = 0; i < count; i++) {
      const d = v128.load(q);
      const e = v128.load(q, 16);
      a0 = madd(v128.load(p0), d, a0);
      b0 = madd(v128.load(p0, 16), e, b0);
      a1 = madd(v128.load(p1), d, a1);
      b1 = madd(v128.load(p1, 16), e, b1);
      a2 = madd(v128.load(p2), d, a2);
      b2 = madd(v128.load(p2, 16), e, b2);
      p0 += step;
      p1 += step;
      p2 += step;
      q += bytes;
    }
    v128.store(to, a0);
    v128.store(to, b0, 16);
    to += bytes;
    v128.store(to, a1);
    v128.store(to, b1, 16);
    to += bytes;
    v128.store(to, a2);
    v128.store(to, b2, 16);
  }
  sumRest(x, step, dy, count, sums, bytes, c);
}

/** What `sumSteps` does, from channel byte `c` on: too few channels for a pair of vectors. */
function sumRest(x: usize, step: usize, dy: usize, count: i32, sums: usize, bytes: usize, c: usize): void {
  for (; c < bytes; c += 16) {
    for (let k: usize = 0; k < 3; k++) {
      const to = sums + k * bytes + c;
      let sum = v128.load(to);
      for (let i: usize = 0; i < <usize>count; i++) {
        sum = madd(v128.load(x + c + i * step + k * bytes), v128.load(dy + c + i * bytes), sum);
      }
      storeUpTo(to, sum, bytes - c);
    }
  }
}

// @ts-ignore: decorator
@inline
function ceilDivide(a: i32, b: i32): i32 {
  return a <= 0 ? 0 : (a + b - 1) / b;
}

/** sums += the products of tap `kx` with the pixels from `first` up to `end` whose column is in the image. */
function sumTap(task: usize, x: usize, dy: usize, kx: i32, first: i32, end: i32, sums: usize): void {
  const bytes = <usize>int(task, 6) << 2;
  const stride = int(task, 12);
  const left = kx * int(task, 16) - int(task, 14);
  const from = max(first, ceilDivide(-left, stride));
  const to = min(end, ceilDivide(int(task, 5) - left, stride));
  if (from >= to) return;
  const source = x + <usize>(from * stride + left) * bytes;
  sumPixels(source, <usize>stride * bytes, dy + <usize>from * bytes, bytes, to - from, sums, bytes);
}

/**
 * depthwiseFilterGradient: [x, dy, sums, batch, height, width, channels, outHeight, outWidth, kernelHeight, kernelWidth,
 * strideHeight, strideWidth, padTop, padLeft, dilationHeight, dilationWidth]: sums [thread][kernelHeight · kernelWidth · channels] of
 * each thread's rows.
 */
export function depthwiseFilterGradient(task: usize, thread: i32, threads: i32): void {
  const batch = int(task, 3);
  const height = int(task, 4);
  const width = int(task, 5);
  const outHeight = int(task, 7);
  const outWidth = int(task, 8);
  const down = int(task, 9);
  const across = int(task, 10);
  const strideWidth = int(task, 12);
  const padLeft = int(task, 14);
  const bytes = <usize>int(task, 6) << 2;
  const sums = pointer(task, 2) + <usize>(thread * down * across) * bytes;
  memory.fill(sums, 0, <usize>(down * across) * bytes);
  const rows = batch * outHeight;
  for (let row = shareStart(rows, thread, threads); row < shareStart(rows, thread + 1, threads); row++) {
    const dy = pointer(task, 1) + <usize>(row * outWidth) * bytes;
    for (let ky = 0; ky < down; ky++) {
      const inY = (row % outHeight) * int(task, 11) - int(task, 13) + ky * int(task, 15);
      if (inY < 0 || inY >= height) continue;
      const x = pointer(task, 0) + <usize>(((row / outHeight) * height + inY) * width) * bytes;
      let kx = 0;
      for (; int(task, 16) == 1 && kx + 3 <= across; kx += 3) {
        // Pixels that have all three taps in the image; the others come one tap at a time.
        const first = ceilDivide(padLeft - kx, strideWidth);
        const end = min(outWidth, ceilDivide(width + padLeft - kx - 2, strideWidth));
        if (end - first < 4) break;
        const window = x + <usize>(first * strideWidth - padLeft + kx) * bytes;
        const sum = sums + <usize>(ky * across + kx) * bytes;
        const from = dy + <usize>first * bytes;
        if (strideWidth == 1) sumWindow(window, from, end - first, sum, bytes);
        else sumSteps(window, <usize>strideWidth * bytes, from, end - first, sum, bytes);
        for (let k = kx; k < kx + 3; k++) {
          sumTap(task, x, dy, k, 0, first, sums + <usize>(ky * across + k) * bytes);
          sumTap(task, x, dy, k, end, outWidth, sums + <usize>(ky * across + k) * bytes);
        }
      }
      for (; kx < across; kx++) sumTap(task, x, dy, kx, 0, outWidth, sums + <usize>(ky * across + kx) * bytes);
    }
  }
}

/** sumParts: [parts, target, count, length]: target = Σ of `count` arrays of `length` floats, in their order. */
export function sumParts(task: usize, thread: i32, threads: i32): void {
  const count = int(task, 2);
  const bytes = <usize>int(task, 3) << 2;
  const groups = int(task, 3) + 3 >> 2;
  const end = min(bytes, <usize>shareStart(groups, thread + 1, threads) << 4);
  for (let i = <usize>shareStart(groups, thread, threads) << 4; i < end; i += 16) {
    let sum = v128.load(pointer(task, 0) + i);
    for (let part = 1; part < count; part++) sum = f32x4.add(sum, v128.load(pointer(task, 0) + <usize>part * bytes + i));
    storeUpTo(pointer(task, 1) + i, sum, end - i);
  }
}
