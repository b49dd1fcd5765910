/** Element-wise operators of two inputs: ONNX broadcasting between values, and with a parameter. */
import type {Node, Shape} from '../graph.ts';
import {memoryOrder, type Layout} from '../layout.ts';
import {nodeError, show, type Operand} from './operator.ts';

/**
 * Shape of the result without the batch axis. Two values have the same number of axes; a parameter has the value's (with
 * or without a batch axis of 1) or is a single number.
 */
export function broadcastShape(node: Node, a: Operand, b: Operand): Shape {
  if (a.parameter && b.parameter) throw nodeError(node, `both inputs are parameters; one must be computed.`);
  const [value, other] = a.parameter ? [b, a] : [a, b];
  let shape = other.shape;
  if (other.parameter) {
    if (shape.length === value.shape.length + 1 && shape[0] === 1) shape = shape.slice(1);
    if (shape.every((size) => size === 1)) shape = value.shape.map(() => 1);
  }
  const fits =
    shape.length === value.shape.length &&
    shape.every(
      (size, axis) => size === value.shape[axis] || size === 1 || (value.shape[axis] === 1 && !other.parameter),
    );
  if (!fits) {
    throw nodeError(
      node,
      `inputs "${a.name}" ${show(a.shape)} and "${b.name}" ${show(b.shape)} do not broadcast to one shape.`,
    );
  }
  return value.shape.map((size, axis) => Math.max(size, shape[axis]!));
}

/**
 * A parameter in the layout of the value that it goes with. It has the value's axes, with or without that of the batch, or
 * is a single number, whose axes need no order.
 * @param layout of the value
 */
export function broadcastAxes(
  _node: Node,
  index: number,
  inputs: readonly Operand[],
  layout: Layout,
): readonly number[] {
  const {shape} = inputs[index]!;
  const axes = shape.map((_, axis) => axis);
  const rank = Math.max(...inputs.filter(({parameter}) => !parameter).map((value) => value.shape.length + 1));
  if (shape.length === rank) return memoryOrder(rank, layout);
  return shape.length === rank - 1
    ? memoryOrder(rank, layout)
        .slice(1)
        .map((axis) => axis - 1)
    : axes;
}
