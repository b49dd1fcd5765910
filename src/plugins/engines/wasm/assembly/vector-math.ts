/** Functions of four floats at once. */
import {clip} from './rows';
import {madd} from './task';

/**
 * e^x, within 2 ulp; below the least float 0, above the largest infinity, NaN stays NaN. The range is reduced by multiples
 * of ln 2 in two parts; the polynomial is that of Moshier's Cephes library (expf).
 */
// @ts-ignore: decorator
@inline
export function exp4(x: v128): v128 {
  const bounded = clip(x, f32x4.splat(-104), f32x4.splat(89));
  const n = f32x4.nearest(f32x4.mul(bounded, f32x4.splat(1.44269504)));
  const p = reducedExp(bounded, n);
  // 2^n as two factors, because its exponent alone may not be a float's.
  const exponent = i32x4.trunc_sat_f32x4_s(n);
  const half = i32x4.shr_s(exponent, 1);
  const rest = i32x4.sub(exponent, half);
  return f32x4.mul(f32x4.mul(p, powerOfTwo(half)), powerOfTwo(rest));
}

/** 2^n, n from −126 to 127. */
// @ts-ignore: decorator
@inline
function powerOfTwo(n: v128): v128 {
  return i32x4.shl(i32x4.add(n, i32x4.splat(127)), 23);
}

/** e^x of x ≤ 0, within 2 ulp; below −86, where floats end soon, e^−86. NaN stays NaN. */
// @ts-ignore: decorator
@inline
export function expOfNegative4(x: v128): v128 {
  const bounded = f32x4.pmax(x, f32x4.splat(-86));
  // Behind 3 · 2²² a float's last bit counts ones.
  const shifted = f32x4.add(f32x4.mul(bounded, f32x4.splat(1.44269504)), f32x4.splat(12582912));
  const p = reducedExp(bounded, f32x4.sub(shifted, f32x4.splat(12582912)));
  return f32x4.mul(p, i32x4.shl(i32x4.add(shifted, i32x4.splat(127)), 23));
}

/** e^x / 2^n. */
// @ts-ignore: decorator
@inline
function reducedExp(x: v128, n: v128): v128 {
  const r = madd(n, f32x4.splat(2.1219444e-4), madd(n, f32x4.splat(-0.693359375), x));
  let p = madd(f32x4.splat(1.98756915e-4), r, f32x4.splat(1.3981999507e-3));
  p = madd(p, r, f32x4.splat(8.3334519073e-3));
  p = madd(p, r, f32x4.splat(4.1665795894e-2));
  p = madd(p, r, f32x4.splat(1.6666665459e-1));
  p = madd(p, r, f32x4.splat(5.0000001201e-1));
  return f32x4.add(madd(f32x4.mul(r, r), p, r), f32x4.splat(1));
}

/** 1 / (1 + e^−x). */
// @ts-ignore: decorator
@inline
export function sigmoid4(x: v128): v128 {
  const one = f32x4.splat(1);
  return f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(x))));
}

/**
 * The upper tail of the standard normal distribution, 1 − Φ(|x|), from e^(−x²/2): Abramowitz and Stegun, 7.1.26 (within
 * 7.5e-8).
 */
// @ts-ignore: decorator
@inline
export function normalTail4(x: v128, density: v128): v128 {
  const one = f32x4.splat(1);
  const t = f32x4.div(one, madd(f32x4.abs(x), f32x4.splat(<f32>(0.3275911 * Math.SQRT1_2)), one));
  let p = madd(f32x4.splat(1.061405429), t, f32x4.splat(-1.453152027));
  p = madd(p, t, f32x4.splat(1.421413741));
  p = madd(p, t, f32x4.splat(-0.284496736));
  p = madd(p, t, f32x4.splat(0.254829592));
  return f32x4.mul(f32x4.mul(f32x4.mul(p, t), f32x4.splat(0.5)), density);
}

/** The sum of the four lanes. */
// @ts-ignore: decorator
@inline
export function sumLanes(x: v128): f32 {
  const pairs = f32x4.add(x, i64x2.shuffle(x, x, 1, 1));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}
