/**
 * Convolution as a product of panels (tiles.ts) with the pixels of bands (bands.ts). The input gradient is a convolution of
 * dy with the turned filter: for stride s it falls apart into s × s convolutions of stride 1, one for each phase of
 * the input's pixels, each with every s-th tap of the filter.
 */
import {
  afterGeometry,
  bandCount,
  bandPixels,
  batch,
  channels,
  dilationHeight,
  dilationWidth,
  firstImage,
  firstRow,
  height,
  kernelHeight,
  kernelWidth,
  loadBand,
  outChannels,
  outHeight,
  outWidth,
  padded,
  padLeft,
  padTop,
  rowBytes,
  strideHeight,
  strideWidth,
  tapStep,
  width,
  writeEntries,
} from './bands';
import {clip} from './rows';
import {tileColumns, tileRows} from './shared';
import {float, int, madd, pointer, shareStart} from './task';
import {dotTiles, outerTile1, outerTile4, splatQuads, storeColumns} from './tiles';

/** Runs of contiguous inputs in a row of the filter: one where its taps touch, else one for each tap. */
function runsAcross(task: usize): i32 {
  return dilationWidth(task) == 1 ? 1 : kernelWidth(task);
}

/** The runs under one output pixel, as pairs (byte offset, floats). */
function writeRuns(task: usize, runs: usize): usize {
  const across = runsAcross(task);
  const length = (kernelWidth(task) / across) * channels(task);
  for (let y = 0; y < kernelHeight(task); y++) {
    for (let x = 0; x < across; x++) {
      const offset =
        <usize>(y * tapStep(task)) * rowBytes(task) + (<usize>(x * dilationWidth(task) * channels(task)) << 2);
      store<usize>(runs, offset);
      store<i32>(runs, length, 4);
      runs += 8;
    }
  }
  return runs;
}

/**
 * convolve: [x, y, panels, scratch, …geometry, bytes of scratch per thread, offset of entries, offset of band,
 * image stride of y, row stride, column stride (floats)] (min, max): y = clip(conv(x, panels) + bias, min, max).
 */
export function convolve(task: usize, thread: i32, threads: i32): void {
  const scratch = pointer(task, 3) + <usize>thread * pointer(task, afterGeometry);
  const entries = scratch + pointer(task, afterGeometry + 1);
  const space = scratch + pointer(task, afterGeometry + 2);
  const imageStride = pointer(task, afterGeometry + 3) << 2;
  const rowStride = pointer(task, afterGeometry + 4) << 2;
  const columnStride = pointer(task, afterGeometry + 5) << 2;
  const low = f32x4.splat(float(task, 0));
  const high = f32x4.splat(float(task, 1));
  const columns = outChannels(task);
  const steps = kernelHeight(task) * kernelWidth(task) * channels(task);
  const panelBytes = <usize>(steps + 1) * 32;
  const runsEnd = writeRuns(task, scratch);
  writeEntries(task, entries, imageStride, rowStride, columnStride);
  const bands = bandCount(task);
  for (let band = shareStart(bands, thread, threads); band < shareStart(bands, thread + 1, threads); band++) {
    const pixels = bandPixels(task, band);
    const source = loadBand(task, band, pointer(task, 0), space);
    const target =
      pointer(task, 1) + <usize>firstImage(task, band) * imageStride + <usize>firstRow(task, band) * rowStride;
    let panel = pointer(task, 2);
    for (let column = 0; column < columns; column += tileColumns) {
      const here = min(tileColumns, columns - column);
      const to = target + (<usize>column << 2);
      dotTiles(entries, pixels, source, to, scratch, runsEnd, panel, low, high, here);
      panel += panelBytes;
    }
  }
}

/**
 * convolveClipped: the task of `convolve`, for filters with a NaN or an infinity: the taps outside the image are left out
 * instead of multiplied by 0.
 */
export function convolveClipped(task: usize, thread: i32, threads: i32): void {
  const imageStride = pointer(task, afterGeometry + 3) << 2;
  const rowStride = pointer(task, afterGeometry + 4) << 2;
  const columnStride = pointer(task, afterGeometry + 5) << 2;
  const low = f32x4.splat(float(task, 0));
  const high = f32x4.splat(float(task, 1));
  const columns = outChannels(task);
  const length = channels(task);
  const panelBytes = <usize>(kernelHeight(task) * kernelWidth(task) * length + 1) * 32;
  const rows = batch(task) * outHeight(task);
  for (let i = shareStart(rows, thread, threads); i < shareStart(rows, thread + 1, threads); i++) {
    const image = i / outHeight(task);
    const top = (i % outHeight(task)) * strideHeight(task) - padTop(task);
    const source = pointer(task, 0) + (<usize>(image * height(task) * width(task) * length) << 2);
    const targetRow = pointer(task, 1) + <usize>image * imageStride + <usize>(i % outHeight(task)) * rowStride;
    for (let x = 0; x < outWidth(task); x++) {
      const left = x * strideWidth(task) - padLeft(task);
      let panel = pointer(task, 2);
      for (let column = 0; column < columns; column += tileColumns) {
        let a = v128.load(panel);
        let b = v128.load(panel, 16);
        let w = panel + 32;
        for (let ky = 0; ky < kernelHeight(task); ky++) {
          for (let kx = 0; kx < kernelWidth(task); kx++) {
            const inY = top + ky * dilationHeight(task);
            const inX = left + kx * dilationWidth(task);
            if (inY >= 0 && inY < height(task) && inX >= 0 && inX < width(task)) {
              const from = source + (<usize>((inY * width(task) + inX) * length) << 2);
              for (let k: usize = 0; k < <usize>length; k++) {
                const s = v128.load32_splat(from + (k << 2));
                a = madd(s, v128.load(w + (k << 5)), a);
                b = madd(s, v128.load(w + (k << 5), 16), b);
              }
            }
            w += <usize>length << 5;
          }
        }
        const target = targetRow + <usize>x * columnStride + (<usize>column << 2);
        storeColumns(target, clip(a, low, high), clip(b, low, high), min(tileColumns, columns - column));
        panel += panelBytes;
      }
    }
  }
}

/**
 * Rows of the filter gradient are taken in tiles of 4 from runs of `length` input values; a run's last tile reaches back into the one
 * before. Runs shorter than 4 are taken singly.
 */
// @ts-ignore: decorator
@inline
function runTiles(length: i32): i32 {
  return length < tileRows ? length : (length + tileRows - 1) / tileRows;
}

/** Columns `first` … of a band's dy as panels without bias, [panel][pixel][8]; columns beyond the last are 0. */
function packGradient(entries: usize, pixels: i32, dy: usize, first: i32, end: i32, target: usize): void {
  const zero = f32x4.splat(0);
  const panelBytes = <usize>pixels << 5;
  for (let i = 0; i < pixels; i++) {
    const from = dy + load<usize>(entries, 4);
    let to = target + (<usize>i << 5);
    let column = first;
    for (; column + tileColumns <= end; column += tileColumns) {
      v128.store(to, v128.load(from + (<usize>column << 2)));
      v128.store(to, v128.load(from + (<usize>column << 2), 16), 16);
      to += panelBytes;
    }
    if (column < end) {
      v128.store(to, zero);
      v128.store(to, zero, 16);
      for (; column < end; column++, to += 4) store<f32>(to, load<f32>(from + (<usize>column << 2)));
    }
    entries += 8;
  }
}

/** Reads each cache line in the order of memory: the hardware fetches ahead of it, as it does not of tiles. Returns anything. */
function readAhead(address: usize, bytes: usize): i32 {
  let sum = 0;
  for (let i: usize = 0; i < bytes; i += 64) sum += load<i32>(address + i);
  return sum;
}

/**
 * convolveFilterGradient: [x, dy, sums, scratch, …geometry, bytes of scratch per thread, offset of entries, offset of
 * band, offset of quads, bytes of sums per part, parts, offset of dy panels].
 *
 * `parts` = threads: each thread sums its own bands over the whole filter. `parts` = 1 (large filters): each thread has
 * its own panels of output channels and sums all bands. `reduceFilterGradient` adds the parts.
 * sums: [part][panel][run][tile][4 or 1][8].
 */
export function convolveFilterGradient(task: usize, thread: i32, threads: i32): void {
  const scratch = pointer(task, 3) + <usize>thread * pointer(task, afterGeometry);
  const entries = scratch + pointer(task, afterGeometry + 1);
  const space = scratch + pointer(task, afterGeometry + 2);
  const quads = scratch + pointer(task, afterGeometry + 3);
  const gradients = scratch + pointer(task, afterGeometry + 6);
  const parts = int(task, afterGeometry + 5);
  const across = runsAcross(task);
  const runs = kernelHeight(task) * across;
  const length = (kernelWidth(task) / across) * channels(task);
  const tiles = runTiles(length);
  const tileBytes = <usize>(length < tileRows ? 32 : 32 * tileRows);
  const columns = outChannels(task);
  const panels = (columns + tileColumns - 1) / tileColumns;
  const panelBytes = <usize>(runs * tiles) * tileBytes;
  const bands = bandCount(task);
  const pixelBytes = <usize>columns << 2;
  const dyRow = <usize>outWidth(task) * pixelBytes;
  const dyImage = <usize>outHeight(task) * dyRow;
  writeEntries(task, entries, dyImage, dyRow, pixelBytes);

  const pointwise = !padded(task) && kernelHeight(task) * kernelWidth(task) * strideHeight(task) * strideWidth(task) == 1;
  const firstBand = parts == 1 ? 0 : shareStart(bands, thread, threads);
  const lastBand = parts == 1 ? bands : shareStart(bands, thread + 1, threads);
  const firstPanel = parts == 1 ? shareStart(panels, thread, threads) : 0;
  const lastPanel = parts == 1 ? shareStart(panels, thread + 1, threads) : panels;
  const sums = pointer(task, 2) + (parts == 1 ? 0 : <usize>thread * pointer(task, afterGeometry + 4));
  if (firstPanel == lastPanel) return;
  memory.fill(sums + <usize>firstPanel * panelBytes, 0, <usize>(lastPanel - firstPanel) * panelBytes);
  for (let band = firstBand; band < lastBand; band++) {
    const pixels = bandPixels(task, band);
    const source = loadBand(task, band, pointer(task, 0), space);
    if (pointwise) store<i32>(quads, readAhead(source, <usize>(pixels * channels(task)) << 2));
    const dy = pointer(task, 1) + <usize>firstImage(task, band) * dyImage + <usize>firstRow(task, band) * dyRow;
    const last = min(columns, lastPanel * tileColumns);
    packGradient(entries, pixels, dy, firstPanel * tileColumns, last, gradients);
    let tileSums = sums + <usize>firstPanel * panelBytes;
    for (let run = 0; run < runs; run++) {
      const tap = <usize>((run % across) * dilationWidth(task) * channels(task)) << 2;
      const row = source + <usize>((run / across) * tapStep(task)) * rowBytes(task) + tap;
      for (let tile = 0; tile < tiles; tile++) {
        const first = length < tileRows ? tile : min(tile * tileRows, length - tileRows);
        splatQuads(entries, pixels, row + (<usize>first << 2), quads);
        let panel = gradients;
        let sum = tileSums;
        for (let p = firstPanel; p < lastPanel; p++) {
          if (length < tileRows) outerTile1(quads, pixels, panel, sum);
          else outerTile4(quads, pixels, panel, sum);
          panel += <usize>pixels << 5;
          sum += panelBytes;
        }
        tileSums += tileBytes;
      }
    }
  }
}

/**
 * reduceFilterGradient: [sums, dw, parts, bytes of sums per part, runs, floats of a run, outChannels,
 * notFinite]: dw [kernelHeight · kernelWidth · channels, outChannels] = Σ of the parts, in their order. `notFinite` is
 * the address of an integer that becomes 1 when an element is NaN or infinite.
 */
export function reduceFilterGradient(task: usize, thread: i32, threads: i32): void {
  const dw = pointer(task, 1);
  const parts = int(task, 2);
  const partBytes = pointer(task, 3);
  const down = int(task, 4);
  const length = int(task, 5);
  const columns = int(task, 6);
  const rowsOfTile = length < tileRows ? 1 : tileRows;
  const tiles = runTiles(length);
  const total = ((columns + tileColumns - 1) / tileColumns) * down * tiles;
  let check = f32x4.splat(0);
  for (let i = shareStart(total, thread, threads); i < shareStart(total, thread + 1, threads); i++) {
    const tile = i % tiles;
    const y = (i / tiles) % down;
    const column = (i / tiles / down) * tileColumns;
    const here = min(tileColumns, columns - column);
    const first = min(tile * rowsOfTile, length - rowsOfTile);
    const tileStart = pointer(task, 0) + <usize>(i * rowsOfTile) * 32;
    for (let row = 0; row < rowsOfTile; row++) {
      const from = tileStart + <usize>row * 32;
      let a = v128.load(from);
      let b = v128.load(from, 16);
      for (let part = 1; part < parts; part++) {
        a = f32x4.add(a, v128.load(from + <usize>part * partBytes));
        b = f32x4.add(b, v128.load(from + <usize>part * partBytes, 16));
      }
      const to = dw + (<usize>((y * length + first + row) * columns + column) << 2);
      storeColumns(to, a, b, here);
      check = f32x4.add(check, f32x4.mul(f32x4.add(a, b), f32x4.splat(0)));
    }
  }
  if (v128.any_true(f32x4.ne(check, check))) store<i32>(pointer(task, 7), 1);
}

/**
 * clippedFilterGradient: [x, dy, dw, –, …geometry]: the filter gradient without the zeros around the image, for
 * when one of them meets a NaN or an infinity in dy.
 */
export function clippedFilterGradient(task: usize, thread: i32, threads: i32): void {
  const length = channels(task);
  const columns = outChannels(task);
  const rows = kernelHeight(task) * kernelWidth(task) * length;
  for (let i = shareStart(rows, thread, threads); i < shareStart(rows, thread + 1, threads); i++) {
    const channel = i % length;
    const kx = (i / length) % kernelWidth(task);
    const ky = i / length / kernelWidth(task);
    for (let column = 0; column < columns; column++) {
      let sum: f32 = 0;
      for (let image = 0; image < batch(task); image++) {
        for (let y = 0; y < outHeight(task); y++) {
          const inY = y * strideHeight(task) - padTop(task) + ky * dilationHeight(task);
          if (inY < 0 || inY >= height(task)) continue;
          for (let x = 0; x < outWidth(task); x++) {
            const inX = x * strideWidth(task) - padLeft(task) + kx * dilationWidth(task);
            if (inX < 0 || inX >= width(task)) continue;
            const input = ((image * height(task) + inY) * width(task) + inX) * length + channel;
            const output = ((image * outHeight(task) + y) * outWidth(task) + x) * columns + column;
            sum += load<f32>(pointer(task, 0) + (<usize>input << 2)) * load<f32>(pointer(task, 1) + (<usize>output << 2));
          }
        }
      }
      store<f32>(pointer(task, 2) + (<usize>(i * columns + column) << 2), sum);
    }
  }
}
