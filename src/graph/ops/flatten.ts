/** All of an image as one row of features, in ONNX's order: channel, row, column. */
import {elements, expectValue, noCost, oneOf, type Operator} from './operator.ts';
import {onnxShape, reshapeInOnnxOrder} from './reshape.ts';

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

  run(tf, _node, [x]) {
    const from = onnxShape(x!);
    return reshapeInOnnxOrder(tf, x!, from, [elements(from)]);
  },
};
