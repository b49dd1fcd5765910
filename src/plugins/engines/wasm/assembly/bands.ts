/**
 * Bands: the part of a convolution's input that a run of output rows reads, with the zeros around the image written out,
 * so that no tile kernel tests for a border. A band covers some rows of one image, or several whole (small) images. Where the
 * filter's rows lie apart (dilation), a band holds the rows under each output row one after the other, and none between them.
 */
import {int, pointer} from './task';

/**
 * The geometry of a convolution, at the head of its parameter block (places 4 …):
 * [batch, height, width, channels, outHeight, outWidth, outChannels, kernelHeight, kernelWidth, strideHeight,
 * strideWidth, dilationHeight, dilationWidth, padTop, padLeft, rows of a band, images of a band, padded (0, 1)]
 */
// @ts-ignore: decorator
@inline
export const geometry: usize = 4;
/** First place after the geometry. */
// @ts-ignore: decorator
@inline
export const afterGeometry: usize = 22;

// @ts-ignore: decorator
@inline
function place(task: usize, index: usize): i32 {
  return int(task, geometry + index);
}

// @ts-ignore: decorator
@inline
export function batch(task: usize): i32 {
  return place(task, 0);
}
// @ts-ignore: decorator
@inline
export function height(task: usize): i32 {
  return place(task, 1);
}
// @ts-ignore: decorator
@inline
export function width(task: usize): i32 {
  return place(task, 2);
}
// @ts-ignore: decorator
@inline
export function channels(task: usize): i32 {
  return place(task, 3);
}
// @ts-ignore: decorator
@inline
export function outHeight(task: usize): i32 {
  return place(task, 4);
}
// @ts-ignore: decorator
@inline
export function outWidth(task: usize): i32 {
  return place(task, 5);
}
// @ts-ignore: decorator
@inline
export function outChannels(task: usize): i32 {
  return place(task, 6);
}
// @ts-ignore: decorator
@inline
export function kernelHeight(task: usize): i32 {
  return place(task, 7);
}
// @ts-ignore: decorator
@inline
export function kernelWidth(task: usize): i32 {
  return place(task, 8);
}
// @ts-ignore: decorator
@inline
export function strideHeight(task: usize): i32 {
  return place(task, 9);
}
// @ts-ignore: decorator
@inline
export function strideWidth(task: usize): i32 {
  return place(task, 10);
}
// @ts-ignore: decorator
@inline
export function dilationHeight(task: usize): i32 {
  return place(task, 11);
}
// @ts-ignore: decorator
@inline
export function dilationWidth(task: usize): i32 {
  return place(task, 12);
}
// @ts-ignore: decorator
@inline
export function padTop(task: usize): i32 {
  return place(task, 13);
}
// @ts-ignore: decorator
@inline
export function padLeft(task: usize): i32 {
  return place(task, 14);
}
// @ts-ignore: decorator
@inline
export function bandRows(task: usize): i32 {
  return place(task, 15);
}
// @ts-ignore: decorator
@inline
export function bandImages(task: usize): i32 {
  return place(task, 16);
}
// @ts-ignore: decorator
@inline
export function padded(task: usize): bool {
  return place(task, 17) != 0;
}

/** Bands in the whole batch. */
export function bandCount(task: usize): i32 {
  const images = bandImages(task);
  const rows = bandRows(task);
  return ((batch(task) + images - 1) / images) * ((outHeight(task) + rows - 1) / rows);
}

// @ts-ignore: decorator
@inline
function bandsDown(task: usize): i32 {
  return (outHeight(task) + bandRows(task) - 1) / bandRows(task);
}

/** First image of a band. */
export function firstImage(task: usize, band: i32): i32 {
  return (band / bandsDown(task)) * bandImages(task);
}

/** First output row of a band. */
export function firstRow(task: usize, band: i32): i32 {
  return (band % bandsDown(task)) * bandRows(task);
}

/** Output pixels of a band; the last one of a batch or image may have fewer than the others. */
export function bandPixels(task: usize, band: i32): i32 {
  const images = min(bandImages(task), batch(task) - firstImage(task, band));
  const rows = min(bandRows(task), outHeight(task) - firstRow(task, band));
  return images * rows * outWidth(task);
}

// @ts-ignore: decorator
@inline
function gathered(task: usize): bool {
  return padded(task) && dilationHeight(task) > 1;
}

/** Rows of a band from one output row to the next. */
function rowStep(task: usize): i32 {
  return gathered(task) ? kernelHeight(task) : strideHeight(task);
}

/** Rows of a band from one row of the filter to the next. */
export function tapStep(task: usize): i32 {
  return gathered(task) ? 1 : dilationHeight(task);
}

/** Rows and columns of the input under a whole band. */
function inputRows(task: usize): i32 {
  return (bandRows(task) - 1) * rowStep(task) + (kernelHeight(task) - 1) * tapStep(task) + 1;
}
function inputColumns(task: usize): i32 {
  return (outWidth(task) - 1) * strideWidth(task) + (kernelWidth(task) - 1) * dilationWidth(task) + 1;
}

/** Bytes from one input row to the next. */
export function rowBytes(task: usize): usize {
  return <usize>((padded(task) ? inputColumns(task) : width(task)) * channels(task)) << 2;
}

/** Bytes from one image of a band to the next. */
function imageBytes(task: usize): usize {
  return rowBytes(task) * <usize>(padded(task) ? inputRows(task) : height(task));
}

/** Writes the pair (input byte offset, target byte offset) of each output pixel of a whole band; target strides in bytes. */
export function writeEntries(task: usize, entries: usize, imageStride: usize, rowStride: usize, columnStride: usize): void {
  const pixelBytes = <usize>(strideWidth(task) * channels(task)) << 2;
  for (let image = 0; image < bandImages(task); image++) {
    for (let row = 0; row < bandRows(task); row++) {
      let from = <usize>image * imageBytes(task) + <usize>(row * rowStep(task)) * rowBytes(task);
      let to = <usize>image * imageStride + <usize>row * rowStride;
      for (let column = 0; column < outWidth(task); column++) {
        store<usize>(entries, from);
        store<usize>(entries, to, 4);
        entries += 8;
        from += pixelBytes;
        to += columnStride;
      }
    }
  }
}

/** Makes the input of a band ready and returns the address that the entries' first members count from. */
export function loadBand(task: usize, band: i32, source: usize, scratch: usize): usize {
  const image0 = firstImage(task, band);
  const top = firstRow(task, band) * strideHeight(task) - padTop(task);
  const pixelBytes = <usize>channels(task) << 2;
  const sourceRow = <usize>width(task) * pixelBytes;
  const sourceImage = <usize>height(task) * sourceRow;
  source += <usize>image0 * sourceImage;
  if (!padded(task)) return source + <usize>top * sourceRow - <usize>padLeft(task) * pixelBytes;

  const images = min(bandImages(task), batch(task) - image0);
  const columns = inputColumns(task);
  const targetRow = <usize>columns * pixelBytes;
  const left = max(0, min(columns, padLeft(task)));
  const right = max(left, min(columns, width(task) + padLeft(task)));
  let target = scratch;
  for (let image = 0; image < images; image++) {
    for (let i = 0; i < inputRows(task); i++) {
      const down = kernelHeight(task);
      const row = top + (gathered(task) ? (i / down) * strideHeight(task) + (i % down) * dilationHeight(task) : i);
      if (row < 0 || row >= height(task)) {
        memory.fill(target, 0, targetRow);
      } else {
        const from = source + <usize>row * sourceRow + <usize>(left - padLeft(task)) * pixelBytes;
        if (left > 0) memory.fill(target, 0, <usize>left * pixelBytes);
        memory.copy(target + <usize>left * pixelBytes, from, <usize>(right - left) * pixelBytes);
        if (right < columns) memory.fill(target + <usize>right * pixelBytes, 0, <usize>(columns - right) * pixelBytes);
      }
      target += targetRow;
    }
    source += sourceImage;
  }
  return scratch;
}
