/** Mean or maximum over all axes but the channels. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {channelsLast, expectValue, noCost, nodeError, show, type OperatorOf, type Tf} from './operator.ts';

function globalPool(op: string, reduce: (tf: Tf, x: tfjs.Tensor, axes: number[]) => tfjs.Tensor): OperatorOf<1> {
  return {
    op,
    inputs: [1, 1],
    attributes: [],
    infer(node, [x]) {
      expectValue(node, x);
      const [channels = 0, ...others] = x.shape;
      if (others.length === 0) {
        throw nodeError(node, `input "${x.name}" has the shape ${show(x.shape)}; it takes [channels, …].`);
      }
      return {shape: [channels, ...others.map(() => 1)], signed: x.signed};
    },
    cost: noCost,
    layout: channelsLast,
    run: (tf, _node, [x]) => reduce(tf, x, x.shape.map((_, axis) => axis).slice(1, -1)),
  };
}

export const globalAveragePool = globalPool('GlobalAveragePool', (tf, x, axes) => tf.mean(x, axes, true));
export const globalMaxPool = globalPool('GlobalMaxPool', (tf, x, axes) => tf.max(x, axes, true));
