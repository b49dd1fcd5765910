/** e^x over its sum along one axis, and the logarithm of it. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {memoryAxis} from '../layout.ts';
import {expectValue, integer, noCost, nodeError, type Operand, type OperatorOf, type Tf} from './operator.ts';
import {axisIn, sizesOf} from './sizes.ts';

function axisOf(node: Node, x: Operand): number {
  const sizes = sizesOf(x);
  const axis = axisIn(node, integer(node, 'axis', -1, -sizes.length), sizes.length);
  if (item(sizes, axis) < 0) throw nodeError(node, `attribute "axis" is ${axis}, the axis of the batch.`);
  return axis;
}

/** @param last computes it along the last axis */
function alongAxis(op: string, signed: boolean, last: (tf: Tf, x: tfjs.Tensor) => tfjs.Tensor): OperatorOf<1> {
  return {
    op,
    inputs: [1, 1],
    attributes: ['axis'],
    anyBatch: true,
    infer(node, [x]) {
      expectValue(node, x);
      axisOf(node, x);
      const {name: _, parameter: __, ...output} = x;
      return {...output, signed};
    },
    cost: noCost,
    run(tf, node, [x], {inputs: [operand], layout}) {
      const axis = memoryAxis(axisOf(node, operand), x.rank, layout);
      if (axis === x.rank - 1) return last(tf, x);
      const swapped = Array.from({length: x.rank}, (_, i) => i);
      [swapped[axis], swapped[x.rank - 1]] = [x.rank - 1, axis];
      return tf.transpose(last(tf, tf.transpose(x, swapped)), swapped);
    },
  };
}

export const softmax = alongAxis('Softmax', false, (tf, x) => tf.softmax(x));
export const logSoftmax = alongAxis('LogSoftmax', true, (tf, x) => {
  const shifted = tf.sub(x, tf.max(x, -1, true));
  return tf.sub(shifted, tf.log(tf.sum(tf.exp(shifted), -1, true)));
});
