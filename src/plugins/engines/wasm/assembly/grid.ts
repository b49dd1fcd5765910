/** One element of a uniform grid (`Grid` and `GradientRule` of src/tensor/kernels.ts), four at a time. */
import {clip} from './rows';

/** Grid index clip(round(z + offset · tieShift), qmin, qmax) of z = x / s − offset; a tie rounds to even. */
// @ts-ignore: decorator
@inline
export function gridIndex(z: v128, offset: v128, qmin: v128, qmax: v128): v128 {
  const raised = f32x4.add(z, f32x4.mul(offset, f32x4.splat(1.52587890625e-5)));
  return clip(f32x4.nearest(raised), qmin, qmax);
}

/** s · (index + offset). */
// @ts-ignore: decorator
@inline
export function quantize(x: v128, scale: v128, offset: v128, qmin: v128, qmax: v128): v128 {
  const z = f32x4.sub(f32x4.div(x, scale), offset);
  return f32x4.mul(scale, f32x4.add(gridIndex(z, offset, qmin, qmax), offset));
}

/** All ones where z is below `low` or above `high`; NaN is not. */
// @ts-ignore: decorator
@inline
function outside(z: v128, low: v128, high: v128): v128 {
  return v128.or(f32x4.lt(z, low), f32x4.gt(z, high));
}

/** LSQ's dvalue/dscale: the end's level (with offset) outside the grid, round(z) + offset − x / s within. */
// @ts-ignore: decorator
@inline
export function lsqSlope(ratio: v128, offset: v128, qmin: v128, qmax: v128): v128 {
  const z = f32x4.sub(ratio, offset);
  const level = f32x4.add(gridIndex(z, offset, qmin, qmax), offset);
  return f32x4.sub(level, v128.andnot(ratio, outside(z, qmin, qmax)));
}
