/**
 * Depthwise convolution with filters 3 wide and at most 3 high, of stride 1 or 2, and its input gradient: a window slides along the
 * row with the weights of four channels in registers; each column of the image is read once. Its products with a column of
 * the filter are a sum of their own, which is then added: chains of 3 multiply-adds are short enough that those of several pixels
 * run at the same time, chains of 9 are not. 9 weights, 3 pixels, 2 sums and one more fill V8's 15 registers (tiles.ts).
 * The loops write a whole target row; see depthwise-runs.ts for the parameters.
 */
import {clip, storeUpTo} from './rows';
import {float, int, madd, pointer} from './task';

/** Columns of the image that a segment of a row reads. */
const segmentColumns: i32 = 32;

/** Σ over the `down` rows of x · w. @param second, third distances in bytes from the first row */
// @ts-ignore: decorator
@inline
function column(x: usize, second: usize, third: usize, down: i32, w0: v128, w1: v128, w2: v128): v128 {
  let sum = f32x4.mul(v128.load(x), w0);
  if (down > 1) sum = madd(v128.load(x + second), w1, sum);
  if (down > 2) sum = madd(v128.load(x + third), w2, sum);
  return sum;
}

// @ts-ignore: decorator
@inline
function put(address: usize, value: v128, whole: bool, bytes: usize): void {
  if (whole) v128.store(address, value);
  else storeUpTo(address, value, bytes);
}

/**
 * The loops, for four channels. Constants, so that each has code of its own: `down`, `step`, `divisor` and `whole`.
 * @param rows pairs (address, weights) of the source rows
 * @param down how many: 1, 2 or 3
 * @param step 1, or 2: the stride forward
 * @param divisor 1, or 2: the stride backward, when `before` says whether a pixel precedes the first that is written
 * @param first tap of a window, counted in bytes from the first of the filter row; `last` the same
 * @param x the first pixel of the window's first row
 * @param sourceWidth its columns
 * @param before whether the first target pixel's first column is outside the image
 * @param width pixels of the target
 * @param left bytes of the channels that are left
 */
// @ts-ignore: decorator
@inline
function slideChannels(
  down: i32,
  step: i32,
  divisor: i32,
  whole: bool,
  rows: usize,
  shift: usize,
  first: usize,
  last: usize,
  c: usize,
  sourceWidth: i32,
  before: bool,
  target: usize,
  width: i32,
  bytes: usize,
): void {
  const left = bytes - c;
  const second = down > 1 ? load<usize>(rows, 8) - load<usize>(rows) : 0;
  const third = down > 2 ? load<usize>(rows, 16) - load<usize>(rows) : 0;
  let w = load<usize>(rows, 4) + c;
  const w00 = v128.load(w + first);
  const w01 = v128.load(w + bytes);
  const w02 = v128.load(w + last);
  if (down > 1) w = load<usize>(rows, 12) + c;
  const w10 = v128.load(w + first);
  const w11 = v128.load(w + bytes);
  const w12 = v128.load(w + last);
  if (down > 2) w = load<usize>(rows, 20) + c;
  const w20 = v128.load(w + first);
  const w21 = v128.load(w + bytes);
  const w22 = v128.load(w + last);
  let to = target + c;
  let x = load<usize>(rows) + shift + c;
  if (divisor == 2) {
    // A column adds to three target pixels, the third of which is the next one's first.
    const end = to + <usize>width * bytes;
    let carried = column(x, second, third, down, w02, w12, w22);
    if (!before) {
      put(to, column(x, second, third, down, w00, w10, w20), whole, left);
      to += bytes;
    }
    put(to, column(x, second, third, down, w01, w11, w21), whole, left);
    for (let i = 1; i < sourceWidth; i++) {
      x += bytes;
      to += bytes;
      put(to, f32x4.add(carried, column(x, second, third, down, w00, w10, w20)), whole, left);
      to += bytes;
      put(to, column(x, second, third, down, w01, w11, w21), whole, left);
      carried = column(x, second, third, down, w02, w12, w22);
    }
    for (to += bytes; to < end; to += bytes) {
      put(to, carried, whole, left);
      carried = f32x4.splat(0);
    }
    return;
  }
  // The sum of a pixel whose first column has been read, and of one whose second has.
  let one = f32x4.splat(0);
  if (!before) {
    one = column(x, second, third, down, w00, w10, w20);
    x += bytes;
  }
  let two = f32x4.add(one, column(x, second, third, down, w01, w11, w21));
  if (step == 1) one = column(x, second, third, down, w00, w10, w20);
  // Pixels whose last column is in the image.
  const reached = (sourceWidth + (before ? 1 : 0) - 3 + step) / step;
  let i = min(width, reached);
  while (i > 0) {
    x += bytes;
    put(to, f32x4.add(two, column(x, second, third, down, w02, w12, w22)), whole, left);
    to += bytes;
    if (step == 1) two = f32x4.add(one, column(x, second, third, down, w01, w11, w21));
    one = column(x, second, third, down, w00, w10, w20);
    i--;
    if (step == 2) {
      if (i == 0 && width <= reached) break;
      x += bytes;
      two = f32x4.add(one, column(x, second, third, down, w01, w11, w21));
    }
  }
  if (width > reached) put(to, two, whole, left);
}

/**
 * `slideChannels` for all channels.
 * @param shift from the beginning of the rows to the first column, in bytes
 * @param turned the filter's columns from right to left
 */
// @ts-ignore: decorator
@inline
function slide(
  down: i32,
  step: i32,
  divisor: i32,
  rows: usize,
  shift: usize,
  turned: bool,
  sourceWidth: i32,
  before: bool,
  target: usize,
  width: i32,
  bytes: usize,
): void {
  const first: usize = turned ? 2 * bytes : 0;
  const last: usize = turned ? 0 : 2 * bytes;
  let c: usize = 0;
  for (; c + 16 <= bytes; c += 16) {
    slideChannels(down, step, divisor, true, rows, shift, first, last, c, sourceWidth, before, target, width, bytes);
  }
  if (c < bytes) {
    slideChannels(down, step, divisor, false, rows, shift, first, last, c, sourceWidth, before, target, width, bytes);
  }
}

function slideOnce(
  rows: usize,
  rowsEnd: usize,
  shift: usize,
  turned: bool,
  sourceWidth: i32,
  before: bool,
  target: usize,
  width: i32,
  bytes: usize,
): void {
  const down = rowsEnd - rows;
  if (down == 24) slide(3, 1, 1, rows, shift, turned, sourceWidth, before, target, width, bytes);
  else if (down == 16) slide(2, 1, 1, rows, shift, turned, sourceWidth, before, target, width, bytes);
  else slide(1, 1, 1, rows, shift, turned, sourceWidth, before, target, width, bytes);
}

function slideByTwo(
  rows: usize,
  rowsEnd: usize,
  shift: usize,
  sourceWidth: i32,
  before: bool,
  target: usize,
  width: i32,
  bytes: usize,
): void {
  const down = rowsEnd - rows;
  if (down == 24) slide(3, 2, 1, rows, shift, false, sourceWidth, before, target, width, bytes);
  else if (down == 16) slide(2, 2, 1, rows, shift, false, sourceWidth, before, target, width, bytes);
  else slide(1, 2, 1, rows, shift, false, sourceWidth, before, target, width, bytes);
}

function slideBackByTwo(
  rows: usize,
  rowsEnd: usize,
  shift: usize,
  sourceWidth: i32,
  before: bool,
  target: usize,
  width: i32,
  bytes: usize,
): void {
  const down = rowsEnd - rows;
  if (down == 24) slide(3, 1, 2, rows, shift, false, sourceWidth, before, target, width, bytes);
  else if (down == 16) slide(2, 1, 2, rows, shift, false, sourceWidth, before, target, width, bytes);
  else slide(1, 1, 2, rows, shift, false, sourceWidth, before, target, width, bytes);
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

/** The column of pixel 0 that is furthest left. */
function firstColumn(task: usize): i32 {
  return int(task, 18) + min(0, 2 * int(task, 16));
}

/** Whether `slideRow` takes this convolution: no pixel may miss more than a column on one side. */
export function slides(task: usize): bool {
  const sourceWidth = int(task, 7);
  const width = int(task, 10);
  const step = int(task, 14);
  const tapStep = int(task, 16);
  if (int(task, 12) != 3 || int(task, 11) > 3 || sourceWidth == 0) return false;
  if (int(task, 20) == 2) {
    const before = int(task, 18);
    return tapStep == -1 && step == 1 && (before == 0 || before == 1) && 2 * sourceWidth - before <= width;
  }
  if (int(task, 20) != 1 || abs(tapStep) != 1 || (step != 1 && (step != 2 || tapStep != 1))) return false;
  const first = firstColumn(task);
  // Besides the last pixel's last column, all columns from 0 on.
  const end = first + (width - 1) * step + 2;
  return (first == 0 || first == -1) && end <= sourceWidth;
}

/**
 * A target row, in segments: what they read stays in the first-level cache from one group of channels to the next.
 * @param rows the source rows (`writeRows`), up to `rowsEnd`
 */
export function slideRow(task: usize, rows: usize, rowsEnd: usize, target: usize, low: v128, high: v128): void {
  const bytes = (<usize>int(task, 8)) << 2;
  const sourceWidth = int(task, 7);
  const width = int(task, 10);
  const step = int(task, 14);
  if (int(task, 20) == 2) {
    const start = int(task, 18);
    for (let column = 0; column < sourceWidth; column += segmentColumns / 2) {
      // All segments but the first begin with a column that has been read, for what it adds to the next pixel.
      const from = max(0, column - 1);
      const end = min(sourceWidth, column + segmentColumns / 2);
      const pixel = column == 0 ? 0 : 2 * from + 1 - start;
      const pixels = (end == sourceWidth ? width : 2 * end - start) - pixel;
      const to = target + <usize>pixel * bytes;
      const before = column > 0 || start == 1;
      slideBackByTwo(rows, rowsEnd, <usize>from * bytes, end - from, before, to, pixels, bytes);
    }
  } else {
    const first = firstColumn(task);
    for (let pixel = 0; pixel < width; pixel += segmentColumns / step) {
      const column = max(0, first + pixel * step);
      const before = first + pixel * step < 0;
      const pixels = min(segmentColumns / step, width - pixel);
      const shift = <usize>column * bytes;
      const to = target + <usize>pixel * bytes;
      if (step == 2) slideByTwo(rows, rowsEnd, shift, sourceWidth - column, before, to, pixels, bytes);
      else slideOnce(rows, rowsEnd, shift, int(task, 16) < 0, sourceWidth - column, before, to, pixels, bytes);
    }
  }
  const bias = pointer(task, 3);
  if (bias != 0 || float(task, 0) != -Infinity || float(task, 1) != Infinity) {
    finishRow(target, width, bias, bytes, low, high);
  }
}
