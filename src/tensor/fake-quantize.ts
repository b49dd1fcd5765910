/**
 * Fake-quantization on a uniform grid with the straight-through estimator (Bengio et al., 2013), and the gradients of
 * its step: PACT (Choi et al., 2018) and LSQ (Esser et al., 2020). Formulas: `Grid` and `GradientRule` in kernels.ts.
 */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../lookup.ts';
import {withGradient} from './custom-gradient.ts';
import {runFused, tieShift, type GradientRule, type Grid} from './kernels.ts';
import {sumToShape} from './sum-to-shape.ts';

/**
 * The position on the grid before rounding: x / s − offset.
 * @param x [..., C]
 * @param scale [] or [C]
 */
function gridPosition(x: tf.Tensor, scale: tf.Tensor, grid: Grid): tf.Tensor {
  const u = tf.div(x, scale);
  return grid.offset === 0 ? u : tf.sub(u, grid.offset);
}

/** To whole numbers: a tie to the even one, but just above the threshold of a half-integer grid. */
function roundPosition(z: tf.Tensor, {offset}: Grid): tf.Tensor {
  return tf.round(offset === 0 ? z : tf.add(z, offset * tieShift));
}

/**
 * The grid index of every element, a whole number in qmin … qmax (float32). No gradient is meant to pass.
 * @param x [..., C]
 * @param scale [] or [C]
 */
export function gridIndex(x: tf.Tensor, scale: tf.Tensor, grid: Grid): tf.Tensor {
  return tf.tidy(() => tf.clipByValue(roundPosition(gridPosition(x, scale, grid), grid), grid.qmin, grid.qmax));
}

/** `SdqFakeQuantize` out of plain operators. */
export function composedFakeQuantize(x: tf.Tensor, scale: tf.Tensor, grid: Grid): tf.Tensor {
  const q = gridIndex(x, scale, grid);
  return tf.mul(grid.offset === 0 ? q : tf.add(q, grid.offset), scale);
}

/** `SdqFakeQuantizeGrad` out of plain operators: [dx like x, dscale like scale]. */
export function composedFakeQuantizeGrad(
  x: tf.Tensor,
  scale: tf.Tensor,
  dy: tf.Tensor,
  grid: Grid,
  rule: GradientRule,
): [tf.Tensor, tf.Tensor] {
  const z = gridPosition(x, scale, grid);
  const above = tf.cast(tf.greater(z, grid.qmax), 'float32');
  const below = tf.cast(tf.less(z, grid.qmin), 'float32');
  const inside = tf.sub(tf.sub(1, above), below);
  const dx = rule.input === 'identity' ? tf.clone(dy) : tf.mul(dy, inside);
  if (rule.scale === 'none') return [dx, tf.zerosLike(scale)];
  let dvalue = tf.add(tf.mul(above, grid.qmax + grid.offset), tf.mul(below, grid.qmin + grid.offset));
  if (rule.scale === 'lsq') dvalue = tf.add(dvalue, tf.mul(inside, tf.sub(roundPosition(z, grid), z)));
  return [dx, tf.mul(sumToShape(tf.mul(dy, dvalue), scale.shape), rule.gradientScale)];
}

/**
 * Rounds `x` to the grid: s · (clip(round_half_even(x / s − offset + offset · tieShift), qmin, qmax) + offset).
 * Differentiable in `x` and `scale` by `rule`.
 * @param x [..., C]
 * @param scale the step s > 0: [] for the whole tensor or [C] per channel of the last axis
 * @returns like x
 */
export function fakeQuantize(x: tf.Tensor, scale: tf.Tensor, grid: Grid, rule: GradientRule): tf.Tensor {
  return withGradient(
    [x, scale],
    (save) => {
      save([x, scale]);
      return item(
        runFused('SdqFakeQuantize', {x, scale}, grid, () => [composedFakeQuantize(x, scale, grid)]),
        0,
      );
    },
    (dy, saved) => {
      const [x, scale] = saved as [tf.Tensor, tf.Tensor];
      return runFused('SdqFakeQuantizeGrad', {x, scale, dy}, {grid, rule}, () =>
        composedFakeQuantizeGrad(x, scale, dy, grid, rule),
      );
    },
  );
}
