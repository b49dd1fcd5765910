/** One optimizer step for one parameter, in PyTorch's conventions; pure: new tensors in, new tensors out. */
import * as tf from '@tensorflow/tfjs-core';

import {runFused, type AdamAttributes, type SgdAttributes} from './kernels.ts';

/**
 * Stochastic gradient descent with momentum (Nesterov's when asked).
 * @param param any shape; `grad` and `velocity` alike
 * @returns [param', velocity']
 */
export function sgdUpdate(
  param: tf.Tensor,
  grad: tf.Tensor,
  velocity: tf.Tensor,
  attributes: SgdAttributes,
): [tf.Tensor, tf.Tensor] {
  const {learningRate, momentum, nesterov, weightDecay} = attributes;
  return runFused('SdqSgdUpdate', {param, grad, velocity}, attributes, () => {
    const g = tf.add(grad, tf.mul(param, weightDecay));
    const nextVelocity = tf.add(tf.mul(velocity, momentum), g);
    const direction = nesterov ? tf.add(g, tf.mul(nextVelocity, momentum)) : nextVelocity;
    return [tf.sub(param, tf.mul(direction, learningRate)), nextVelocity];
  }) as [tf.Tensor, tf.Tensor];
}

/**
 * Adam (Kingma and Ba, 2015) and, with `decoupled`, AdamW (Loshchilov and Hutter, 2019).
 * @param param any shape; `grad`, `m` and `v` alike
 * @returns [param', m', v']
 */
export function adamUpdate(
  param: tf.Tensor,
  grad: tf.Tensor,
  m: tf.Tensor,
  v: tf.Tensor,
  attributes: AdamAttributes,
): [tf.Tensor, tf.Tensor, tf.Tensor] {
  const {learningRate, beta1, beta2, epsilon, weightDecay, decoupled, step} = attributes;
  return runFused('SdqAdamUpdate', {param, grad, m, v}, attributes, () => {
    const g = decoupled ? grad : tf.add(grad, tf.mul(param, weightDecay));
    const nextM = tf.add(tf.mul(m, beta1), tf.mul(g, 1 - beta1));
    const nextV = tf.add(tf.mul(v, beta2), tf.mul(tf.square(g), 1 - beta2));
    const mHat = tf.div(nextM, 1 - beta1 ** step);
    const vHat = tf.div(nextV, 1 - beta2 ** step);
    const decayed = decoupled ? tf.mul(param, 1 - learningRate * weightDecay) : param;
    const nextParam = tf.sub(decayed, tf.mul(tf.div(mHat, tf.add(tf.sqrt(vHat), epsilon)), learningRate));
    return [nextParam, nextM, nextV];
  }) as [tf.Tensor, tf.Tensor, tf.Tensor];
}
