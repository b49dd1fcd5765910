/** Element-wise operators of two inputs: ONNX broadcasting between values, and with a parameter. */
import type {Node, Shape} from '../graph.ts';
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

/** Channels last for a parameter that goes with images. */
export function broadcastAxes(_node: Node, _index: number, shape: Shape): readonly number[] {
  if (shape.length === 3) return [1, 2, 0];
  return shape.length === 4 ? [0, 2, 3, 1] : shape.map((_, axis) => axis);
}
