/** min(max(alpha · x + beta, 0), 1); PyTorch's has alpha 1/6. */
import {unary} from './elementwise.ts';

export const hardSigmoid = unary(
  'HardSigmoid',
  (tf, x, {alpha, beta}) => tf.clipByValue(tf.add(tf.mul(x, alpha), beta), 0, 1),
  {signed: false, defaults: {alpha: 0.2, beta: 0.5}},
);
