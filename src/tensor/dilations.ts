import type * as tfjs from '@tensorflow/tfjs-core';

/** Whether the current backend's kernels for the gradients of convolutions take dilations; tfjs' own ignore them. */
export function takesDilations(tf: typeof tfjs): boolean {
  return 'dilatedGradients' in tf.backend();
}
