/**
 * Products of quantized matrices on whole numbers: x · w where every value of x is s · (a + z) with whole a of 8 bits, and every
 * value of w in column j is sⱼ · (c + zw) with whole c ≥ 0 of at most 6 bits. Sums of a · c are exact, whatever their order.
 *
 * A tile is 4 rows × 8 columns, as in tiles.ts, and a step is 4 neighbours of the sum. Bytes are multiplied in pairs and added up
 * in 16 bits; after a stretch of steps that cannot overflow these, they are added to sums of 32 bits.
 */
import {clip} from './rows';
import {tileColumns, tileRows} from './shared';
import {float, int, madd, pointer, shareStart} from './task';
import {storeColumns} from './tiles';

/** Bytes of a panel before its steps: 8 whole-number terms, 8 factors and 8 biases. */
// @ts-ignore: decorator
@inline
const panelHead: usize = 96;
/** Bytes of four packed rows before their steps: a whole-number term for each. */
// @ts-ignore: decorator
@inline
const rowsHead: usize = 16;

/** Products of signed bytes of `a` with bytes 0 … 127 of `c`, neighbours added: 8 × 16 bits. */
// @ts-ignore: decorator
@inline
function dotPairs(a: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i16x8.relaxed_dot_i8x16_i7x16_s(a, c);
  const even = i16x8.mul(i16x8.shr_s(i16x8.shl(a, 8), 8), v128.and(c, i16x8.splat(127)));
  return i16x8.add(even, i16x8.mul(i16x8.shr_s(a, 8), i16x8.shr_u(c, 8)));
}

/** The whole number nearest to x · inverse − zero; less than 2²² in magnitude. */
// @ts-ignore: decorator
@inline
function wholeNumber(x: v128, inverse: v128, zero: v128): v128 {
  // Behind 3 · 2²² a float's last bit counts ones.
  const shifted = f32x4.add(f32x4.sub(f32x4.mul(x, inverse), zero), f32x4.splat(12582912));
  return i32x4.sub(shifted, i32x4.splat(0x4b400000));
}

/** All ones in the first `count` of 4 lanes. */
// @ts-ignore: decorator
@inline
function firstLanes(count: i32): v128 {
  return i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(count));
}

/** 16 whole numbers to bytes, four of each vector after the other. */
// @ts-ignore: decorator
@inline
function toBytes(n0: v128, n1: v128, n2: v128, n3: v128): v128 {
  return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(n0, n1), i16x8.narrow_i32x4_s(n2, n3));
}

/**
 * packWeightCodes: [w [length, columns], target, 1 / s [columns, padded to 8], factors (the same), bias or 0, notFinite, length, columns,
 * factor of a column's sum, addend] (zero of w).
 *
 * Panel j: for each of columns 8j … 8j + 7 the whole number factor · Σ c + addend, the factor of its sums and its bias (or 0); then for
 * every four rows the codes c of a column next to each other. What is past the ends is 0. `notFinite` is the address of
 * an integer that becomes 1 when a weight is NaN or infinite.
 */
export function packWeightCodes(task: usize, thread: i32, threads: i32): void {
  const bias = pointer(task, 4);
  const length = int(task, 6);
  const columns = int(task, 7);
  const rowBytes = <usize>columns << 2;
  const zero = f32x4.splat(float(task, 0));
  const panels = (columns + tileColumns - 1) / tileColumns;
  const steps = (length + 3) / 4;
  const panelBytes = panelHead + (<usize>steps << 5);
  let check = f32x4.splat(0);
  for (let i = shareStart(panels, thread, threads); i < shareStart(panels, thread + 1, threads); i++) {
    const head = pointer(task, 1) + <usize>i * panelBytes;
    const first = i * tileColumns;
    for (let half = 0; half < 2; half++) {
      const at = <usize>(first + 4 * half) << 2;
      const inverse = v128.load(pointer(task, 2) + at);
      const lanes = firstLanes(columns - first - 4 * half);
      let source = pointer(task, 0) + at;
      let target = head + panelHead + (<usize>half << 4);
      let sum = i32x4.splat(0);
      for (let k = 0; k < length; k += 4) {
        let n0 = i32x4.splat(0);
        let n1 = n0;
        let n2 = n0;
        let n3 = n0;
        let x = v128.and(v128.load(source), lanes);
        check = madd(x, f32x4.splat(0), check);
        n0 = v128.and(wholeNumber(x, inverse, zero), lanes);
        if (k + 1 < length) {
          x = v128.and(v128.load(source + rowBytes), lanes);
          check = madd(x, f32x4.splat(0), check);
          n1 = v128.and(wholeNumber(x, inverse, zero), lanes);
        }
        if (k + 2 < length) {
          x = v128.and(v128.load(source + 2 * rowBytes), lanes);
          check = madd(x, f32x4.splat(0), check);
          n2 = v128.and(wholeNumber(x, inverse, zero), lanes);
        }
        if (k + 3 < length) {
          x = v128.and(v128.load(source + 3 * rowBytes), lanes);
          check = madd(x, f32x4.splat(0), check);
          n3 = v128.and(wholeNumber(x, inverse, zero), lanes);
        }
        sum = i32x4.add(sum, i32x4.add(i32x4.add(n0, n1), i32x4.add(n2, n3)));
        const bytes = toBytes(n0, n1, n2, n3);
        v128.store(target, v128.shuffle<i8>(bytes, bytes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
        source += 4 * rowBytes;
        target += 32;
      }
      const place = head + (<usize>half << 4);
      v128.store(place, i32x4.add(i32x4.mul(sum, i32x4.splat(int(task, 8))), i32x4.splat(int(task, 9))));
      v128.store(place, v128.load(pointer(task, 3) + at), 32);
      v128.store(place, bias == 0 ? f32x4.splat(0) : v128.and(v128.load(bias + at), lanes), 64);
    }
  }
  if (v128.any_true(f32x4.ne(check, check))) store<i32>(pointer(task, 5), 1);
}

/**
 * Packs four rows: for each the term factor · Σ a, then for every four columns the codes of the rows one after the other; 0 past
 * the end of a row. Returns the sum of 0 · value: NaN if one is not finite.
 */
function packRows(
  row0: usize,
  row1: usize,
  row2: usize,
  row3: usize,
  length: i32,
  target: usize,
  inverse: v128,
  zero: v128,
  factor: i32,
): v128 {
  const none = f32x4.splat(0);
  let check = none;
  let sum0 = i32x4.splat(0);
  let sum1 = sum0;
  let sum2 = sum0;
  let sum3 = sum0;
  let to = target + rowsHead;
  for (let left = length; left > 0; left -= 4) {
    const x0 = v128.load(row0);
    const x1 = v128.load(row1);
    const x2 = v128.load(row2);
    const x3 = v128.load(row3);
    let n0 = wholeNumber(x0, inverse, zero);
    let n1 = wholeNumber(x1, inverse, zero);
    let n2 = wholeNumber(x2, inverse, zero);
    let n3 = wholeNumber(x3, inverse, zero);
    let checked = madd(x3, none, madd(x2, none, madd(x1, none, f32x4.mul(x0, none))));
    if (left < 4) {
      const lanes = firstLanes(left);
      n0 = v128.and(n0, lanes);
      n1 = v128.and(n1, lanes);
      n2 = v128.and(n2, lanes);
      n3 = v128.and(n3, lanes);
      checked = v128.and(checked, lanes);
    }
    check = f32x4.add(check, checked);
    sum0 = i32x4.add(sum0, n0);
    sum1 = i32x4.add(sum1, n1);
    sum2 = i32x4.add(sum2, n2);
    sum3 = i32x4.add(sum3, n3);
    v128.store(to, toBytes(n0, n1, n2, n3));
    row0 += 16;
    row1 += 16;
    row2 += 16;
    row3 += 16;
    to += 16;
  }
  store<i32>(target, factor * sumOfLanes(sum0));
  store<i32>(target, factor * sumOfLanes(sum1), 4);
  store<i32>(target, factor * sumOfLanes(sum2), 8);
  store<i32>(target, factor * sumOfLanes(sum3), 12);
  return check;
}

// @ts-ignore: decorator
@inline
function sumOfLanes(x: v128): i32 {
  const pairs = i32x4.add(x, i64x2.shuffle(x, x, 1, 1));
  return i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1);
}

/** sums[place] += neighbours of 8 × 16 bits. */
// @ts-ignore: decorator
@inline
function addPairs(sums: usize, pairs: v128): void {
  v128.store(sums, i32x4.add(v128.load(sums), i32x4.extadd_pairwise_i16x8_s(pairs)));
}

/** Four rows: sums[4][8] = Σ a · c. @param stretch steps that 16 bits hold */
function sumTile(rows: usize, panel: usize, steps: i32, stretch: i32, sums: usize): void {
  let a = rows + rowsHead;
  let c = panel + panelHead;
  memory.fill(sums, 0, 128);
  for (; steps > 0; steps -= stretch) {
    let a0 = i16x8.splat(0);
    let b0 = a0;
    let a1 = a0;
    let b1 = a0;
    let a2 = a0;
    let b2 = a0;
    let a3 = a0;
    let b3 = a0;
    for (let count = min(steps, stretch); count > 0; count--) {
      const c0 = v128.load(c);
      const c1 = v128.load(c, 16);
      let s = v128.load32_splat(a);
      a0 = i16x8.add(a0, dotPairs(s, c0));
      b0 = i16x8.add(b0, dotPairs(s, c1));
      s = v128.load32_splat(a, 4);
      a1 = i16x8.add(a1, dotPairs(s, c0));
      b1 = i16x8.add(b1, dotPairs(s, c1));
      s = v128.load32_splat(a, 8);
      a2 = i16x8.add(a2, dotPairs(s, c0));
      b2 = i16x8.add(b2, dotPairs(s, c1));
      s = v128.load32_splat(a, 12);
      a3 = i16x8.add(a3, dotPairs(s, c0));
      b3 = i16x8.add(b3, dotPairs(s, c1));
      a += 16;
      c += 32;
    }
    addPairs(sums, a0);
    addPairs(sums + 16, b0);
    addPairs(sums + 32, a1);
    addPairs(sums + 48, b1);
    addPairs(sums + 64, a2);
    addPairs(sums + 80, b2);
    addPairs(sums + 96, a3);
    addPairs(sums + 112, b3);
  }
}

/**
 * integerProduct: [x [rows, length], y [rows, columns], panels of packWeightCodes, scratch, rows, length, columns, notFinite, groups of four
 * rows of a band, steps of a stretch, factor of a row's sum, bytes of scratch per thread] (1 / s, zero of x, min, max):
 * y = clip(factor of the column · (4 Σ a · c + the row's term + the column's term) + bias, min, max).
 * Scratch: sums of a tile (128 bytes), packed rows of a band.
 */
export function integerProduct(task: usize, thread: i32, threads: i32): void {
  const rows = int(task, 4);
  const length = int(task, 5);
  const columns = int(task, 6);
  const steps = (length + 3) / 4;
  const sums = pointer(task, 3) + <usize>thread * pointer(task, 11);
  const packed = sums + 128;
  const packedBytes = rowsHead + (<usize>steps << 4);
  const panelBytes = panelHead + (<usize>steps << 5);
  const sourceRow = <usize>length << 2;
  const targetRow = <usize>columns << 2;
  const inverse = f32x4.splat(float(task, 0));
  const zero = f32x4.splat(float(task, 1));
  const low = f32x4.splat(float(task, 2));
  const high = f32x4.splat(float(task, 3));
  const groups = (rows + tileRows - 1) / tileRows;
  const last = shareStart(groups, thread + 1, threads);
  let check = f32x4.splat(0);
  for (let first = shareStart(groups, thread, threads); first < last; first += int(task, 8)) {
    const end = min(last, first + int(task, 8));
    for (let group = first; group < end; group++) {
      const row = group * tileRows;
      const x0 = pointer(task, 0) + <usize>row * sourceRow;
      const x1 = row + 1 < rows ? x0 + sourceRow : x0;
      const x2 = row + 2 < rows ? x1 + sourceRow : x0;
      const x3 = row + 3 < rows ? x2 + sourceRow : x0;
      const to = packed + <usize>(group - first) * packedBytes;
      check = f32x4.add(check, packRows(x0, x1, x2, x3, length, to, inverse, zero, int(task, 10)));
    }
    let panel = pointer(task, 2);
    for (let column = 0; column < columns; column += tileColumns) {
      const here = min(tileColumns, columns - column);
      for (let group = first; group < end; group++) {
        const from = packed + <usize>(group - first) * packedBytes;
        sumTile(from, panel, steps, int(task, 9), sums);
        const terms0 = v128.load(panel);
        const terms1 = v128.load(panel, 16);
        const factors0 = v128.load(panel, 32);
        const factors1 = v128.load(panel, 48);
        const count = min(tileRows, rows - group * tileRows);
        let target = pointer(task, 1) + <usize>(group * tileRows) * targetRow + (<usize>column << 2);
        for (let r = 0; r < count; r++) {
          const sum = sums + (<usize>r << 5);
          const term = v128.load32_splat(from + (<usize>r << 2));
          const t0 = i32x4.add(i32x4.add(i32x4.shl(v128.load(sum), 2), terms0), term);
          const t1 = i32x4.add(i32x4.add(i32x4.shl(v128.load(sum, 16), 2), terms1), term);
          const y0 = madd(f32x4.convert_i32x4_s(t0), factors0, v128.load(panel, 64));
          const y1 = madd(f32x4.convert_i32x4_s(t1), factors1, v128.load(panel, 80));
          storeColumns(target, clip(y0, low, high), clip(y1, low, high), here);
          target += targetRow;
        }
      }
      panel += panelBytes;
    }
  }
  if (v128.any_true(f32x4.ne(check, check))) store<i32>(pointer(task, 7), 1);
}
