/** LeakyRelu (Maas et al., 2013) as one operator: only its input is kept for the backward pass. */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../lookup.ts';
import {withGradient} from './custom-gradient.ts';
import {runFused, type LeakyReluAttributes} from './kernels.ts';

/** `SdqLeakyRelu` out of plain operators. */
export const composedLeakyRelu = (x: tf.Tensor, {alpha}: LeakyReluAttributes): tf.Tensor =>
  tf.sub(tf.relu(x), tf.mul(tf.relu(tf.neg(x)), alpha));

/** `SdqLeakyReluGrad` out of plain operators. */
export function composedLeakyReluGrad(x: tf.Tensor, dy: tf.Tensor, {alpha}: LeakyReluAttributes): tf.Tensor {
  const positive = tf.cast(tf.greater(x, 0), 'float32');
  return tf.mul(dy, tf.add(tf.mul(positive, 1 - alpha), alpha));
}

/** x where it is positive, else alpha · x; at 0 the derivative is alpha. @param x any shape */
export function leakyRelu(x: tf.Tensor, alpha: number): tf.Tensor {
  const attributes = {alpha};
  return withGradient(
    [x],
    (save) => {
      save([x]);
      return item(
        runFused('SdqLeakyRelu', {x}, attributes, () => [composedLeakyRelu(x, attributes)]),
        0,
      );
    },
    (dy, saved) => {
      const [x] = saved as [tf.Tensor];
      return runFused('SdqLeakyReluGrad', {x, dy}, attributes, () => [composedLeakyReluGrad(x, dy, attributes)]);
    },
  );
}
