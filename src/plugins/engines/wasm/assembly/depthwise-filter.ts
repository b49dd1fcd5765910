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

/** Columns of the image that a segment of `sumEverySecond` reads: they stay in the first-level cache for all channels. */
const segmentColumns: i32 = 32;

/**
 * The sums of `down` rows of a filter 3 wide and of stride 2, over neighbouring pixels of dy: every column of the image is read once,
 * the 9 sums of four channels stay in registers. The loop has basic blocks of few loads (tiles.ts).
 * @param down 1, 2 or 3: a constant, so that each has code of its own
 * @param source the first pixel's first column or, with `before`, its second: the first is outside the image
 * @param xEnd the end of the row of x
 * @param xRow distance of the image's rows in bytes
 */
// @ts-ignore: decorator
@inline
function sumEverySecond(
  down: i32,
  source: usize,
  xEnd: usize,
  xRow: usize,
  before: bool,
  dy: usize,
  dyEnd: usize,
  sums: usize,
  bytes: usize,
): void {
  for (let c: usize = 0; c < bytes; c += 16) {
    const zero = f32x4.splat(0);
    let to = sums + c;
    let s00 = v128.load(to);
    let s01 = v128.load(to + bytes);
    let s02 = v128.load(to + 2 * bytes);
    let s10 = down > 1 ? v128.load(to + 3 * bytes) : zero;
    let s11 = down > 1 ? v128.load(to + 4 * bytes) : zero;
    let s12 = down > 1 ? v128.load(to + 5 * bytes) : zero;
    let s20 = down > 2 ? v128.load(to + 6 * bytes) : zero;
    let s21 = down > 2 ? v128.load(to + 7 * bytes) : zero;
    let s22 = down > 2 ? v128.load(to + 8 * bytes) : zero;
    let p = source + c;
    let q = dy + c;
    let d = v128.load(q);
    if (!before) {
      s00 = madd(v128.load(p), d, s00);
      if (down > 1) s10 = madd(v128.load(p + xRow), d, s10);
      if (down > 2) s20 = madd(v128.load(p + 2 * xRow), d, s20);
      p += bytes;
    }
    while (true) {
      s01 = madd(v128.load(p), d, s01);
      if (down > 1) s11 = madd(v128.load(p + xRow), d, s11);
      if (down > 2) s21 = madd(v128.load(p + 2 * xRow), d, s21);
      p += bytes;
      q += bytes;
      if (q >= dyEnd) break;
      const next = v128.load(q);
      let x = v128.load(p);
      s02 = madd(x, d, s02);
      s00 = madd(x, next, s00);
      if (down > 1) x = v128.load(p + xRow);
      if (down > 1) s12 = madd(x, d, s12);
      if (down > 1) s10 = madd(x, next, s10);
      if (down > 2) x = v128.load(p + 2 * xRow);
      if (down > 2) s22 = madd(x, d, s22);
      if (down > 2) s20 = madd(x, next, s20);
      d = next;
      p += bytes;
      // Never: the row goes on. It divides the loop into two basic blocks.
      if (p >= xEnd) break;
    }
    if (p < xEnd) {
      s02 = madd(v128.load(p), d, s02);
      if (down > 1) s12 = madd(v128.load(p + xRow), d, s12);
      if (down > 2) s22 = madd(v128.load(p + 2 * xRow), d, s22);
    }
    const left = bytes - c;
    storeUpTo(to, s00, left);
    storeUpTo(to + bytes, s01, left);
    storeUpTo(to + 2 * bytes, s02, left);
    if (down > 1) to += 3 * bytes;
    if (down > 1) storeUpTo(to, s10, left);
    if (down > 1) storeUpTo(to + bytes, s11, left);
    if (down > 1) storeUpTo(to + 2 * bytes, s12, left);
    if (down > 2) to += 3 * bytes;
    if (down > 2) storeUpTo(to, s20, left);
    if (down > 2) storeUpTo(to + bytes, s21, left);
    if (down > 2) storeUpTo(to + 2 * bytes, s22, left);
  }
}

/** `sumEverySecond` for all rows of the filter that are in the image under a row of dy. @param inY the first one's row, if it is */
function sumRowOfStride2(task: usize, image: usize, inY: i32, dy: usize, sums: usize): void {
  const height = int(task, 4);
  const width = int(task, 5);
  const outWidth = int(task, 8);
  const down = int(task, 9);
  const apart = int(task, 15);
  const bytes = (<usize>int(task, 6)) << 2;
  const row = <usize>width * bytes;
  const xRow = <usize>apart * row;
  let ky = 0;
  while (ky < down && inY + ky * apart < 0) ky++;
  while (ky < down && inY + ky * apart < height) {
    let rows = 1;
    while (rows < 3 && ky + rows < down && inY + (ky + rows) * apart < height) rows++;
    const x = image + <usize>(inY + ky * apart) * row;
    const sum = sums + <usize>(3 * ky) * bytes;
    for (let pixel = 0; pixel < outWidth; pixel += segmentColumns / 2) {
      const column = 2 * pixel - int(task, 14);
      const from = x + <usize>max(0, column) * bytes;
      const dyFrom = dy + <usize>pixel * bytes;
      const dyEnd = dy + <usize>min(outWidth, pixel + segmentColumns / 2) * bytes;
      if (rows == 3) sumEverySecond(3, from, x + row, xRow, column < 0, dyFrom, dyEnd, sum, bytes);
      else if (rows == 2) sumEverySecond(2, from, x + row, xRow, column < 0, dyFrom, dyEnd, sum, bytes);
      else sumEverySecond(1, from, x + row, xRow, column < 0, dyFrom, dyEnd, sum, bytes);
    }
    ky += rows;
  }
}

/** Whether `sumRowOfStride2` takes this convolution: no pixel may miss more than a column on one side. */
function isOfStride2(task: usize): bool {
  const padLeft = int(task, 14);
  const plain = int(task, 10) == 3 && int(task, 12) == 2 && int(task, 16) == 1;
  return plain && (padLeft == 0 || padLeft == 1) && 2 * int(task, 8) - padLeft <= int(task, 5);
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
  const ofStride2 = isOfStride2(task);
  for (let row = shareStart(rows, thread, threads); row < shareStart(rows, thread + 1, threads); row++) {
    const dy = pointer(task, 1) + <usize>(row * outWidth) * bytes;
    if (ofStride2) {
      const image = pointer(task, 0) + <usize>((row / outHeight) * height * width) * bytes;
      sumRowOfStride2(task, image, (row % outHeight) * int(task, 11) - int(task, 13), dy, sums);
      continue;
    }
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
