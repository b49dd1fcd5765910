/** Inputs side by side along one axis. */
import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {memoryAxis} from '../layout.ts';
import {expectValue, integer, noCost, nodeError, type OperatorOf} from './operator.ts';
import {axisIn, showSizes, sizesOf, valueOf, type Sizes} from './sizes.ts';

function axisOf(node: Node, sizes: Sizes): number {
  const axis = axisIn(node, integer(node, 'axis', undefined, -sizes.length), sizes.length);
  if (item(sizes, axis) < 0) {
    const last = sizes.length - 1;
    throw nodeError(node, `attribute "axis" is ${axis}; it takes 1 … ${last} or the same counted from the end.`);
  }
  return axis;
}

export const concat: OperatorOf<1> = {
  op: 'Concat',
  inputs: [1, Infinity],
  attributes: ['axis'],
  anyBatch: true,

  infer(node, inputs) {
    for (const input of inputs) expectValue(node, input);
    const first = sizesOf(inputs[0]);
    const axis = axisOf(node, first);
    let length = 0;
    for (const input of inputs) {
      const sizes = sizesOf(input);
      if (sizes.length !== first.length || !sizes.every((size, i) => i === axis || size === first[i])) {
        throw nodeError(
          node,
          `input "${input.name}" has the shape ${showSizes(sizes)}; beside axis ${axis} it must be that of the others, ${showSizes(first)}.`,
        );
      }
      length += item(sizes, axis);
    }
    return {...valueOf(node, first.with(axis, length)), signed: inputs.some((input) => input.signed)};
  },

  cost: noCost,

  run: (tf, node, inputs, {inputs: [first], layout}) =>
    tf.concat([...inputs], memoryAxis(axisOf(node, sizesOf(first)), inputs[0].rank, layout)),
};
