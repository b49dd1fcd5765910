import * as tf from '@tensorflow/tfjs-core';

/** The gradient of broadcasting: sums `t` over the axes along which a tensor of `shape` was repeated. A new tensor. */
export function sumToShape(t: tf.Tensor, shape: readonly number[]): tf.Tensor {
  const axes = tf.broadcast_util.getReductionAxes([...shape], t.shape);
  return tf.reshape(axes.length > 0 ? tf.sum(t, axes) : t, [...shape]);
}
