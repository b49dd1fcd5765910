/** x where it is positive, else alpha · x (Maas et al., 2013). */
import {unary} from './elementwise.ts';
import {float} from './operator.ts';

export const leakyRelu = unary(
  'LeakyRelu',
  (tf, x, node) => tf.sub(tf.relu(x), tf.mul(tf.relu(tf.neg(x)), float(node, 'alpha', 0.01))),
  {attributes: ['alpha']},
);
