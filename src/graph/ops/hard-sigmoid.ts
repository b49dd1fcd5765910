/** min(max(alpha · x + beta, 0), 1); PyTorch's has alpha 1/6, ONNX's own default is 0.2. */
import {unary} from './elementwise.ts';
import {float} from './operator.ts';

export const hardSigmoid = unary(
  'HardSigmoid',
  (tf, x, node) => tf.clipByValue(tf.add(tf.mul(x, float(node, 'alpha', 0.2)), float(node, 'beta', 0.5)), 0, 1),
  {signed: false, attributes: ['alpha', 'beta']},
);
