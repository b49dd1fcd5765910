/** Layer normalisation (Ba et al., 2016) as one operator: only its input is kept for the backward pass. */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../lookup.ts';
import {withGradient} from './custom-gradient.ts';
import {runFused, type LayerNormAttributes} from './kernels.ts';

/** (x − mean) / √(variance + epsilon) of each row, and the inverse deviation [rows, 1]. */
function standardized(x: tf.Tensor, epsilon: number): [tf.Tensor, tf.Tensor] {
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), epsilon));
  return [tf.mul(centred, inverse), inverse];
}

/** `SdqLayerNorm` out of plain operators. */
export function composedLayerNorm(
  x: tf.Tensor,
  gamma: tf.Tensor,
  beta: tf.Tensor,
  {epsilon}: LayerNormAttributes,
): tf.Tensor {
  return tf.add(tf.mul(standardized(x, epsilon)[0], gamma), beta);
}

/** `SdqLayerNormGrad` out of plain operators: [dx, dgamma, dbeta]. */
export function composedLayerNormGrad(
  x: tf.Tensor,
  gamma: tf.Tensor,
  dy: tf.Tensor,
  {epsilon}: LayerNormAttributes,
): [tf.Tensor, tf.Tensor, tf.Tensor] {
  const [normal, inverse] = standardized(x, epsilon);
  const g = tf.mul(dy, gamma);
  const along = tf.mul(normal, tf.mean(tf.mul(g, normal), -1, true));
  const dx = tf.mul(tf.sub(tf.sub(g, tf.mean(g, -1, true)), along), inverse);
  return [dx, tf.sum(tf.mul(dy, normal), 0), tf.sum(dy, 0)];
}

/**
 * gamma · (x − mean) / √(variance + epsilon) + beta by each row's own mean and (biased) variance.
 * @param x [rows, C]
 * @param gamma [C]
 * @param beta [C]
 */
export function layerNorm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: number): tf.Tensor {
  const attributes = {epsilon};
  return withGradient(
    [x, gamma, beta],
    (save) => {
      save([x, gamma]);
      const results = runFused('SdqLayerNorm', {x, gamma, beta}, attributes, () => [
        composedLayerNorm(x, gamma, beta, attributes),
      ]);
      return item(results, 0);
    },
    (dy, saved) => {
      const [x, gamma] = saved as [tf.Tensor, tf.Tensor];
      return runFused('SdqLayerNormGrad', {x, gamma, dy}, attributes, () =>
        composedLayerNormGrad(x, gamma, dy, attributes),
      );
    },
  );
}
