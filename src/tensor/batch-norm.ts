/**
 * Training-mode batch normalisation (Ioffe and Szegedy, 2015) with the activation and the activation quantizer that
 * follow it, as one operator: only its input is kept for the backward pass.
 */
import * as tf from '@tensorflow/tfjs-core';

import {withGradient} from './custom-gradient.ts';
import {composedFakeQuantize, composedFakeQuantizeGrad} from './fake-quantize.ts';
import {runFused, type BatchNormActAttributes} from './kernels.ts';

function leadingAxes(x: tf.Tensor): number[] {
  return Array.from({length: x.rank - 1}, (_, axis) => axis);
}

function clip(x: tf.Tensor, min: number, max: number): tf.Tensor {
  return tf.clipByValue(x, min, max);
}

/** `SdqBatchNormAct` out of plain operators: [y, mean, variance]. */
export function composedBatchNormAct(
  x: tf.Tensor,
  gamma: tf.Tensor,
  beta: tf.Tensor,
  scale: tf.Tensor,
  {epsilon, min, max, grid}: BatchNormActAttributes,
): [tf.Tensor, tf.Tensor, tf.Tensor] {
  const mean = tf.mean(x, leadingAxes(x));
  const centered = tf.sub(x, mean);
  const variance = tf.mean(tf.square(centered), leadingAxes(x));
  const z = tf.add(tf.mul(centered, tf.mul(gamma, tf.rsqrt(tf.add(variance, epsilon)))), beta);
  const a = clip(z, min, max);
  return [grid === null ? a : composedFakeQuantize(a, scale, grid), mean, variance];
}

/** `SdqBatchNormActGrad` out of plain operators: [dx, dgamma, dbeta, dscale]. */
export function composedBatchNormActGrad(
  x: tf.Tensor,
  gamma: tf.Tensor,
  beta: tf.Tensor,
  mean: tf.Tensor,
  variance: tf.Tensor,
  scale: tf.Tensor,
  dy: tf.Tensor,
  {epsilon, min, max, grid, rule}: BatchNormActAttributes,
): [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor] {
  const inverse = tf.rsqrt(tf.add(variance, epsilon));
  const normalized = tf.mul(tf.sub(x, mean), inverse);
  const z = tf.add(tf.mul(normalized, gamma), beta);
  const [da, dscale] =
    grid === null ? [dy, tf.zerosLike(scale)] : composedFakeQuantizeGrad(clip(z, min, max), scale, dy, grid, rule);
  const passes = tf.cast(tf.logicalAnd(tf.greater(z, min), tf.less(z, max)), 'float32');
  const dz = tf.mul(da, passes);
  const axes = leadingAxes(x);
  const dbeta = tf.sum(dz, axes);
  const dgamma = tf.sum(tf.mul(dz, normalized), axes);
  const count = x.size / gamma.size;
  const correction = tf.div(tf.add(dbeta, tf.mul(normalized, dgamma)), count);
  const dx = tf.mul(tf.sub(dz, correction), tf.mul(gamma, inverse));
  return [dx, dgamma, dbeta, dscale];
}

/** The output and the batch's own statistics; `variance` is the biased one. No gradient flows through the statistics. */
export interface BatchNormActResult {
  readonly y: tf.Tensor;
  readonly mean: tf.Tensor;
  readonly variance: tf.Tensor;
}

/**
 * y = fake-quantize(clip(gamma · (x − mean) / √(variance + epsilon) + beta, min, max)) with the statistics of the batch.
 * Differentiable in `x`, `gamma`, `beta` and `scale`.
 * @param x [..., C]
 * @param gamma [C]
 * @param beta [C]
 * @param scale [], the step of `attributes.grid`; null when the grid is null
 */
export function batchNormAct(
  x: tf.Tensor,
  gamma: tf.Tensor,
  beta: tf.Tensor,
  scale: tf.Tensor | null,
  attributes: BatchNormActAttributes,
): BatchNormActResult {
  const step = scale ?? tf.scalar(1);
  let statistics: tf.Tensor[] = [];
  const y = withGradient(
    [x, gamma, beta, step],
    (save) => {
      const [y, mean, variance] = runFused('SdqBatchNormAct', {x, gamma, beta, scale: step}, attributes, () =>
        composedBatchNormAct(x, gamma, beta, step, attributes),
      ) as [tf.Tensor, tf.Tensor, tf.Tensor];
      save([x, gamma, beta, mean, variance, step]);
      statistics = [tf.keep(mean), tf.keep(variance)];
      return y;
    },
    (dy, saved) => {
      const [x, gamma, beta, mean, variance, scale] = saved as [
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
      ];
      return runFused('SdqBatchNormActGrad', {x, gamma, beta, mean, variance, scale, dy}, attributes, () =>
        composedBatchNormActGrad(x, gamma, beta, mean, variance, scale, dy, attributes),
      );
    },
  );
  // A custom gradient has one output: the statistics left its scope by `keep` and are handed to the caller's scope here.
  const [mean, variance] = statistics.map((statistic) => {
    const handed = tf.clone(statistic);
    statistic.dispose();
    return handed;
  }) as [tf.Tensor, tf.Tensor];
  if (scale === null) step.dispose();
  return {y, mean, variance};
}
