/**
 * The product of matrices, over all axes but the last two with broadcasting. With a parameter [in, out] on the right it is
 * a fully connected layer without bias on the last axis of x, which is quantized.
 */
import type * as tfjs from '@tensorflow/tfjs-core';

import {item, last} from '../../lookup.ts';
import {gemm} from './gemm.ts';
import {elements, nodeError, plain, type Operand, type OperatorOf, type Tf} from './operator.ts';
import {broadcastedSizes, showSizes, sizesOf, valueOf} from './sizes.ts';

const isLayer = (w: Operand): boolean => w.parameter && w.shape.length === 2;

function repeated(tf: Tf, x: tfjs.Tensor, lead: readonly number[]): tfjs.Tensor {
  const shape = [...lead, ...x.shape.slice(-2)];
  return x.shape.join() === shape.join() ? x : tf.broadcastTo(x, shape);
}

export const matMul: OperatorOf<2> = {
  op: 'MatMul',
  inputs: [2, 2],
  attributes: [],
  anyBatch: true,

  infer(node, [a, b]) {
    const [left, right] = [sizesOf(a), sizesOf(b)];
    const [inner, other] = [left.at(-1), right.at(-2)];
    const matrices = right.length >= 2 && left.length >= (isLayer(b) ? 1 : 2);
    if (!matrices || inner === undefined || inner < 0 || inner !== other) {
      throw nodeError(
        node,
        `inputs "${a.name}" ${showSizes(left)} and "${b.name}" ${showSizes(right)} are not [..., rows, n] and [..., n, columns].`,
      );
    }
    const lead = isLayer(b)
      ? left.slice(0, -2)
      : broadcastedSizes(node, [
          [a.name, left.slice(0, -2)],
          [b.name, right.slice(0, -2)],
        ]);
    return {...valueOf(node, [...lead, ...left.slice(-2, -1), last(right)]), signed: true};
  },

  cost: (_node, [a, b], output) => ({
    macs: elements(output.shape) * last(a.shape),
    parameters: [a, b].reduce((sum, {parameter, shape}) => sum + (parameter ? elements(shape) : 0), 0),
  }),

  layout: plain,

  run(tf, node, [a, b, ...bias], options) {
    if (!isLayer(item(options.inputs, 1))) {
      const lead = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
      return tf.matMul(repeated(tf, a, lead), repeated(tf, b, lead));
    }
    if (a.rank === 2) return gemm.run(tf, node, [a, b, ...bias], options);
    const rows = tf.reshape(a, [-1, last(a.shape)]);
    return tf.reshape(gemm.run(tf, node, [rows, b, ...bias], options), [...a.shape.slice(0, -1), item(b.shape, 1)]);
  },
};
