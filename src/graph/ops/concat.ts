/** Inputs side by side along one axis. */
import type {Node} from '../graph.ts';
import {memoryAxis} from '../layout.ts';
import {expectValue, integer, noCost, nodeError, show, type Operator} from './operator.ts';

/** The axis in ONNX's order, the batch included. */
function axisOf(node: Node, rank: number): number {
  const axis = integer(node, 'axis', undefined, -rank);
  const positive = axis < 0 ? axis + rank : axis;
  if (positive < 1 || positive >= rank) {
    throw nodeError(node, `attribute "axis" is ${axis}; it takes 1 … ${rank - 1} or the same counted from the end.`);
  }
  return positive;
}

export const concat: Operator = {
  op: 'Concat',
  inputs: [1, Infinity],
  attributes: ['axis'],

  infer(node, inputs) {
    const first = inputs[0]!.shape;
    const axis = axisOf(node, first.length + 1) - 1;
    for (const input of inputs) {
      expectValue(node, input);
      if (input.shape.length !== first.length || input.shape.some((size, i) => i !== axis && size !== first[i])) {
        throw nodeError(
          node,
          `input "${input.name}" has the shape ${show(input.shape)}; beside axis ${axis + 1} it must be that of the first, ${show(first)}.`,
        );
      }
    }
    const length = inputs.reduce((sum, {shape}) => sum + shape[axis]!, 0);
    return {
      shape: first.map((size, i) => (i === axis ? length : size)),
      signed: inputs.some((input) => input.signed),
    };
  },

  cost: noCost,

  run(tf, node, inputs, {layout}) {
    const {rank} = inputs[0]!;
    return tf.concat([...inputs], memoryAxis(axisOf(node, rank), rank, layout));
  },
};
