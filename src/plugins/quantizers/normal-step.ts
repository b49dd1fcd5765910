/**
 * The step with the least mean squared error for a unit Gaussian on [−6, 6], by bitwidth (1 to 8): computed by us, checked in
 * the tests by an independent integration. A channel's step is this times its root mean square.
 */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../../lookup.ts';
import {minimumStep} from '../../sdq/weight-quantizer.ts';

/** Levels −2^(b−1) … 2^(b−1) − 1; ±½ step at 1 bit. */
export const fullRangeSteps = [1.59577, 1.04839, 0.60182, 0.33861, 0.18879, 0.10418, 0.056887, 0.030765];

/** Levels −(2^(b−1) − 1) … 2^(b−1) − 1; ±½ step at 1 bit. */
export const narrowRangeSteps = [1.59577, 1.22401, 0.65077, 0.35341, 0.19325, 0.10549, 0.057261, 0.03087];

/** Levels ±½, ±1½, … ±(2^(b−1) − ½): the first five are those of Max (1960, table II). */
export const midRiseSteps = [1.59577, 0.99559, 0.586, 0.33517, 0.188, 0.104, 0.056833, 0.030767];

/**
 * steps[b] · rms of the weights, for each bitwidth.
 * @param w [fan-in, C]
 * @param perChannel [C] steps; else one for the layer, []
 */
export function rootMeanSquareSteps(
  w: tf.Tensor,
  bits: readonly number[],
  steps: readonly number[],
  perChannel: boolean,
): tf.Tensor[] {
  const rms = tf.sqrt(tf.mean(tf.square(w), perChannel ? 0 : undefined));
  return bits.map((b) => tf.maximum(tf.mul(rms, item(steps, b - 1)), minimumStep));
}
