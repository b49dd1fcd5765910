import * as tf from '@tensorflow/tfjs-core';

/**
 * Runs an operator with its own gradient: `tf.customGrad` with types that say what it does.
 * @param forward computes the output outside the tape; what it hands to `save` comes back to `gradient`
 * @param gradient one new tensor per input (never the same tensor twice: tfjs disposes what it adds up)
 */
export function withGradient(
  inputs: readonly tf.Tensor[],
  forward: (save: (tensors: tf.Tensor[]) => void) => tf.Tensor,
  gradient: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor[],
): tf.Tensor {
  const op = tf.customGrad((...args) => ({value: forward(args.at(-1) as tf.GradSaveFunc), gradFunc: gradient}));
  return op(...inputs);
}
