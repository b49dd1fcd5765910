/** All of an image as one row of features, in ONNX's order: channel, row, column. */
import {elements, expectValue, noCost, oneOf, type Operator} from './operator.ts';
import {regroup, regroupedLayout} from './reshape.ts';

export const flatten: Operator = {
  op: 'Flatten',
  inputs: [1, 1],
  attributes: ['axis'],

  infer(node, [x]) {
    expectValue(node, x!);
    oneOf(node, 'axis', 1, [1]);
    return {shape: [elements(x!.shape)], signed: x!.signed};
  },

  cost: noCost,

  layout: (_node, [x], [layout]) => regroupedLayout(x!.shape, [elements(x!.shape)], layout!),

  run: (tf, _node, [x], {layout}) => regroup(tf, x!, [elements(x!.shape.slice(1))], layout),
};
