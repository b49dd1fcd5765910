/**
 * The register tiles that all convolutions and matrix products end in: 6 rows × 8 columns of sums in 12 vector registers,
 * which with two weights and one broadcast value fill the 15 that V8 gives to WebAssembly on x64.
 *
 * Two orders of the sum, after where the 6 values of a step lie:
 * - `dotTile6`: six separate rows that are walked along (the pixels of a convolution, the rows of a matrix);
 * - `outerTile6`: six neighbours in memory, the sum goes over rows (the gradient of a filter: its input channels).
 *
 * The 8 columns come from a *panel*: 8 bias values, then 8 weights a step, contiguous (`packPanels`).
 */
import {clip} from './rows';
import {madd} from './task';

/** Rows of a tile. */
export const tileRows: i32 = 6;
/** Columns of a tile, floats a panel row. */
export const tileColumns: i32 = 8;

/** Stores the first `columns` (1 … 8) of 8 values. */
// @ts-ignore: decorator
@inline
export function storeColumns(target: usize, a: v128, b: v128, columns: i32): void {
  if (columns == 8) {
    v128.store(target, a);
    v128.store(target, b, 16);
  } else {
    storePart(target, a, b, columns);
  }
}

function storePart(target: usize, a: v128, b: v128, columns: i32): void {
  if (columns >= 4) {
    v128.store(target, a);
    target += 16;
    columns -= 4;
    a = b;
  }
  if (columns > 0) v128.store_lane<f32>(target, a, 0);
  if (columns > 1) v128.store_lane<f32>(target, a, 1, 4);
  if (columns > 2) v128.store_lane<f32>(target, a, 2, 8);
}

/**
 * Six rows: target[i] = clip(bias + Σ over runs and k of source[i][k] · panel[k]).
 * @param entries six pairs (byte offset from `source`, byte offset from `target`)
 * @param runs pairs (byte offset from a row's start, floats), up to `runsEnd`; the panel has their steps one after another
 * @param columns of the 8 that are stored
 */
export function dotTile6(
  entries: usize,
  source: usize,
  target: usize,
  runs: usize,
  runsEnd: usize,
  panel: usize,
  low: v128,
  high: v128,
  columns: i32,
): void {
  let w = panel + 32;
  let a0 = v128.load(panel);
  let b0 = v128.load(panel, 16);
  let a1 = a0;
  let b1 = b0;
  let a2 = a0;
  let b2 = b0;
  let a3 = a0;
  let b3 = b0;
  let a4 = a0;
  let b4 = b0;
  let a5 = a0;
  let b5 = b0;
  let s: v128;
  let w0: v128;
  let w1: v128;
  for (; runs < runsEnd; runs += 8) {
    const first = source + load<usize>(runs);
    let k = load<i32>(runs, 4);
    let p0 = first + load<usize>(entries, 0);
    let p1 = first + load<usize>(entries, 8);
    let p2 = first + load<usize>(entries, 16);
    let p3 = first + load<usize>(entries, 24);
    let p4 = first + load<usize>(entries, 32);
    let p5 = first + load<usize>(entries, 40);
    for (; k >= 4; k -= 4) {
      w0 = v128.load(w, 0);
      w1 = v128.load(w, 16);
      s = v128.load32_splat(p0, 0);
      a0 = madd(s, w0, a0);
      b0 = madd(s, w1, b0);
      s = v128.load32_splat(p1, 0);
      a1 = madd(s, w0, a1);
      b1 = madd(s, w1, b1);
      s = v128.load32_splat(p2, 0);
      a2 = madd(s, w0, a2);
      b2 = madd(s, w1, b2);
      s = v128.load32_splat(p3, 0);
      a3 = madd(s, w0, a3);
      b3 = madd(s, w1, b3);
      s = v128.load32_splat(p4, 0);
      a4 = madd(s, w0, a4);
      b4 = madd(s, w1, b4);
      s = v128.load32_splat(p5, 0);
      a5 = madd(s, w0, a5);
      b5 = madd(s, w1, b5);
      w0 = v128.load(w, 32);
      w1 = v128.load(w, 48);
      s = v128.load32_splat(p0, 4);
      a0 = madd(s, w0, a0);
      b0 = madd(s, w1, b0);
      s = v128.load32_splat(p1, 4);
      a1 = madd(s, w0, a1);
      b1 = madd(s, w1, b1);
      s = v128.load32_splat(p2, 4);
      a2 = madd(s, w0, a2);
      b2 = madd(s, w1, b2);
      s = v128.load32_splat(p3, 4);
      a3 = madd(s, w0, a3);
      b3 = madd(s, w1, b3);
      s = v128.load32_splat(p4, 4);
      a4 = madd(s, w0, a4);
      b4 = madd(s, w1, b4);
      s = v128.load32_splat(p5, 4);
      a5 = madd(s, w0, a5);
      b5 = madd(s, w1, b5);
      w0 = v128.load(w, 64);
      w1 = v128.load(w, 80);
      s = v128.load32_splat(p0, 8);
      a0 = madd(s, w0, a0);
      b0 = madd(s, w1, b0);
      s = v128.load32_splat(p1, 8);
      a1 = madd(s, w0, a1);
      b1 = madd(s, w1, b1);
      s = v128.load32_splat(p2, 8);
      a2 = madd(s, w0, a2);
      b2 = madd(s, w1, b2);
      s = v128.load32_splat(p3, 8);
      a3 = madd(s, w0, a3);
      b3 = madd(s, w1, b3);
      s = v128.load32_splat(p4, 8);
      a4 = madd(s, w0, a4);
      b4 = madd(s, w1, b4);
      s = v128.load32_splat(p5, 8);
      a5 = madd(s, w0, a5);
      b5 = madd(s, w1, b5);
      w0 = v128.load(w, 96);
      w1 = v128.load(w, 112);
      s = v128.load32_splat(p0, 12);
      a0 = madd(s, w0, a0);
      b0 = madd(s, w1, b0);
      s = v128.load32_splat(p1, 12);
      a1 = madd(s, w0, a1);
      b1 = madd(s, w1, b1);
      s = v128.load32_splat(p2, 12);
      a2 = madd(s, w0, a2);
      b2 = madd(s, w1, b2);
      s = v128.load32_splat(p3, 12);
      a3 = madd(s, w0, a3);
      b3 = madd(s, w1, b3);
      s = v128.load32_splat(p4, 12);
      a4 = madd(s, w0, a4);
      b4 = madd(s, w1, b4);
      s = v128.load32_splat(p5, 12);
      a5 = madd(s, w0, a5);
      b5 = madd(s, w1, b5);
      w += 128;
      p0 += 16;
      p1 += 16;
      p2 += 16;
      p3 += 16;
      p4 += 16;
      p5 += 16;
    }
    for (; k > 0; k--) {
      w0 = v128.load(w, 0);
      w1 = v128.load(w, 16);
      s = v128.load32_splat(p0, 0);
      a0 = madd(s, w0, a0);
      b0 = madd(s, w1, b0);
      s = v128.load32_splat(p1, 0);
      a1 = madd(s, w0, a1);
      b1 = madd(s, w1, b1);
      s = v128.load32_splat(p2, 0);
      a2 = madd(s, w0, a2);
      b2 = madd(s, w1, b2);
      s = v128.load32_splat(p3, 0);
      a3 = madd(s, w0, a3);
      b3 = madd(s, w1, b3);
      s = v128.load32_splat(p4, 0);
      a4 = madd(s, w0, a4);
      b4 = madd(s, w1, b4);
      s = v128.load32_splat(p5, 0);
      a5 = madd(s, w0, a5);
      b5 = madd(s, w1, b5);
      w += 32;
      p0 += 4;
      p1 += 4;
      p2 += 4;
      p3 += 4;
      p4 += 4;
      p5 += 4;
    }
  }
  storeColumns(target + load<usize>(entries, 4), clip(a0, low, high), clip(b0, low, high), columns);
  storeColumns(target + load<usize>(entries, 12), clip(a1, low, high), clip(b1, low, high), columns);
  storeColumns(target + load<usize>(entries, 20), clip(a2, low, high), clip(b2, low, high), columns);
  storeColumns(target + load<usize>(entries, 28), clip(a3, low, high), clip(b3, low, high), columns);
  storeColumns(target + load<usize>(entries, 36), clip(a4, low, high), clip(b4, low, high), columns);
  storeColumns(target + load<usize>(entries, 44), clip(a5, low, high), clip(b5, low, high), columns);
}

/** One row of `dotTile6`, for the few that are left over. */
export function dotTile1(
  entries: usize,
  source: usize,
  target: usize,
  runs: usize,
  runsEnd: usize,
  panel: usize,
  low: v128,
  high: v128,
  columns: i32,
): void {
  let w = panel + 32;
  let a0 = v128.load(panel);
  let b0 = v128.load(panel, 16);
  for (; runs < runsEnd; runs += 8) {
    let p = source + load<usize>(runs) + load<usize>(entries);
    for (let k = load<i32>(runs, 4); k > 0; k--) {
      const s = v128.load32_splat(p);
      a0 = madd(s, v128.load(w), a0);
      b0 = madd(s, v128.load(w, 16), b0);
      w += 32;
      p += 4;
    }
  }
  storeColumns(target + load<usize>(entries, 4), clip(a0, low, high), clip(b0, low, high), columns);
}

/**
 * `count` rows of `dotTile6` for one panel. Where the count is no multiple of 6 the last tile overlaps the one before:
 * the rows that are computed twice get the same value twice.
 */
export function dotTiles(
  entries: usize,
  count: i32,
  source: usize,
  target: usize,
  runs: usize,
  runsEnd: usize,
  panel: usize,
  low: v128,
  high: v128,
  columns: i32,
): void {
  if (count < tileRows) {
    for (let i = 0; i < count; i++) {
      dotTile1(entries + (<usize>i << 3), source, target, runs, runsEnd, panel, low, high, columns);
    }
    return;
  }
  for (let i = 0; i < count; i += tileRows) {
    const first = <usize>min(i, count - tileRows) << 3;
    dotTile6(entries + first, source, target, runs, runsEnd, panel, low, high, columns);
  }
}

/**
 * sums[6][8] += Σ over `count` rows of source[row][0 … 5] ⊗ panel[row][0 … 7].
 * @param entries pairs whose first member is a row's byte offset from `source`
 */
export function outerTile6(entries: usize, count: i32, source: usize, panel: usize, sums: usize): void {
  let w = panel;
  let a0 = v128.load(sums, 0);
  let b0 = v128.load(sums, 16);
  let a1 = v128.load(sums, 32);
  let b1 = v128.load(sums, 48);
  let a2 = v128.load(sums, 64);
  let b2 = v128.load(sums, 80);
  let a3 = v128.load(sums, 96);
  let b3 = v128.load(sums, 112);
  let a4 = v128.load(sums, 128);
  let b4 = v128.load(sums, 144);
  let a5 = v128.load(sums, 160);
  let b5 = v128.load(sums, 176);
  let s: v128;
  let w0: v128;
  let w1: v128;
  let p: usize;
  for (; count >= 4; count -= 4) {
    w0 = v128.load(w, 0);
    w1 = v128.load(w, 16);
    p = source + load<usize>(entries, 0);
    s = v128.load32_splat(p, 0);
    a0 = madd(s, w0, a0);
    b0 = madd(s, w1, b0);
    s = v128.load32_splat(p, 4);
    a1 = madd(s, w0, a1);
    b1 = madd(s, w1, b1);
    s = v128.load32_splat(p, 8);
    a2 = madd(s, w0, a2);
    b2 = madd(s, w1, b2);
    s = v128.load32_splat(p, 12);
    a3 = madd(s, w0, a3);
    b3 = madd(s, w1, b3);
    s = v128.load32_splat(p, 16);
    a4 = madd(s, w0, a4);
    b4 = madd(s, w1, b4);
    s = v128.load32_splat(p, 20);
    a5 = madd(s, w0, a5);
    b5 = madd(s, w1, b5);
    w0 = v128.load(w, 32);
    w1 = v128.load(w, 48);
    p = source + load<usize>(entries, 8);
    s = v128.load32_splat(p, 0);
    a0 = madd(s, w0, a0);
    b0 = madd(s, w1, b0);
    s = v128.load32_splat(p, 4);
    a1 = madd(s, w0, a1);
    b1 = madd(s, w1, b1);
    s = v128.load32_splat(p, 8);
    a2 = madd(s, w0, a2);
    b2 = madd(s, w1, b2);
    s = v128.load32_splat(p, 12);
    a3 = madd(s, w0, a3);
    b3 = madd(s, w1, b3);
    s = v128.load32_splat(p, 16);
    a4 = madd(s, w0, a4);
    b4 = madd(s, w1, b4);
    s = v128.load32_splat(p, 20);
    a5 = madd(s, w0, a5);
    b5 = madd(s, w1, b5);
    w0 = v128.load(w, 64);
    w1 = v128.load(w, 80);
    p = source + load<usize>(entries, 16);
    s = v128.load32_splat(p, 0);
    a0 = madd(s, w0, a0);
    b0 = madd(s, w1, b0);
    s = v128.load32_splat(p, 4);
    a1 = madd(s, w0, a1);
    b1 = madd(s, w1, b1);
    s = v128.load32_splat(p, 8);
    a2 = madd(s, w0, a2);
    b2 = madd(s, w1, b2);
    s = v128.load32_splat(p, 12);
    a3 = madd(s, w0, a3);
    b3 = madd(s, w1, b3);
    s = v128.load32_splat(p, 16);
    a4 = madd(s, w0, a4);
    b4 = madd(s, w1, b4);
    s = v128.load32_splat(p, 20);
    a5 = madd(s, w0, a5);
    b5 = madd(s, w1, b5);
    w0 = v128.load(w, 96);
    w1 = v128.load(w, 112);
    p = source + load<usize>(entries, 24);
    s = v128.load32_splat(p, 0);
    a0 = madd(s, w0, a0);
    b0 = madd(s, w1, b0);
    s = v128.load32_splat(p, 4);
    a1 = madd(s, w0, a1);
    b1 = madd(s, w1, b1);
    s = v128.load32_splat(p, 8);
    a2 = madd(s, w0, a2);
    b2 = madd(s, w1, b2);
    s = v128.load32_splat(p, 12);
    a3 = madd(s, w0, a3);
    b3 = madd(s, w1, b3);
    s = v128.load32_splat(p, 16);
    a4 = madd(s, w0, a4);
    b4 = madd(s, w1, b4);
    s = v128.load32_splat(p, 20);
    a5 = madd(s, w0, a5);
    b5 = madd(s, w1, b5);
    w += 128;
    entries += 32;
  }
  for (; count > 0; count--) {
    w0 = v128.load(w, 0);
    w1 = v128.load(w, 16);
    p = source + load<usize>(entries, 0);
    s = v128.load32_splat(p, 0);
    a0 = madd(s, w0, a0);
    b0 = madd(s, w1, b0);
    s = v128.load32_splat(p, 4);
    a1 = madd(s, w0, a1);
    b1 = madd(s, w1, b1);
    s = v128.load32_splat(p, 8);
    a2 = madd(s, w0, a2);
    b2 = madd(s, w1, b2);
    s = v128.load32_splat(p, 12);
    a3 = madd(s, w0, a3);
    b3 = madd(s, w1, b3);
    s = v128.load32_splat(p, 16);
    a4 = madd(s, w0, a4);
    b4 = madd(s, w1, b4);
    s = v128.load32_splat(p, 20);
    a5 = madd(s, w0, a5);
    b5 = madd(s, w1, b5);
    w += 32;
    entries += 8;
  }
  v128.store(sums, a0, 0);
  v128.store(sums, b0, 16);
  v128.store(sums, a1, 32);
  v128.store(sums, b1, 48);
  v128.store(sums, a2, 64);
  v128.store(sums, b2, 80);
  v128.store(sums, a3, 96);
  v128.store(sums, b3, 112);
  v128.store(sums, a4, 128);
  v128.store(sums, b4, 144);
  v128.store(sums, a5, 160);
  v128.store(sums, b5, 176);
}

/** One row of `outerTile6`: sums[8] += Σ source[row][0] · panel[row]. */
export function outerTile1(entries: usize, count: i32, source: usize, panel: usize, sums: usize): void {
  let a0 = v128.load(sums);
  let b0 = v128.load(sums, 16);
  for (; count > 0; count--) {
    const s = v128.load32_splat(source + load<usize>(entries));
    a0 = madd(s, v128.load(panel), a0);
    b0 = madd(s, v128.load(panel, 16), b0);
    panel += 32;
    entries += 8;
  }
  v128.store(sums, a0);
  v128.store(sums, b0, 16);
}
