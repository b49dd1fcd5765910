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
  const channels = int(task, 8);
  const targetHeight = int(task, 9);
  const targetWidth = int(task, 10);
  const down = int(task, 11);
  const across = int(task, 12);
  const divisorY = int(task, 19);
  const divisorX = int(task, 20);
  const bytes = <usize>channels << 2;
  const taps = pointer(task, 4) + <usize>(thread * down * across) * 8;
  const low = f32x4.splat(float(task, 0));
  const high = f32x4.splat(float(task, 1));
  const rows = batch * targetHeight;
  for (let row = shareStart(rows, thread, threads); row < shareStart(rows, thread + 1, threads); row++) {
    const source = pointer(task, 0) + <usize>((row / targetHeight) * sourceHeight * sourceWidth) * bytes;
    let target = pointer(task, 1) + <usize>(row * targetWidth) * bytes;
    let tapsEnd = taps;
    let shift: usize = 0;
    let wasInside = false;
    for (let x = 0; x < targetWidth; x++) {
      // Between the borders the next pixel has the same taps, one step further.
      const firstX = x * int(task, 14) + int(task, 18);
      const lastX = firstX + (across - 1) * int(task, 16);
      const inside = divisorX == 1 && min(firstX, lastX) >= 0 && max(firstX, lastX) < sourceWidth;
      if (inside && wasInside) {
        shift += <usize>int(task, 14) * bytes;
      } else {
        shift = 0;
        tapsEnd = taps;
        let fromY = (row % targetHeight) * int(task, 13) + int(task, 17);
        for (let ky = 0; ky < down; ky++) {
          const sourceY = divisorY == 1 ? fromY : fromY / divisorY;
          if (fromY >= 0 && sourceY < sourceHeight && sourceY * divisorY == fromY) {
            let fromX = firstX;
            let w = pointer(task, 2) + <usize>(ky * across) * bytes;
            for (let kx = 0; kx < across; kx++) {
              const sourceX = divisorX == 1 ? fromX : fromX / divisorX;
              if (fromX >= 0 && sourceX < sourceWidth && sourceX * divisorX == fromX) {
                store<usize>(tapsEnd, source + <usize>(sourceY * sourceWidth + sourceX) * bytes);
                store<usize>(tapsEnd, w, 4);
                tapsEnd += 8;
              }
              fromX += int(task, 16);
              w += bytes;
            }
          }
          fromY += int(task, 15);
        }
      }
      wasInside = inside;
      sumTaps(taps, tapsEnd, shift, pointer(task, 3), target, bytes, low, high);
      target += bytes;
    }
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

// @ts-ignore: decorator
@inline
function ceilDivide(a: i32, b: i32): i32 {
  return a <= 0 ? 0 : (a + b - 1) / b;
}

/**
 * depthwiseFilterGradient: [x, dy, sums, batch, height, width, channels, outHeight, outWidth, kernelHeight, kernelWidth,
 * strideHeight, strideWidth, padTop, padLeft]: sums [thread][kernelHeight · kernelWidth · channels] of each thread's rows.
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
      const inY = (row % outHeight) * int(task, 11) - int(task, 13) + ky;
      if (inY < 0 || inY >= height) continue;
      const x = pointer(task, 0) + <usize>(((row / outHeight) * height + inY) * width) * bytes;
      for (let kx = 0; kx < across; kx++) {
        const first = ceilDivide(padLeft - kx, strideWidth);
        const end = min(outWidth, ceilDivide(width + padLeft - kx, strideWidth));
        const from = x + <usize>(first * strideWidth - padLeft + kx) * bytes;
        const sum = sums + <usize>(ky * across + kx) * bytes;
        if (first < end) {
          sumPixels(from, <usize>strideWidth * bytes, dy + <usize>first * bytes, bytes, end - first, sum, bytes);
        }
      }
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
