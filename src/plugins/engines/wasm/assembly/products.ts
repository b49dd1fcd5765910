/** Products of many small matrices (attention): each thread takes whole products, which end in the tiles of tiles.ts. */
import {packSteps} from './panels';
import {tileColumns, tileRows} from './shared';
import {int, pointer, shareStart} from './task';
import {dotTiles, outerTile1, outerTile4, storeColumns} from './tiles';

/** b as panels without bias, [panel][1 + length][8]. */
function packMatrix(b: usize, panels: usize, length: i32, columns: i32, transposed: bool): void {
  const stepStride: usize = transposed ? 4 : <usize>columns << 2;
  const columnStride: usize = transposed ? <usize>length << 2 : 4;
  for (let column = 0; column < columns; column += tileColumns) {
    v128.store(panels, f32x4.splat(0));
    v128.store(panels, f32x4.splat(0), 16);
    const source = b + <usize>column * columnStride;
    packSteps(source, panels + 32, length, stepStride, columnStride, min(tileColumns, columns - column));
    panels += <usize>(length + 1) << 5;
  }
}

/** Columns of a panel of aᵀ · b: a is [length, rows], so four neighbours in memory are a tile's rows. */
function outerColumns(
  a: usize,
  entries: usize,
  rows: i32,
  length: i32,
  panel: usize,
  sums: usize,
  y: usize,
  rowBytes: usize,
  columns: i32,
): void {
  for (let tile = 0; tile < rows; tile += tileRows) {
    const tall = rows >= tileRows;
    const first = tall ? min(tile, rows - tileRows) : tile;
    const here = tall ? tileRows : rows;
    memory.fill(sums, 0, 128);
    if (tall) {
      outerTile4(entries, length, a + (<usize>first << 2), panel, sums);
    } else {
      for (let r = 0; r < here; r++) outerTile1(entries, length, a + (<usize>r << 2), panel, sums + (<usize>r << 5));
    }
    for (let r = 0; r < here; r++) {
      const from = sums + (<usize>r << 5);
      storeColumns(y + <usize>(first + r) * rowBytes, v128.load(from), v128.load(from, 16), columns);
    }
  }
}

/**
 * products: [a, b, y, scratch, products, matrices in a, matrices in b, rows, length, columns, a transposed (0, 1), b
 * transposed (0, 1), bytes of scratch per thread]: y[i] = a[i mod matrices] · b[i mod matrices], [rows, columns].
 * Scratch: sums of a tile (128 bytes), one run, entries (8 bytes for each row, or each step of a transposed a), panels.
 */
export function products(task: usize, thread: i32, threads: i32): void {
  const matricesA = int(task, 5);
  const matricesB = int(task, 6);
  const rows = int(task, 7);
  const length = int(task, 8);
  const columns = int(task, 9);
  const transposedA = int(task, 10) == 1;
  const rowBytes = <usize>columns << 2;
  const sums = pointer(task, 3) + <usize>thread * pointer(task, 12);
  const run = sums + 128;
  const entries = run + 8;
  const count = transposedA ? length : rows;
  const panels = (entries + (<usize>count << 3) + 63) & ~63;
  store<usize>(run, 0);
  store<i32>(run, length, 4);
  const step = <usize>(transposedA ? rows : length) << 2;
  for (let i: usize = 0; i < <usize>count; i++) {
    store<usize>(entries + (i << 3), i * step);
    store<usize>(entries + (i << 3), i * rowBytes, 4);
  }
  const low = f32x4.splat(-Infinity);
  const high = f32x4.splat(Infinity);
  let packed = -1;
  const end = shareStart(int(task, 4), thread + 1, threads);
  for (let i = shareStart(int(task, 4), thread, threads); i < end; i++) {
    const a = pointer(task, 0) + (<usize>(i % matricesA) * <usize>(rows * length) << 2);
    const y = pointer(task, 2) + (<usize>i * <usize>(rows * columns) << 2);
    if (packed != i % matricesB) {
      packed = i % matricesB;
      const b = pointer(task, 1) + (<usize>packed * <usize>(length * columns) << 2);
      packMatrix(b, panels, length, columns, int(task, 11) == 1);
    }
    let panel = panels;
    for (let column = 0; column < columns; column += tileColumns) {
      const here = min(tileColumns, columns - column);
      const to = y + (<usize>column << 2);
      if (transposedA) outerColumns(a, entries, rows, length, panel + 32, sums, to, rowBytes, here);
      else dotTiles(entries, rows, a, to, run, run + 8, panel, low, high, here);
      panel += <usize>(length + 1) << 5;
    }
  }
}
