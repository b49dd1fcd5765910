/** x · min(max(x + 3, 0), 6) / 6 (Howard et al., 2019). */
import {expectValue, noCost, type Operator} from './operator.ts';

export const hardSwish: Operator = {
  op: 'HardSwish',
  inputs: [1, 1],
  attributes: [],

  infer(node, [x]) {
    expectValue(node, x!);
    return {shape: x!.shape, signed: x!.signed};
  },

  cost: noCost,

  run: (tf, _node, [x]) => tf.mul(tf.mul(x!, 1 / 6), tf.relu6(tf.add(x!, 3))),
};
