/**
 * Maximum and average pooling, NHWC [batch, height, width, channels], and their gradients, as tfjs' cpu kernels define them:
 * a maximum skips NaN and padding, its gradient goes to the first maximum of a window, an average divides by the elements
 * that are not padding, its gradient by the whole window.
 *
 * All take the geometry [.., batch, height, width, channels, outHeight, outWidth, kernelHeight, kernelWidth, strideHeight,
 * strideWidth, padTop, padLeft] from integer 3 on.
 */
import {storeUpTo} from './rows';
import {int, pointer, shareStart} from './task';

/** A window of one element without padding: a stride alone, as in the shortcuts of a CIFAR ResNet. */
// @ts-ignore: decorator
@inline
function subsamples(task: usize): bool {
  return int(task, 9) == 1 && int(task, 10) == 1 && int(task, 13) == 0 && int(task, 14) == 0;
}

// @ts-ignore: decorator
@inline
function poolRows(average: bool, task: usize, thread: i32, threads: i32): void {
  const height = int(task, 4);
  const width = int(task, 5);
  const outHeight = int(task, 7);
  const outWidth = int(task, 8);
  const pixel = <usize>int(task, 6) << 2;
  const items = int(task, 3) * outHeight;
  const single = subsamples(task);
  const step = <usize>int(task, 12) * pixel;
  const lowest = f32x4.splat(-Infinity);
  const end = shareStart(items, thread + 1, threads);
  for (let item = shareStart(items, thread, threads); item < end; item++) {
    const image = pointer(task, 0) + <usize>(item / outHeight) * <usize>height * <usize>width * pixel;
    const top = (item % outHeight) * int(task, 11) - int(task, 13);
    const firstRow = max(top, 0);
    const lastRow = min(top + int(task, 9), height);
    let y = pointer(task, 2) + <usize>item * <usize>outWidth * pixel;
    if (single) {
      let x = image + <usize>(top * width) * pixel;
      for (let column = 0; column < outWidth; column++, x += step, y += pixel) {
        for (let c: usize = 0; c < pixel; c += 16) {
          const value = v128.load(x + c);
          storeUpTo(y + c, average ? value : f32x4.pmax(lowest, value), pixel - c);
        }
      }
      continue;
    }
    for (let column = 0; column < outWidth; column++, y += pixel) {
      const left = column * int(task, 12) - int(task, 14);
      const firstColumn = max(left, 0);
      const lastColumn = min(left + int(task, 10), width);
      const count = f32x4.splat(<f32>(max(lastRow - firstRow, 0) * max(lastColumn - firstColumn, 0)));
      for (let c: usize = 0; c < pixel; c += 16) {
        let value = f32x4.splat(average ? 0 : -Infinity);
        for (let row = firstRow; row < lastRow; row++) {
          let x = image + <usize>(row * width + firstColumn) * pixel + c;
          for (let k = firstColumn; k < lastColumn; k++, x += pixel) {
            value = average ? f32x4.add(value, v128.load(x)) : f32x4.pmax(value, v128.load(x));
          }
        }
        storeUpTo(y + c, average ? f32x4.div(value, count) : value, pixel - c);
      }
    }
  }
}

/** maxPool: [x, –, y, geometry]. */
export function maxPool(task: usize, thread: i32, threads: i32): void {
  poolRows(false, task, thread, threads);
}

/** avgPool: [x, –, y, geometry]. */
export function avgPool(task: usize, thread: i32, threads: i32): void {
  poolRows(true, task, thread, threads);
}

/** Adds one lane of a window's gradient to the element it came from. */
// @ts-ignore: decorator
@inline
function scatter(dx: usize, position: i32, dy: f32): void {
  if (position < 0) return;
  store<f32>(dx + <usize>position, load<f32>(dx + <usize>position) + dy);
}

/** maxPoolGrad: [x, dy, dx, geometry]; whole images to a thread, since windows overlap. */
export function maxPoolGrad(task: usize, thread: i32, threads: i32): void {
  const batch = int(task, 3);
  const height = int(task, 4);
  const width = int(task, 5);
  const outHeight = int(task, 7);
  const outWidth = int(task, 8);
  const pixel = <usize>int(task, 6) << 2;
  const imageBytes = <usize>(height * width) * pixel;
  const single = subsamples(task);
  const step = <usize>int(task, 12) * pixel;
  const lowest = f32x4.splat(-Infinity);
  const end = shareStart(batch, thread + 1, threads);
  for (let n = shareStart(batch, thread, threads); n < end; n++) {
    const image = pointer(task, 0) + <usize>n * imageBytes;
    const dx = pointer(task, 2) + <usize>n * imageBytes;
    let dy = pointer(task, 1) + <usize>n * <usize>(outHeight * outWidth) * pixel;
    memory.fill(dx, 0, imageBytes);
    for (let outRow = 0; outRow < outHeight; outRow++) {
      const top = outRow * int(task, 11) - int(task, 13);
      if (single) {
        let at = <usize>(top * width) * pixel;
        for (let column = 0; column < outWidth; column++, at += step, dy += pixel) {
          for (let c: usize = 0; c < pixel; c += 16) {
            const passes = f32x4.gt(v128.load(image + at + c), lowest);
            storeUpTo(dx + at + c, v128.and(v128.load(dy + c), passes), pixel - c);
          }
        }
        continue;
      }
      const firstRow = max(top, 0);
      const lastRow = min(top + int(task, 9), height);
      for (let column = 0; column < outWidth; column++, dy += pixel) {
        const left = column * int(task, 12) - int(task, 14);
        const firstColumn = max(left, 0);
        const lastColumn = min(left + int(task, 10), width);
        for (let c: usize = 0; c < pixel; c += 16) {
          let largest = f32x4.splat(-Infinity);
          let position = i32x4.splat(-1);
          for (let row = firstRow; row < lastRow; row++) {
            let at = <usize>(row * width + firstColumn) * pixel + c;
            for (let k = firstColumn; k < lastColumn; k++, at += pixel) {
              const x = v128.load(image + at);
              const larger = f32x4.gt(x, largest);
              largest = v128.bitselect(x, largest, larger);
              position = v128.bitselect(i32x4.splat(<i32>at), position, larger);
            }
          }
          const lanes = pixel - c;
          scatter(dx, i32x4.extract_lane(position, 0), load<f32>(dy + c));
          if (lanes > 4) scatter(dx + 4, i32x4.extract_lane(position, 1), load<f32>(dy + c, 4));
          if (lanes > 8) scatter(dx + 8, i32x4.extract_lane(position, 2), load<f32>(dy + c, 8));
          if (lanes > 12) scatter(dx + 12, i32x4.extract_lane(position, 3), load<f32>(dy + c, 12));
        }
      }
    }
  }
}

/** First window, at stride `stride` from −`pad`, that holds `at`. */
// @ts-ignore: decorator
@inline
function firstWindow(at: i32, pad: i32, kernel: i32, stride: i32): i32 {
  return max(0, (at + pad - kernel + stride) / stride);
}

/** avgPoolGrad: [–, dy, dx, geometry]. */
export function avgPoolGrad(task: usize, thread: i32, threads: i32): void {
  const height = int(task, 4);
  const width = int(task, 5);
  const outHeight = int(task, 7);
  const outWidth = int(task, 8);
  const kernelHeight = int(task, 9);
  const kernelWidth = int(task, 10);
  const pixel = <usize>int(task, 6) << 2;
  const factor = f32x4.splat(1 / <f32>(kernelHeight * kernelWidth));
  const items = int(task, 3) * height;
  const end = shareStart(items, thread + 1, threads);
  for (let item = shareStart(items, thread, threads); item < end; item++) {
    const image = pointer(task, 1) + <usize>(item / height) * <usize>(outHeight * outWidth) * pixel;
    const row = item % height;
    const firstRow = firstWindow(row, int(task, 13), kernelHeight, int(task, 11));
    const lastRow = min(outHeight, (row + int(task, 13)) / int(task, 11) + 1);
    let dx = pointer(task, 2) + <usize>item * <usize>width * pixel;
    for (let column = 0; column < width; column++, dx += pixel) {
      const firstColumn = firstWindow(column, int(task, 14), kernelWidth, int(task, 12));
      const lastColumn = min(outWidth, (column + int(task, 14)) / int(task, 12) + 1);
      for (let c: usize = 0; c < pixel; c += 16) {
        let sum = f32x4.splat(0);
        for (let r = firstRow; r < lastRow; r++) {
          let dy = image + <usize>(r * outWidth + firstColumn) * pixel + c;
          for (let k = firstColumn; k < lastColumn; k++, dy += pixel) sum = f32x4.add(sum, v128.load(dy));
        }
        storeUpTo(dx + c, f32x4.mul(sum, factor), pixel - c);
      }
    }
  }
}
