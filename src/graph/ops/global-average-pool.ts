/** Mean over height and width. */
import {channelsLast, image, noCost, type Operator} from './operator.ts';

export const globalAveragePool: Operator = {
  op: 'GlobalAveragePool',
  inputs: [1, 1],
  attributes: [],
  infer: (node, [x]) => ({shape: [image(node, x!)[0], 1, 1], signed: x!.signed}),
  cost: noCost,
  layout: channelsLast,

  run: (tf, _node, [x]) => tf.mean(x!, [1, 2], true),
};
