/** The same elements, in ONNX's order, under another shape (an attribute, as in ONNX's opset 1; the batch axis comes first). */
import type * as tfjs from '@tensorflow/tfjs-core';

import type {Node, Shape} from '../graph.ts';
import {integerTensor} from '../onnx/tensors.ts';
import {
  constantInput,
  elements,
  expectValue,
  integers,
  noCost,
  nodeError,
  show,
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
 * @param x NHWC where `from` has three axes, else as in ONNX
 * @param from the shape of x in ONNX's order, without the batch
 */
export function reshapeInOnnxOrder(tf: Tf, x: tfjs.Tensor, from: Shape, to: Shape): tfjs.Tensor {
  const batch = x.shape[0];
  const planar = from.length === 3 && (from[1]! > 1 || from[2]! > 1) ? tf.transpose(x, [0, 3, 1, 2]) : x;
  const [channels, height, width] = to;
  if (to.length !== 3) return tf.reshape(planar, [batch, ...to]);
  return tf.transpose(tf.reshape(planar, [batch, channels!, height!, width!]), [0, 2, 3, 1]);
}

/** The shape of a running tensor in ONNX's order, without the batch. */
export function onnxShape(x: tfjs.Tensor): Shape {
  const shape = x.shape.slice(1);
  return shape.length === 3 ? [shape[2]!, shape[0]!, shape[1]!] : shape;
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

  run(tf, node, [x]) {
    const from = onnxShape(x!);
    return reshapeInOnnxOrder(tf, x!, from, target(node, from));
  },
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
