/** 1 / (1 + e^−x). */
import {expectValue, noCost, type Operator} from './operator.ts';

export const sigmoid: Operator = {
  op: 'Sigmoid',
  inputs: [1, 1],
  attributes: [],

  infer(node, [x]) {
    expectValue(node, x!);
    return {shape: x!.shape, signed: false};
  },

  cost: noCost,

  run: (tf, _node, [x]) => tf.sigmoid(x!),
};
