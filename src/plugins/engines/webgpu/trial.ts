/** A step as training has them, in little: which engine is faster on this machine. */
import * as tf from '@tensorflow/tfjs-core';

import {addAct} from '../../../tensor/add-act.ts';
import {batchNormAct} from '../../../tensor/batch-norm.ts';
import {fakeQuantize} from '../../../tensor/fake-quantize.ts';
import {registerGradients} from '../../../tensor/gradients.ts';

/** A residual block of ResNet20 at batch 32 [ours]. */
const shape: [number, number, number, number] = [32, 32, 32, 16];
const channels = shape[3];
const pad: tf.backend_util.ExplicitPadding = [
  [0, 0],
  [1, 1],
  [1, 1],
  [0, 0],
];
const attributes = {
  epsilon: 1e-5,
  min: 0,
  max: Infinity,
  grid: {qmin: 0, qmax: 15, offset: 0},
  rule: {input: 'clipped', scale: 'clip', gradientScale: 1},
} as const;
const weightRule = {input: 'identity', scale: 'none', gradientScale: 1} as const;

async function step(x: tf.Tensor, w: tf.Tensor): Promise<void> {
  const gradients = tf.tidy(() => {
    const block = (input: tf.Tensor, filter: tf.Tensor): tf.Tensor => {
      const rounded = fakeQuantize(filter, tf.scalar(0.05), {qmin: -8, qmax: 7, offset: 0}, weightRule);
      const y = tf.conv2d(input as tf.Tensor4D, rounded as tf.Tensor4D, 1, pad);
      const {y: out} = batchNormAct(y, tf.ones([channels]), tf.zeros([channels]), tf.scalar(0.2), attributes);
      return addAct(out, input, {min: 0, max: Infinity});
    };
    return tf.grads((input, filter) => tf.sum(block(block(input, filter), filter)))([x, w]);
  });
  // One value read: only then is everything computed.
  const sum = tf.tidy(() => tf.sum(gradients[1] as tf.Tensor));
  await sum.data();
  tf.dispose([sum, ...gradients]);
}

/** On the current backend: milliseconds of a step, the least of as many as fit into half a second behind two to warm up. */
export async function trainingMs(): Promise<number> {
  registerGradients();
  const x = tf.fill(shape, 0.5);
  const w = tf.fill([3, 3, channels, channels], 0.1);
  let least = Infinity;
  try {
    const begin = performance.now();
    for (let n = 0; n < 3 || performance.now() - begin < 500; n++) {
      const start = performance.now();
      await step(x, w);
      if (n > 1) least = Math.min(least, performance.now() - start);
    }
  } finally {
    tf.dispose([x, w]);
  }
  return least;
}
