/** Gelu (Hendrycks and Gimpel, 2016) as one operator: only its input is kept for the backward pass. */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../lookup.ts';
import {withGradient} from './custom-gradient.ts';
import {runFused, type GeluAttributes} from './kernels.ts';

/** 0.044715 is the authors'. */
const cubic = 0.044715;

/** Φ(x), or the approximation's (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2. */
function gate(x: tf.Tensor, {approximate}: GeluAttributes): tf.Tensor {
  const inner = approximate
    ? tf.tanh(tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), cubic)), Math.sqrt(2 / Math.PI)))
    : tf.erf(tf.mul(x, Math.SQRT1_2));
  return tf.mul(tf.add(inner, 1), 0.5);
}

/** `SdqGelu` out of plain operators. */
export function composedGelu(x: tf.Tensor, attributes: GeluAttributes): tf.Tensor {
  return tf.mul(x, gate(x, attributes));
}

/** `SdqGeluGrad` out of plain operators. */
export function composedGeluGrad(x: tf.Tensor, dy: tf.Tensor, attributes: GeluAttributes): tf.Tensor {
  const g = gate(x, attributes);
  if (!attributes.approximate) {
    const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return tf.mul(dy, tf.add(g, tf.mul(x, density)));
  }
  const inner = tf.mul(tf.add(tf.mul(tf.square(x), 3 * cubic), 1), 2 * Math.sqrt(2 / Math.PI));
  return tf.mul(dy, tf.add(g, tf.mul(tf.mul(x, inner), tf.mul(g, tf.sub(1, g)))));
}

/**
 * x · Φ(x), Φ the distribution function of the standard normal.
 * @param x any shape
 * @param approximate by tanh
 */
export function gelu(x: tf.Tensor, approximate: boolean): tf.Tensor {
  const attributes = {approximate};
  return withGradient(
    [x],
    (save) => {
      save([x]);
      return item(
        runFused('SdqGelu', {x}, attributes, () => [composedGelu(x, attributes)]),
        0,
      );
    },
    (dy, saved) => {
      const [x] = saved as [tf.Tensor];
      return runFused('SdqGeluGrad', {x, dy}, attributes, () => [composedGeluGrad(x, dy, attributes)]);
    },
  );
}
