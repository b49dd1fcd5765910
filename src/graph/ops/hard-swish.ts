/** x · min(max(x + 3, 0), 6) / 6 (Howard et al., 2019). */
import {unary} from './elementwise.ts';

export const hardSwish = unary('HardSwish', (tf, x) => tf.mul(tf.mul(x, 1 / 6), tf.relu6(tf.add(x, 3))));
