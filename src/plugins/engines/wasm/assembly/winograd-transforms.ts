/**
 * The transforms of Winograd's F(4×4, 3×3) (winograd.ts): of a tile of inputs, of gradients, and of sums back to outputs. Each
 * is a pass down the columns into `vectors`, a scratch of 36, and one along the rows.
 */
import {madd} from './task';

/** √½. Tiles are interpolated at 0, ±√½, ±√2 and ∞. */
export const root: f32 = 0.7071067811865476;

// @ts-ignore: decorator
@inline
function transformInput(
  d0: v128,
  d1: v128,
  d2: v128,
  d3: v128,
  d4: v128,
  d5: v128,
  target: usize,
  step: usize,
): void {
  const even = madd(f32x4.splat(-2), d2, d4);
  const odd = madd(f32x4.splat(-2), d1, d3);
  const even2 = madd(f32x4.splat(-0.5), d2, d4);
  const odd2 = madd(f32x4.splat(-0.5), d1, d3);
  v128.store(target, madd(f32x4.splat(-2.5), d2, f32x4.add(d0, d4)));
  target += step;
  v128.store(target, madd(f32x4.splat(root), odd, even));
  target += step;
  v128.store(target, madd(f32x4.splat(-root), odd, even));
  target += step;
  v128.store(target, madd(f32x4.splat(2 * root), odd2, even2));
  target += step;
  v128.store(target, madd(f32x4.splat(-2 * root), odd2, even2));
  target += step;
  v128.store(target, madd(f32x4.splat(-2.5), d3, f32x4.add(d1, d5)));
}

/** Bᵀ x B of `bytes` / 16 vectors of channels, `step` apart in the target; `addresses` holds those of the tile's 36 pixels. */
export function inputTile(
  addresses: usize,
  vectors: usize,
  bytes: usize,
  target: usize,
  positionBytes: usize,
  step: usize,
): void {
  for (let c: usize = 0; c < bytes; c += 16) {
    for (let j: usize = 0; j < 6; j++) {
      const at = addresses + (j << 2);
      transformInput(
        v128.load(load<usize>(at) + c),
        v128.load(load<usize>(at, 24) + c),
        v128.load(load<usize>(at, 48) + c),
        v128.load(load<usize>(at, 72) + c),
        v128.load(load<usize>(at, 96) + c),
        v128.load(load<usize>(at, 120) + c),
        vectors + (j << 4),
        96,
      );
    }
    let to = target;
    target += step;
    for (let i: usize = 0; i < 6; i++) {
      const row = vectors + i * 96;
      transformInput(
        v128.load(row),
        v128.load(row, 16),
        v128.load(row, 32),
        v128.load(row, 48),
        v128.load(row, 64),
        v128.load(row, 80),
        to,
        positionBytes,
      );
      to += 6 * positionBytes;
    }
  }
}

// @ts-ignore: decorator
@inline
function transformGradient(y0: v128, y1: v128, y2: v128, y3: v128, target: usize, step: usize): void {
  const even = madd(f32x4.splat(0.5), y2, y0);
  const odd = madd(f32x4.splat(0.5), y3, y1);
  const even2 = madd(f32x4.splat(2), y2, y0);
  const odd2 = madd(f32x4.splat(2), y3, y1);
  v128.store(target, y0);
  target += step;
  v128.store(target, madd(f32x4.splat(root), odd, even));
  target += step;
  v128.store(target, madd(f32x4.splat(-root), odd, even));
  target += step;
  v128.store(target, madd(f32x4.splat(2 * root), odd2, even2));
  target += step;
  v128.store(target, madd(f32x4.splat(-2 * root), odd2, even2));
  target += step;
  v128.store(target, y3);
}

/** A dy Aᵀ; `addresses` as for `inputTile`, of which the first 4 × 4 count. Panels of 8 channels are `panelBytes` apart. */
export function gradientTile(
  addresses: usize,
  vectors: usize,
  bytes: usize,
  target: usize,
  panelBytes: usize,
  positionBytes: usize,
): void {
  for (let c: usize = 0; c < bytes; c += 16) {
    for (let j: usize = 0; j < 4; j++) {
      const at = addresses + (j << 2);
      transformGradient(
        v128.load(load<usize>(at) + c),
        v128.load(load<usize>(at, 24) + c),
        v128.load(load<usize>(at, 48) + c),
        v128.load(load<usize>(at, 72) + c),
        vectors + (j << 4),
        96,
      );
    }
    let to = target + (c >> 5) * panelBytes + (c & 16);
    for (let i: usize = 0; i < 6; i++) {
      const row = vectors + i * 96;
      transformGradient(
        v128.load(row),
        v128.load(row, 16),
        v128.load(row, 32),
        v128.load(row, 48),
        to,
        positionBytes,
      );
      to += 6 * positionBytes;
    }
  }
}

// @ts-ignore: decorator
@inline
function transformOutput(
  m0: v128,
  m1: v128,
  m2: v128,
  m3: v128,
  m4: v128,
  m5: v128,
  target: usize,
  step: usize,
): void {
  const sum = f32x4.add(m1, m2);
  const difference = f32x4.sub(m1, m2);
  const sum2 = f32x4.add(m3, m4);
  const difference2 = f32x4.sub(m3, m4);
  v128.store(target, f32x4.add(m0, f32x4.add(sum, sum2)));
  target += step;
  v128.store(target, madd(f32x4.splat(2 * root), difference2, f32x4.mul(f32x4.splat(root), difference)));
  target += step;
  v128.store(target, madd(f32x4.splat(2), sum2, f32x4.mul(f32x4.splat(0.5), sum)));
  target += step;
  v128.store(target, madd(f32x4.splat(4 * root), difference2, madd(f32x4.splat(0.5 * root), difference, m5)));
}

/** Aᵀ m A of 4 channels at `source`, left in `vectors`: rows of four, 64 bytes apart. */
export function outputTile(source: usize, positionBytes: usize, vectors: usize): void {
  const row: usize = 6 * positionBytes;
  for (let j: usize = 0; j < 6; j++) {
    const at = source + j * positionBytes;
    transformOutput(
      v128.load(at),
      v128.load(at + row),
      v128.load(at + 2 * row),
      v128.load(at + 3 * row),
      v128.load(at + 4 * row),
      v128.load(at + 5 * row),
      vectors + (j << 4),
      96,
    );
  }
  for (let i: usize = 0; i < 4; i++) {
    const row = vectors + i * 96;
    transformOutput(
      v128.load(row),
      v128.load(row, 16),
      v128.load(row, 32),
      v128.load(row, 48),
      v128.load(row, 64),
      v128.load(row, 80),
      vectors + (i << 6),
      16,
    );
  }
}

