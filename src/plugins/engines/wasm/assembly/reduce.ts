/**
 * Sums and maxima over axes that follow one another: x seen as [outer, length, inner], reduced over `length`.
 *
 * Every (outer, part) is one piece of work: it leaves its result, in float64, in partials [outer, parts, inner]. A second
 * kernel combines the parts in order. Sums are float32 within `blockRows` rows (or 1024 elements in a row), float64 above.
 */
import {addToDoubles, blockRows} from './rows';
import {reduceMaximum} from './shared';
import {float, int, pointer, shareStart} from './task';

/** Elements of one row that are summed in float32. */
const blockElements: i32 = 1024;

// @ts-ignore: decorator
@inline
function combine(largest: bool, a: v128, b: v128): v128 {
  return largest ? f32x4.max(a, b) : f32x4.add(a, b);
}

// @ts-ignore: decorator
@inline
function first(largest: bool): v128 {
  return f32x4.splat(largest ? -Infinity : 0);
}

/** The largest (or the sum) of `count` floats that follow one another. */
// @ts-ignore: decorator
@inline
function reduceRun(largest: bool, start: usize, count: i32): f64 {
  let total: f64 = largest ? -Infinity : 0;
  for (let done = 0; done < count; done += blockElements) {
    const here = min(blockElements, count - done);
    let p = start + (<usize>done << 2);
    const end = p + (<usize>here << 2);
    let s0 = first(largest);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    for (; p + 64 <= end; p += 64) {
      s0 = combine(largest, s0, v128.load(p));
      s1 = combine(largest, s1, v128.load(p, 16));
      s2 = combine(largest, s2, v128.load(p, 32));
      s3 = combine(largest, s3, v128.load(p, 48));
    }
    for (; p < end; p += 4) {
      s0 = f32x4.replace_lane(s0, 0, f32x4.extract_lane(combine(largest, s0, v128.load32_splat(p)), 0));
    }
    const s = combine(largest, combine(largest, s0, s1), combine(largest, s2, s3));
    const low = combine(largest, s, i64x2.shuffle(s, s, 1, 1));
    const value = <f64>f32x4.extract_lane(combine(largest, low, i32x4.shuffle(low, low, 1, 1, 1, 1)), 0);
    total = largest ? max<f64>(total, value) : total + value;
  }
  return total;
}

/** Takes `sums` into the four f64 at `address`. */
// @ts-ignore: decorator
@inline
function takeIn(largest: bool, address: usize, sums: v128): void {
  if (!largest) {
    addToDoubles(address, sums);
    return;
  }
  v128.store(address, f64x2.max(v128.load(address), f64x2.promote_low_f32x4(sums)));
  const high = i64x2.shuffle(sums, sums, 1, 1);
  v128.store(address, f64x2.max(v128.load(address, 16), f64x2.promote_low_f32x4(high)), 16);
}

// @ts-ignore: decorator
@inline
function reduceParts(largest: bool, task: usize, thread: i32, threads: i32): void {
  const outer = int(task, 1);
  const length = int(task, 2);
  const inner = int(task, 3);
  const parts = int(task, 5);
  const stride = <usize>inner << 2;
  const columns = (inner + 3) & ~3;
  const end = shareStart(outer * parts, thread + 1, threads);
  for (let piece = shareStart(outer * parts, thread, threads); piece < end; piece++) {
    const part = piece % parts;
    const start = shareStart(length, part, parts);
    const stop = shareStart(length, part + 1, parts);
    const x = pointer(task, 0) + (<usize>(piece / parts) * <usize>length + <usize>start) * stride;
    const result = pointer(task, 4) + ((<usize>piece * <usize>columns) << 3);
    if (inner == 1) {
      store<f64>(result, reduceRun(largest, x, stop - start));
      continue;
    }
    for (let j = 0; j < columns; j++) store<f64>(result + (<usize>j << 3), largest ? -Infinity : 0);
    for (let row = start; row < stop; row += blockRows) {
      const rows = min(blockRows, stop - row);
      const block = x + <usize>(row - start) * stride;
      let j = 0;
      for (; j + 16 <= inner; j += 16) {
        let p = block + (<usize>j << 2);
        let s0 = first(largest);
        let s1 = s0;
        let s2 = s0;
        let s3 = s0;
        for (let r = 0; r < rows; r++, p += stride) {
          s0 = combine(largest, s0, v128.load(p));
          s1 = combine(largest, s1, v128.load(p, 16));
          s2 = combine(largest, s2, v128.load(p, 32));
          s3 = combine(largest, s3, v128.load(p, 48));
        }
        const to = result + (<usize>j << 3);
        takeIn(largest, to, s0);
        takeIn(largest, to + 32, s1);
        takeIn(largest, to + 64, s2);
        takeIn(largest, to + 96, s3);
      }
      for (; j < inner; j += 4) {
        let p = block + (<usize>j << 2);
        let s = first(largest);
        for (let r = 0; r < rows; r++, p += stride) s = combine(largest, s, v128.load(p));
        takeIn(largest, result + (<usize>j << 3), s);
      }
    }
  }
}

/**
 * reduce: [x, outer, length, inner, partials f64 [outer, parts, columns], parts, operation], columns = inner rounded up
 * to a multiple of 4. 0 sum, 1 maximum.
 */
export function reduce(task: usize, thread: i32, threads: i32): void {
  if (int(task, 6) == reduceMaximum) reduceParts(true, task, thread, threads);
  else reduceParts(false, task, thread, threads);
}

/** combineParts: [partials, outer, inner, parts, y [outer, inner], operation] (factor of a sum). */
export function combineParts(task: usize, thread: i32, threads: i32): void {
  const inner = int(task, 2);
  const parts = int(task, 3);
  const largest = int(task, 5) == reduceMaximum;
  const factor = <f64>float(task, 0);
  const columns = (inner + 3) & ~3;
  const end = shareStart(int(task, 1), thread + 1, threads);
  for (let o = shareStart(int(task, 1), thread, threads); o < end; o++) {
    for (let j = 0; j < inner; j++) {
      let p = pointer(task, 0) + ((<usize>o * <usize>parts * <usize>columns + <usize>j) << 3);
      let value = load<f64>(p);
      for (let part = 1; part < parts; part++) {
        p += <usize>columns << 3;
        value = largest ? max<f64>(value, load<f64>(p)) : value + load<f64>(p);
      }
      store<f32>(pointer(task, 4) + ((<usize>o * <usize>inner + <usize>j) << 2), <f32>(largest ? value : value * factor));
    }
  }
}
