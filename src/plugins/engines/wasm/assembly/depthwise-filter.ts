/** The filter gradient of depthwise convolution, channel multiplier 1. */
import {storeUpTo} from './rows';
import {int, madd, pointer, shareStart} from './task';

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
  const bytes = (<usize>int(task, 6)) << 2;
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
  const bytes = (<usize>int(task, 6)) << 2;
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
  const bytes = (<usize>int(task, 3)) << 2;
  const groups = (int(task, 3) + 3) >> 2;
  const end = min(bytes, (<usize>shareStart(groups, thread + 1, threads)) << 4);
  for (let i = (<usize>shareStart(groups, thread, threads)) << 4; i < end; i += 16) {
    let sum = v128.load(pointer(task, 0) + i);
    for (let part = 1; part < count; part++)
      sum = f32x4.add(sum, v128.load(pointer(task, 0) + <usize>part * bytes + i));
    storeUpTo(pointer(task, 1) + i, sum, end - i);
  }
}
