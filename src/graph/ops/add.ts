/** a + b, with broadcasting. */
import {broadcastAxes, broadcastShape} from './broadcast.ts';
import {elements, type Operator} from './operator.ts';

export const add: Operator = {
  op: 'Add',
  inputs: [2, 2],
  attributes: [],
  infer: (node, [a, b]) => ({shape: broadcastShape(node, a!, b!), signed: a!.signed || b!.signed}),
  cost: (_node, inputs) => ({
    macs: 0,
    parameters: inputs.filter((input) => input.parameter).reduce((sum, {shape}) => sum + elements(shape), 0),
  }),
  axes: broadcastAxes,
  run: (tf, _node, [a, b]) => tf.add(a!, b!),
};
