/** x where it is positive, else alpha · x (Maas et al., 2013). */
import {unary} from './elementwise.ts';

export const leakyRelu = unary('LeakyRelu', (tf, x, {alpha}) => tf.sub(tf.relu(x), tf.mul(tf.relu(tf.neg(x)), alpha)), {
  defaults: {alpha: 0.01},
});
