/** Parameters of element-wise operators, in the layout of the value that they go with. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {memoryOrder, type Layout} from '../layout.ts';
import type {AtLeast, Operand, Tf} from './operator.ts';

const rankOf = ({parameter, shape}: Operand): number => shape.length + (parameter ? 0 : 1);

/** Order of axes of a parameter that has all of the value's, with or without that of the batch; any other is kept as stored. */
export function broadcastAxes(
  _node: Node,
  index: number,
  inputs: readonly Operand[],
  layout: Layout,
): readonly number[] {
  const {shape} = item(inputs, index);
  const rank = Math.max(...inputs.filter(({parameter}) => !parameter).map(rankOf));
  if (shape.length === rank) return memoryOrder(rank, layout);
  if (shape.length === rank - 1) {
    return memoryOrder(rank, layout)
      .slice(1)
      .map((axis) => axis - 1);
  }
  return shape.map((_, axis) => axis);
}

/**
 * The inputs as tfjs broadcasts them: a parameter with fewer axes, which ONNX aligns at its last axis, gets all axes.
 * @param operands what is known of the inputs
 */
export function aligned(
  tf: Tf,
  inputs: AtLeast<2, tfjs.Tensor>,
  operands: AtLeast<2, Operand>,
  layout: Layout,
): AtLeast<2, tfjs.Tensor> {
  if (layout === 'plain') return inputs;
  const rank = Math.max(...operands.map(rankOf));
  const whole = (x: tfjs.Tensor, {parameter}: Operand): tfjs.Tensor => {
    if (!parameter || x.rank >= rank - 1 || x.size === 1) return x;
    const all = tf.reshape(x, [...new Array<number>(rank - x.rank).fill(1), ...x.shape]);
    return tf.transpose(all, memoryOrder(rank, layout));
  };
  const [a, b, ...others] = inputs;
  return [
    whole(a, operands[0]),
    whole(b, operands[1]),
    ...others.map((x, index) => whole(x, item(operands, index + 2))),
  ];
}
