/** The input as it is. */
import {expectValue, noCost, type Operator} from './operator.ts';

export const identity: Operator = {
  op: 'Identity',
  inputs: [1, 1],
  attributes: [],

  infer(node, [x]) {
    expectValue(node, x!);
    return {shape: x!.shape, signed: x!.signed};
  },

  cost: noCost,

  run: (tf, _node, [x]) => tf.clone(x!),
};
