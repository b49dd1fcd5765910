/** The same elements, in ONNX's order, under another shape (an attribute, as in ONNX's opset 1; the batch axis comes first). */
import type * as tfjs from '@tensorflow/tfjs-core';

import type {Node, Shape} from '../graph.ts';
import {memoryShape, onnxShape, type Layout} from '../layout.ts';
import {integerTensor} from '../onnx/tensors.ts';
import {
  constantInput,
  elements,
  expectValue,
  integers,
  noCost,
  nodeError,
  show,
  type NodeLayout,
  type Operator,
  type Tf,
} from './operator.ts';

function target(node: Node, from: Shape): Shape {
  const [batch, ...wanted] = integers(node, 'shape', undefined, -1);
  const open = wanted.filter((size) => size === -1).length;
  if (batch === undefined || batch > 0 || open > 1 || (batch === -1 && open > 0)) {
    throw nodeError(
      node,
      `attribute "shape" is ${show([...(batch === undefined ? [] : [batch]), ...wanted])}; it starts with the batch axis, 0 or -1, and has one -1 at most.`,
    );
  }
  const sizes = wanted.map((size, index) => (size === 0 ? (from[index] ?? 0) : size));
  const known = elements(sizes.filter((size) => size !== -1));
  const shape = sizes.map((size) => (size === -1 ? elements(from) / known : size));
  if (elements(shape) !== elements(from) || shape.some((size) => !Number.isInteger(size) || size < 1)) {
    throw nodeError(node, `${show(from)} has ${elements(from)} elements an image, which do not make ${show(wanted)}.`);
  }
  return shape;
}

/**
 * How the same elements under another shape lie in memory without being moved, or else in ONNX's order. Channels that stay
 * one axis stay last; channels without any other axis lie as a row does.
 */
export function regroupedLayout(from: Shape, to: Shape, layout: Layout): NodeLayout {
  const moved: NodeLayout = {inputs: 'plain', output: 'plain'};
  if (layout === 'plain') return moved;
  if (to.length > 1 && to[0] === from[0]) return {inputs: 'channels-last', output: 'channels-last'};
  return elements(from) === from[0] ? {inputs: 'channels-last', output: 'plain'} : moved;
}

/** @param to ONNX's shape of the result, without the batch */
export function regroup(tf: Tf, x: tfjs.Tensor, to: Shape, layout: Layout): tfjs.Tensor {
  const {output} = regroupedLayout(onnxShape(x.shape, layout), to, layout);
  return tf.reshape(x, [x.shape[0], ...memoryShape(to, output)]);
}

export const reshape: Operator = {
  op: 'Reshape',
  inputs: [1, 1],
  attributes: ['shape'],

  infer(node, [x]) {
    expectValue(node, x!);
    return {shape: target(node, x!.shape), signed: x!.signed};
  },

  cost: noCost,
  layout: (node, [x], [layout]) => regroupedLayout(x!.shape, target(node, x!.shape), layout!),

  run: (tf, node, [x], {layout}) => regroup(tf, x!, target(node, onnxShape(x!.shape, layout)), layout),

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
