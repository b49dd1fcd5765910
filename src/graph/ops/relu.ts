/** max(x, 0). */
import {expectValue, noCost, type Operator} from './operator.ts';

export const relu: Operator = {
  op: 'Relu',
  inputs: [1, 1],
  attributes: [],

  infer(node, [x]) {
    expectValue(node, x!);
    return {shape: x!.shape, signed: false};
  },

  cost: noCost,

  run: (tf, _node, [x]) => tf.relu(x!),
};
