/**
 * The register tiles that all convolutions and matrix products end in: 4 rows × 8 columns of sums.
 *
 * A step is a loop iteration of its own, never unrolled: V8 (TurboFan) moves all loads of a basic block before its
 * multiply-adds, so that the 8 vectors of sums and all that a block loads must fit into the 15 registers it has on x64. 8 sums,
 * 2 weights and 4 broadcast values do (larger tiles and unrolled ones run at half the speed); 8 sums are also what keeps
 * two multiply-add units of latency 4 busy.
 *
 * Two orders of the sum, after where the 4 values of a step lie:
 * - `dotTile4`: four separate rows that are walked along (the pixels of a convolution, the rows of a matrix);
 * - `outerTile4`: four neighbours in memory, the sum goes over rows (the gradient of a filter: its input channels). They are
 *   spread out first, once for all panels: V8 takes an instruction more to broadcast from an address with an offset than to load
 *   from it, and the loop is bound by the number of instructions.
 *
 * The 8 columns come from a *panel*: 8 bias values, then 8 weights a step, contiguous (`packPanels`).
 */
import {clip} from './rows';
import {tileRows} from './shared';
import {madd} from './task';

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
 * Four rows: target[i] = clip(bias + Σ over runs and k of source[i][k] · panel[k]).
 * @param entries four pairs (byte offset from `source`, byte offset from `target`)
 * @param runs pairs (byte offset from a row's start, floats), up to `runsEnd`; the panel has their steps one after another
 * @param columns of the 8 that are stored
 */
export function dotTile4(
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
  for (; runs < runsEnd; runs += 8) {
    const first = source + load<usize>(runs);
    let p0 = first + load<usize>(entries, 0);
    let p1 = first + load<usize>(entries, 8);
    let p2 = first + load<usize>(entries, 16);
    let p3 = first + load<usize>(entries, 24);
    for (let k = load<i32>(runs, 4); k > 0; k--) {
      const w0 = v128.load(w);
      const w1 = v128.load(w, 16);
      let s = v128.load32_splat(p0);
      a0 = madd(s, w0, a0);
      b0 = madd(s, w1, b0);
      s = v128.load32_splat(p1);
      a1 = madd(s, w0, a1);
      b1 = madd(s, w1, b1);
      s = v128.load32_splat(p2);
      a2 = madd(s, w0, a2);
      b2 = madd(s, w1, b2);
      s = v128.load32_splat(p3);
      a3 = madd(s, w0, a3);
      b3 = madd(s, w1, b3);
      w += 32;
      p0 += 4;
      p1 += 4;
      p2 += 4;
      p3 += 4;
    }
  }
  storeColumns(target + load<usize>(entries, 4), clip(a0, low, high), clip(b0, low, high), columns);
  storeColumns(target + load<usize>(entries, 12), clip(a1, low, high), clip(b1, low, high), columns);
  storeColumns(target + load<usize>(entries, 20), clip(a2, low, high), clip(b2, low, high), columns);
  storeColumns(target + load<usize>(entries, 28), clip(a3, low, high), clip(b3, low, high), columns);
}

/** One row of `dotTile4`, for the few that are left over. */
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
 * `count` rows of `dotTile4` for one panel. Where the count is no multiple of 4 the last tile overlaps the one before:
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
    dotTile4(entries + first, source, target, runs, runsEnd, panel, low, high, columns);
  }
}

/** Each of four values four times over: 64 bytes, as `outerTile4` reads them. */
// @ts-ignore: decorator
@inline
function splatQuad(source: usize, target: usize): void {
  v128.store(target, v128.load32_splat(source));
  v128.store(target, v128.load32_splat(source, 4), 16);
  v128.store(target, v128.load32_splat(source, 8), 32);
  v128.store(target, v128.load32_splat(source, 12), 48);
}

/** `splatQuad` of the four values at byte offset `entries[row]` from `source`, for `count` rows. */
export function splatQuads(entries: usize, count: i32, source: usize, target: usize): void {
  for (; count > 0; count--) {
    splatQuad(source + load<usize>(entries), target);
    entries += 8;
    target += 64;
  }
}

/** `splatQuad` of `count` rows of four values. */
export function splatRows(source: usize, count: i32, target: usize): void {
  for (; count > 0; count--) {
    splatQuad(source, target);
    source += 16;
    target += 64;
  }
}

/**
 * sums[4][8] += Σ over `count` rows of quads[row] ⊗ panel[row][0 … 7].
 * @param quads of `splatQuads`
 */
export function outerTile4(quads: usize, count: i32, panel: usize, sums: usize): void {
  let a0 = v128.load(sums, 0);
  let b0 = v128.load(sums, 16);
  let a1 = v128.load(sums, 32);
  let b1 = v128.load(sums, 48);
  let a2 = v128.load(sums, 64);
  let b2 = v128.load(sums, 80);
  let a3 = v128.load(sums, 96);
  let b3 = v128.load(sums, 112);
  // Two rows a turn, which counting and V8's checks cost once; the way out between them keeps their loads apart.
  for (; count > 0; count -= 2) {
    let w0 = v128.load(panel);
    let w1 = v128.load(panel, 16);
    let s = v128.load(quads);
    a0 = madd(s, w0, a0);
    b0 = madd(s, w1, b0);
    s = v128.load(quads, 16);
    a1 = madd(s, w0, a1);
    b1 = madd(s, w1, b1);
    s = v128.load(quads, 32);
    a2 = madd(s, w0, a2);
    b2 = madd(s, w1, b2);
    s = v128.load(quads, 48);
    a3 = madd(s, w0, a3);
    b3 = madd(s, w1, b3);
    if (count == 1) break;
    w0 = v128.load(panel, 32);
    w1 = v128.load(panel, 48);
    s = v128.load(quads, 64);
    a0 = madd(s, w0, a0);
    b0 = madd(s, w1, b0);
    s = v128.load(quads, 80);
    a1 = madd(s, w0, a1);
    b1 = madd(s, w1, b1);
    s = v128.load(quads, 96);
    a2 = madd(s, w0, a2);
    b2 = madd(s, w1, b2);
    s = v128.load(quads, 112);
    a3 = madd(s, w0, a3);
    b3 = madd(s, w1, b3);
    panel += 64;
    quads += 128;
  }
  v128.store(sums, a0, 0);
  v128.store(sums, b0, 16);
  v128.store(sums, a1, 32);
  v128.store(sums, b1, 48);
  v128.store(sums, a2, 64);
  v128.store(sums, b2, 80);
  v128.store(sums, a3, 96);
  v128.store(sums, b3, 112);
}

/** The first row of `outerTile4`. */
export function outerTile1(quads: usize, count: i32, panel: usize, sums: usize): void {
  let a0 = v128.load(sums);
  let b0 = v128.load(sums, 16);
  for (; count > 0; count--) {
    const s = v128.load(quads);
    a0 = madd(s, v128.load(panel), a0);
    b0 = madd(s, v128.load(panel, 16), b0);
    panel += 32;
    quads += 64;
  }
  v128.store(sums, a0);
  v128.store(sums, b0, 16);
}
