/** Double-precision references of the quantizers, written as loops from their definitions. */
import type {GradientRule, Grid} from '../../src/tensor/kernels.ts';

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

function clamp(x: number, low: number, high: number): number {
  return Math.min(Math.max(x, low), high);
}

/** `x` flat with the channel last; `scale` one value or one a channel. */
export function fakeQuantize64(x: readonly number[], scale: readonly number[], grid: Grid): number[] {
  return x.map((value, i) => {
    const s = scale[i % scale.length]!;
    return s * (clamp(roundHalfEven(value / s - grid.offset), grid.qmin, grid.qmax) + grid.offset);
  });
}

/**
 * The function whose true derivative the gradient rule claims: the rounding error at (x, scale) is held constant (LSQ)
 * or left out (PACT), so that it is smooth apart from the clipping.
 */
export function surrogate64(
  x: readonly number[],
  scale: readonly number[],
  grid: Grid,
  rule: GradientRule,
): (x: readonly number[], scale: readonly number[]) => number[] {
  const held = x.map((value, i) => {
    const z = value / scale[i % scale.length]! - grid.offset;
    return rule.scale === 'lsq' && z >= grid.qmin && z <= grid.qmax ? roundHalfEven(z) - z : 0;
  });
  return (x, scale) =>
    x.map((value, i) => {
      const s = scale[i % scale.length]!;
      return s * (clamp(value / s - grid.offset, grid.qmin, grid.qmax) + held[i]! + grid.offset);
    });
}
