/** One element of a uniform grid (`Grid` and `GradientRule` of src/tensor/kernels.ts), four at a time. */
import {clip} from './rows';

/** s · (clip(round(x / s − offset), qmin, qmax) + offset); a tie rounds to even. */
// @ts-ignore: decorator
@inline
export function quantize(x: v128, scale: v128, offset: v128, qmin: v128, qmax: v128): v128 {
  const z = f32x4.sub(f32x4.div(x, scale), offset);
  return f32x4.mul(scale, f32x4.add(clip(f32x4.nearest(z), qmin, qmax), offset));
}

/** All ones where z is below qmin or above qmax; NaN is not. */
// @ts-ignore: decorator
@inline
export function outside(z: v128, qmin: v128, qmax: v128): v128 {
  return v128.or(f32x4.lt(z, qmin), f32x4.gt(z, qmax));
}

/** dvalue/dscale: qmin + offset below, qmax + offset above, and `withRounding` ? round(z) + offset − x / s : 0 within. */
// @ts-ignore: decorator
@inline
export function scaleSlope(withRounding: bool, ratio: v128, z: v128, beyond: v128, offset: v128, qmin: v128, qmax: v128): v128 {
  if (withRounding) {
    const level = f32x4.add(clip(f32x4.nearest(z), qmin, qmax), offset);
    return f32x4.sub(level, v128.andnot(ratio, beyond));
  }
  return v128.and(f32x4.add(clip(z, qmin, qmax), offset), beyond);
}
