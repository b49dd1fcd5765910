/**
 * The two passes of a resize of RGB bytes, as Pillow computes them: weights are integers of `precision` bits after the point, and both
 * passes round to bytes. Every buffer ends with 16 bytes that may be read and written.
 */

const precision: i32 = 22;

/** Sums start at one half. */
// @ts-ignore: decorator
@inline
function half(): v128 {
  return i32x4.splat(1 << (precision - 1));
}

/** The sums of four channels, as bytes in the first lane. */
// @ts-ignore: decorator
@inline
function bytesOf(sums: v128): u32 {
  const shorts = i16x8.narrow_i32x4_s(i32x4.shr_s(sums, precision), sums);
  return i32x4.extract_lane(i8x16.narrow_i16x8_u(shorts, shorts), 0);
}

/** A pixel and the byte after it, times a weight. */
// @ts-ignore: decorator
@inline
function weighted(pixel: usize, weight: v128): v128 {
  return i32x4.mul(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(pixel))), weight);
}

/**
 * Rows [rows, stride bytes] to rows of `width` pixels.
 * @param starts [width]: the first pixel of each sum
 * @param counts [width]: its pixels, at most `taps`
 * @param weights [width, taps]
 */
export function resizeRows(
  source: usize,
  rows: i32,
  stride: i32,
  target: usize,
  width: i32,
  starts: usize,
  counts: usize,
  weights: usize,
  taps: i32,
): void {
  const out: usize = 3 * width;
  let row = 0;
  for (; row + 2 <= rows; row += 2) {
    const to = target + <usize>row * out;
    for (let x = 0; x < width; x++) {
      let pixel = source + <usize>(row * stride) + 3 * load<i32>(starts + (<usize>x << 2));
      let weight = weights + ((<usize>x * taps) << 2);
      const end = weight + (load<i32>(counts + (<usize>x << 2)) << 2);
      let first = half();
      let second = first;
      for (; weight < end; weight += 4) {
        const factor = v128.load_splat<i32>(weight);
        first = i32x4.add(first, weighted(pixel, factor));
        second = i32x4.add(second, weighted(pixel + stride, factor));
        pixel += 3;
      }
      // The fourth byte is the next pixel's. In the last column of the first row it is the second row's first pixel.
      const next = to + out + 3 * x;
      store<u32>(to + 3 * x, x + 1 < width ? bytesOf(first) : (bytesOf(first) & 0xffffff) | (load<u32>(to + out) << 24));
      store<u32>(next, bytesOf(second));
    }
  }
  if (row < rows) {
    const to = target + <usize>row * out;
    for (let x = 0; x < width; x++) {
      let pixel = source + <usize>(row * stride) + 3 * load<i32>(starts + (<usize>x << 2));
      let weight = weights + ((<usize>x * taps) << 2);
      const end = weight + (load<i32>(counts + (<usize>x << 2)) << 2);
      let sums = half();
      for (; weight < end; weight += 4) {
        sums = i32x4.add(sums, weighted(pixel, v128.load_splat<i32>(weight)));
        pixel += 3;
      }
      store<u32>(to + 3 * x, bytesOf(sums));
    }
  }
}

/** Columns [rows, bytes] to [height, bytes]; the other parameters as of `resizeRows`. */
export function resizeColumns(
  source: usize,
  bytes: i32,
  target: usize,
  height: i32,
  starts: usize,
  counts: usize,
  weights: usize,
  taps: i32,
): void {
  for (let y = 0; y < height; y++) {
    const first = source + <usize>(load<i32>(starts + (<usize>y << 2)) * bytes);
    const begin = weights + ((<usize>y * taps) << 2);
    const end = begin + (load<i32>(counts + (<usize>y << 2)) << 2);
    for (let x = 0; x < bytes; x += 16) {
      let from = first + x;
      let a = half();
      let b = a;
      let c = a;
      let d = a;
      for (let weight = begin; weight < end; weight += 4) {
        const factor = v128.load_splat<i32>(weight);
        const values = v128.load(from);
        const low = i16x8.extend_low_i8x16_u(values);
        const high = i16x8.extend_high_i8x16_u(values);
        a = i32x4.add(a, i32x4.mul(i32x4.extend_low_i16x8_u(low), factor));
        b = i32x4.add(b, i32x4.mul(i32x4.extend_high_i16x8_u(low), factor));
        c = i32x4.add(c, i32x4.mul(i32x4.extend_low_i16x8_u(high), factor));
        d = i32x4.add(d, i32x4.mul(i32x4.extend_high_i16x8_u(high), factor));
        from += bytes;
      }
      const low = i16x8.narrow_i32x4_s(i32x4.shr_s(a, precision), i32x4.shr_s(b, precision));
      const high = i16x8.narrow_i32x4_s(i32x4.shr_s(c, precision), i32x4.shr_s(d, precision));
      v128.store(target + <usize>(y * bytes + x), i8x16.narrow_i16x8_u(low, high));
    }
  }
}
