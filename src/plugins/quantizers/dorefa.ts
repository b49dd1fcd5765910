import * as tf from '@tensorflow/tfjs-core';

import type {WeightQuantizer} from '../../sdq/weight-quantizer.ts';
import {withGradient} from '../../tensor/custom-gradient.ts';
import {dorefaTraits} from './traits.ts';

/**
 * tanh(w) / max|tanh(w)|, 0 for weights that are all zero. With t = tanh(w), m = max|t|, y = t / m:
 * dt = dy / m, less sign(t) · Σ dy·y / m at the maximum (shared among equals, as PyTorch does); dw = dt · (1 − t²).
 */
function normalizedTanh(w: tf.Tensor): tf.Tensor {
  return withGradient(
    [w],
    (save) => {
      const t = tf.tanh(w);
      const largest = tf.maximum(tf.max(tf.abs(t)), 1e-30);
      save([t, largest]);
      return tf.div(t, largest);
    },
    (dy, saved) => {
      const [t, largest] = saved as [tf.Tensor, tf.Tensor];
      const top = tf.cast(tf.equal(tf.abs(t), largest), 'float32');
      const share = tf.div(top, tf.maximum(tf.sum(top), 1));
      const pulled = tf.div(tf.sum(tf.mul(dy, t)), largest);
      const dt = tf.div(tf.sub(dy, tf.mul(tf.mul(tf.sign(t), share), pulled)), largest);
      return [tf.mul(dt, tf.sub(1, tf.square(t)))];
    },
  );
}

/**
 * 2·round((2^b − 1)·u)/(2^b − 1) − 1 with u = tanh(w)/(2·max|tanh w|) + ½ (DoReFa-Net, Zhou et al., 2016): weights in
 * [−1, 1] whatever their size, so a network needs batch-norm behind every layer that uses it.
 */
export const dorefa: WeightQuantizer = {
  ...dorefaTraits,
  transform: normalizedTanh,
  transformFormula: 'tanh(w) / max(abs(tanh(w)))',
  statisticScales: (_, bits) => bits.map((b) => tf.scalar(2 / (2 ** b - 1))),
};
