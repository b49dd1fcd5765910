/** One number over several axes: mean, sum, greatest, least, norms. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {memoryAxis, type Layout} from '../layout.ts';
import {integerTensor} from '../onnx/tensors.ts';
import {
  constantInput,
  expectValue,
  integers,
  noCost,
  nodeError,
  oneOf,
  type NodeLayout,
  type Operand,
  type OperatorOf,
  type Tf,
} from './operator.ts';
import {axisIn, sizesOf, valueOf} from './sizes.ts';

const keepsAxes = (node: Node): boolean => oneOf(node, 'keepdims', 1, [0, 1]) === 1;

function axesOf(node: Node, x: Operand): readonly number[] {
  const sizes = sizesOf(x);
  const axes = integers(node, 'axes', undefined, -sizes.length).map((axis) => axisIn(node, axis, sizes.length, 'axes'));
  if (axes.some((axis) => item(sizes, axis) < 0)) {
    throw nodeError(node, `attribute "axes" is ${axes.join(', ')}; the axis of the batch cannot be among them.`);
  }
  return axes;
}

/** What remains of a channels-last value has the channels last, or none or nothing but them. */
function layoutOf(node: Node, x: Operand, layout: Layout): NodeLayout {
  const axes = axesOf(node, x);
  if (keepsAxes(node) || layout === 'plain') return {inputs: layout, output: layout};
  const remaining = x.shape.length - axes.length;
  return {inputs: layout, output: axes.includes(1) || remaining < 2 ? 'plain' : 'channels-last'};
}

type Reduction = (tf: Tf, x: tfjs.Tensor, axes: number[], keep: boolean) => tfjs.Tensor;

function reduction(op: string, reduce: Reduction, signed?: boolean): OperatorOf<1> {
  return {
    op,
    inputs: [1, 1],
    attributes: ['axes', 'keepdims'],
    anyBatch: true,

    infer(node, [x]) {
      expectValue(node, x);
      const axes = axesOf(node, x);
      const keep = keepsAxes(node);
      const sizes = sizesOf(x).flatMap((size, axis) => (axes.includes(axis) ? (keep ? [1] : []) : [size]));
      return {...valueOf(node, sizes), signed: signed ?? x.signed};
    },

    cost: noCost,
    layout: (node, [x], [layout]) => layoutOf(node, x, layout),

    run(tf, node, [x], {inputs: [operand], layout}) {
      const axes = axesOf(node, operand).map((axis) => memoryAxis(axis, x.rank, layout));
      return reduce(tf, x, axes, keepsAxes(node));
    },

    // The axes of others are an attribute in 17.
    since: () => (op === 'ReduceSum' ? 17 : 20),

    toOnnx(node) {
      const axes = integers(node, 'axes', undefined, -Infinity);
      return {
        op,
        attributes: {keepdims: keepsAxes(node) ? 1 : 0},
        constants: [integerTensor(`${node.name}.axes`, 'int64', [axes.length], axes)],
      };
    },

    fromOnnx(node, constant) {
      const axes = constantInput(node, 1, constant);
      const {noop_with_empty_axes: _, ...attributes} = node.attributes;
      return {
        ...node,
        inputs: node.inputs.slice(0, 1),
        attributes: {...attributes, ...(axes === undefined ? {} : {axes})},
      };
    },
  };
}

export const reductions: readonly OperatorOf<1>[] = [
  reduction('ReduceL1', (tf, x, axes, keep) => tf.sum(tf.abs(x), axes, keep), false),
  reduction('ReduceL2', (tf, x, axes, keep) => tf.sqrt(tf.sum(tf.square(x), axes, keep)), false),
  reduction('ReduceMax', (tf, x, axes, keep) => tf.max(x, axes, keep)),
  reduction('ReduceMean', (tf, x, axes, keep) => tf.mean(x, axes, keep)),
  reduction('ReduceMin', (tf, x, axes, keep) => tf.neg(tf.max(tf.neg(x), axes, keep))),
  reduction('ReduceSum', (tf, x, axes, keep) => tf.sum(x, axes, keep)),
  reduction('ReduceSumSquare', (tf, x, axes, keep) => tf.sum(tf.square(x), axes, keep), false),
];
