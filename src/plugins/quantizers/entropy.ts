import * as tf from '@tensorflow/tfjs-core';

import {minimumStep, type WeightQuantizer} from '../../sdq/weight-quantizer.ts';
import {entropyTraits} from './traits.ts';

/**
 * s·(2·round((2^b − 1)(clip(w/s, −1, 1) + 1)/2)/(2^b − 1) − 1), s = (2^b − 1)/2^(b−1) · mean|w| (the entropy-preserving weights of
 * N2UQ, Liu et al., CVPR 2022). On the grid: a step 2s/(2^b − 1) = mean|w| · 2^(2−b). The clip stops the gradient outside ±s.
 */
export const entropy: WeightQuantizer = {
  ...entropyTraits,
  transform: (w) => w,
  statisticScales: (w, bits) => {
    const magnitude = tf.mean(tf.abs(w), 0);
    return bits.map((b) => tf.maximum(tf.mul(magnitude, 2 ** (2 - b)), minimumStep));
  },
};
