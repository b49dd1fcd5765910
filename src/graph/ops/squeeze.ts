/** Axes of size 1 taken out or put in. */
import type {Node} from '../graph.ts';
import {integerTensor} from '../onnx/tensors.ts';
import {constantInput, integers, nodeError, type ConstantLookup, type OperatorOf} from './operator.ts';
import {regrouping} from './reshape.ts';
import {axisIn, showSizes, type Sizes} from './sizes.ts';

/** The axes, from the start. @param rank the number of axes that they count */
function axesOf(node: Node, rank: number, fallback?: readonly number[]): readonly number[] {
  return integers(node, 'axes', fallback, -rank).map((axis) => axisIn(node, axis, rank, 'axes'));
}

function squeezed(node: Node, from: Sizes): Sizes {
  const ones = from.flatMap((size, axis) => (size === 1 ? [axis] : []));
  const axes = axesOf(node, from.length, ones);
  if (axes.some((axis) => from[axis] !== 1)) {
    throw nodeError(node, `attribute "axes" is ${axes.join(', ')}; the input ${showSizes(from)} is not 1 there.`);
  }
  return from.filter((_, axis) => !axes.includes(axis));
}

function unsqueezed(node: Node, from: Sizes): Sizes {
  const count = integers(node, 'axes', undefined, -Infinity).length;
  const axes = axesOf(node, from.length + count);
  const others = [...from];
  return Array.from({length: from.length + count}, (_, axis) => (axes.includes(axis) ? 1 : (others.shift() ?? 1)));
}

/** The axes are an input since opset 13. */
const form: Pick<OperatorOf<1>, 'toOnnx' | 'fromOnnx'> = {
  toOnnx(node) {
    const axes = node.attributes['axes'] as readonly number[] | undefined;
    const constants = axes === undefined ? [] : [integerTensor(`${node.name}.axes`, 'int64', [axes.length], axes)];
    return {op: node.op, attributes: {}, constants};
  },
  fromOnnx(node, constant: ConstantLookup) {
    const axes = constantInput(node, 1, constant);
    return {
      ...node,
      inputs: node.inputs.slice(0, 1),
      attributes: {...node.attributes, ...(axes === undefined ? {} : {axes})},
    };
  },
};

export const squeeze: OperatorOf<1> = {...regrouping('Squeeze', ['axes'], squeezed), ...form};
export const unsqueeze: OperatorOf<1> = {...regrouping('Unsqueeze', ['axes'], unsqueezed), ...form};
