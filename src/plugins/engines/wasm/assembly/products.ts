/** Products of many small matrices (attention): each thread takes whole products, which end in the tiles of tiles.ts. */
import {packSteps} from './panels';
import {tileColumns, tileRows} from './shared';
import {int, pointer, shareStart} from './task';
import {dotTiles, outerTile1, outerTile4, splatQuads, storeColumns} from './tiles';

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

/** aᵀ · b: a is [length, rows], so four neighbours in memory are a tile's rows. @param quads room for 64 bytes a step */
function outerProduct(
  a: usize,
  entries: usize,
  quads: usize,
  rows: i32,
  length: i32,
  panels: usize,
  sums: usize,
  y: usize,
  columns: i32,
): void {
  const rowBytes = <usize>columns << 2;
  const tall = rows >= tileRows;
  const height = tall ? tileRows : 1;
  for (let tile = 0; tile < rows; tile += height) {
    const first = tall ? min(tile, rows - tileRows) : tile;
    splatQuads(entries, length, a + (<usize>first << 2), quads);
    let panel = panels + 32;
    for (let column = 0; column < columns; column += tileColumns) {
      memory.fill(sums, 0, 128);
      if (tall) outerTile4(quads, length, panel, sums);
      else outerTile1(quads, length, panel, sums);
      for (let r = 0; r < height; r++) {
        const from = sums + (<usize>r << 5);
        const to = y + <usize>(first + r) * rowBytes + (<usize>column << 2);
        storeColumns(to, v128.load(from), v128.load(from, 16), min(tileColumns, columns - column));
      }
      panel += <usize>(length + 1) << 5;
    }
  }
}

/**
 * products: [a, b, y, scratch, products, matrices in a, matrices in b, rows, length, columns, a transposed (0, 1), b
 * transposed (0, 1), bytes of scratch per thread]: y[i] = a[i mod matrices] · b[i mod matrices], [rows, columns].
 * Scratch: sums of a tile (128 bytes), one run, entries (8 bytes for each row, or 72 for each step of a transposed a), panels.
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
  const quads = (entries + (<usize>count << 3) + 63) & ~63;
  const panels = transposedA ? quads + (<usize>length << 6) : quads;
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
    if (transposedA) {
      outerProduct(a, entries, quads, rows, length, panels, sums, y, columns);
      continue;
    }
    let panel = panels;
    for (let column = 0; column < columns; column += tileColumns) {
      const here = min(tileColumns, columns - column);
      dotTiles(entries, rows, a, y + (<usize>column << 2), run, run + 8, panel, low, high, here);
      panel += <usize>(length + 1) << 5;
    }
  }
}
