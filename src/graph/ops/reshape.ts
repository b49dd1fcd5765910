/** The same elements, in ONNX's order, under another shape (an attribute, as in ONNX's opset 1). */
import type * as tfjs from '@tensorflow/tfjs-core';

import type {Node} from '../graph.ts';
import {memoryShape, type Layout} from '../layout.ts';
import {integerTensor} from '../onnx/tensors.ts';
import {
  constantInput,
  elements,
  expectValue,
  integers,
  noCost,
  nodeError,
  show,
  type LayoutRule,
  type NodeLayout,
  type AtLeast,
  type Operand,
  type OperatorOf,
  type RunOptions,
  type Tf,
} from './operator.ts';
import {showSizes, sizesOf, tensorSizes, valueOf, type Sizes} from './sizes.ts';

/** Elements for one image. */
const perImageElements = (sizes: Sizes): number => Math.abs(elements(sizes));

/**
 * The sizes of the output. 0 copies an axis of the input, −1 is what remains. Where neither gives an axis to the batch, the
 * file was written for one image: the first axis is the batch's.
 */
function target(node: Node, from: Sizes): Sizes {
  const wanted = integers(node, 'shape', undefined, -1);
  const copied = wanted.map((size, axis) => (size === 0 ? (from[axis] ?? 0) : size));
  const open = wanted.filter((size) => size === -1).length;
  if (wanted.length === 0 || open > 1 || copied.includes(0)) {
    throw nodeError(
      node,
      `attribute "shape" is ${show(wanted)}; it has one -1 at most, and a 0 for axes of the input only.`,
    );
  }
  const batchCopied = copied.some((size, axis) => size < 0 && wanted[axis] === 0);
  const others = Math.abs(copied.reduce((product, size, axis) => (wanted[axis] === -1 ? product : product * size), 1));
  const remains = perImageElements(from) / others;
  const sizes = copied.map((size, axis) => {
    if (wanted[axis] === -1) return batchCopied ? remains : -remains;
    return !batchCopied && open === 0 && axis === 0 ? -size : size;
  });
  if (perImageElements(sizes) !== perImageElements(from) || !Number.isInteger(remains) || remains < 1) {
    throw nodeError(
      node,
      `${showSizes(from)} has ${perImageElements(from)} elements an image, which do not make ${show(wanted)}.`,
    );
  }
  return sizes;
}

/**
 * How the same elements under another shape lie in memory without being moved, or else in ONNX's order. Channels that stay
 * one axis stay last; channels without any other axis lie as a row does.
 */
function regroupedLayout(
  from: Operand,
  to: Pick<Operand, 'shape' | 'batchAxis' | 'perImage'>,
  layout: Layout,
): NodeLayout {
  const moved: NodeLayout = {inputs: 'plain', output: 'plain'};
  if (layout === 'plain' || to.batchAxis !== undefined || to.perImage !== from.perImage) return moved;
  if (to.shape.length > 1 && to.shape[0] === from.shape[0]) return {inputs: 'channels-last', output: 'channels-last'};
  return elements(from.shape) === from.shape[0] ? {inputs: 'channels-last', output: 'plain'} : moved;
}

function regroup(
  tf: Tf,
  x: tfjs.Tensor,
  {images, inputs: [from], layout, output}: RunOptions<AtLeast<1, Operand>>,
): tfjs.Tensor {
  const {output: lies} = regroupedLayout(from, output, layout);
  if (lies === 'plain') return tf.reshape(x, tensorSizes(sizesOf(output), images));
  return tf.reshape(x, [x.shape[0], ...memoryShape(output.shape, lies)]);
}

/** An operator that only groups the elements anew. @param sizes those of the output */
export function regrouping(
  op: string,
  attributes: readonly string[],
  sizes: (node: Node, from: Sizes) => Sizes,
): OperatorOf<1> & {readonly layout: LayoutRule} {
  const outputOf = (node: Node, x: Operand) => valueOf(node, sizes(node, sizesOf(x)));
  return {
    op,
    inputs: [1, 1],
    attributes,
    anyBatch: true,
    infer(node, [x]) {
      expectValue(node, x);
      return {...outputOf(node, x), signed: x.signed};
    },
    cost: noCost,
    layout: (node, [x], [layout]) => regroupedLayout(x, outputOf(node, x), layout),
    run: (tf, _node, [x], options) => regroup(tf, x, options),
  };
}

export const reshape: OperatorOf<1> = {
  ...regrouping('Reshape', ['shape'], target),

  toOnnx(node) {
    const shape = integers(node, 'shape', undefined, -1);
    return {
      op: 'Reshape',
      attributes: {},
      constants: [integerTensor(`${node.name}.shape`, 'int64', [shape.length], shape)],
    };
  },

  fromOnnx(node, constant) {
    const [batch, ...sizes] = constantInput(node, 1, constant) ?? [];
    // A network that was saved for one image at a time has 1 there.
    const shape = batch === undefined ? {} : {shape: [batch === 1 ? 0 : batch, ...sizes]};
    // Without a 0, what one would mean says nothing.
    const {allowzero: _, ...others} = node.attributes;
    const attributes = [batch, ...sizes].includes(0) ? node.attributes : others;
    return {...node, inputs: node.inputs.slice(0, 1), attributes: {...attributes, ...shape}};
  },
};
