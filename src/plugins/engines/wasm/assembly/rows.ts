/**
 * Tensors with a channel as last axis, seen as rows of whole vectors.
 *
 * x [..., C] is cut into `rows` rows of `width` = lcm(C, 16) floats and a tail shorter than a row. Column j of a row is
 * always channel j mod C, so a parameter per channel is repeated to `width` floats once, and one vector loop serves every
 * C. A tail element goes through the same vector code: splat on load, first lane on store.
 */

/** Rows that a reduction sums in float32 before it adds them to its float64 total. */
export const blockRows: i32 = 64;

/** Floats that a reduction keeps in registers. */
export const strip: i32 = 16;

/** clip(x, low, high); NaN stays NaN. */
// @ts-ignore: decorator
@inline
export function clip(x: v128, low: v128, high: v128): v128 {
  return f32x4.pmin(f32x4.pmax(x, low), high);
}

/** [f64, f64] at `address` += the two low lanes of `low`, the next pair += its two high lanes. */
// @ts-ignore: decorator
@inline
export function addToDoubles(address: usize, sums: v128): void {
  v128.store(address, f64x2.add(v128.load(address), f64x2.promote_low_f32x4(sums)));
  const high = i64x2.shuffle(sums, sums, 1, 1);
  v128.store(address, f64x2.add(v128.load(address, 16), f64x2.promote_low_f32x4(high)), 16);
}

/** Stores the first `bytes` / 4 lanes (all four from 16 on). */
// @ts-ignore: decorator
@inline
export function storeUpTo(address: usize, value: v128, bytes: usize): void {
  if (bytes >= 16) {
    v128.store(address, value);
    return;
  }
  v128.store_lane<f32>(address, value, 0);
  if (bytes > 4) v128.store_lane<f32>(address, value, 1, 4);
  if (bytes > 8) v128.store_lane<f32>(address, value, 2, 8);
}
