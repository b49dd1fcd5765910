/** x · W with the weights a parameter: a fully connected layer without bias, on the last axis of x. */
import {plain, elements, expectParameter, expectValue, nodeError, show, type Operator} from './operator.ts';
import {gemm} from './gemm.ts';

export const matMul: Operator = {
  op: 'MatMul',
  inputs: [2, 2],
  attributes: [],

  infer(node, [x, w]) {
    expectValue(node, x!);
    if (x!.shape.length < 1 || x!.shape.length > 2) {
      throw nodeError(
        node,
        `input "${x!.name}" has the shape ${show(x!.shape)}; it takes [features] or [rows, features].`,
      );
    }
    const outputs = w!.shape[1] ?? 0;
    expectParameter(node, w!, [x!.shape.at(-1)!, outputs]);
    return {shape: [...x!.shape.slice(0, -1), outputs], signed: true};
  },

  cost: (_node, [x, w]) => ({
    macs: elements(x!.shape.slice(0, -1)) * elements(w!.shape),
    parameters: elements(w!.shape),
  }),

  layout: plain,

  run(tf, node, [x, w, ...bias], options) {
    if (x!.rank === 2) return gemm.run(tf, node, [x!, w!, ...bias], options);
    const rows = tf.reshape(x!, [-1, x!.shape.at(-1)!]);
    return tf.reshape(gemm.run(tf, node, [rows, w!, ...bias], options), [...x!.shape.slice(0, -1), w!.shape[1]!]);
  },
};
