/** A fully connected layer: x · W + bias. */
import {item} from '../../lookup.ts';
import {plain, elements, expectParameter, expectValue, nodeError, oneOf, show, type OperatorOf} from './operator.ts';

export const gemm: OperatorOf<2> = {
  op: 'Gemm',
  inputs: [2, 3],
  attributes: ['alpha', 'beta', 'transA', 'transB'],

  infer(node, [x, w, bias]) {
    oneOf(node, 'alpha', 1, [1]);
    oneOf(node, 'beta', 1, [1]);
    oneOf(node, 'transA', 0, [0]);
    const transposed = oneOf(node, 'transB', 0, [0, 1]) === 1;
    expectValue(node, x);
    if (x.shape.length !== 1) {
      throw nodeError(node, `input "${x.name}" has the shape ${show(x.shape)}; it takes one axis of features.`);
    }
    const outputs = w.shape[transposed ? 0 : 1] ?? 0;
    expectParameter(node, w, transposed ? [outputs, item(x.shape, 0)] : [item(x.shape, 0), outputs]);
    if (bias !== undefined) expectParameter(node, bias, [outputs]);
    return {shape: [outputs], signed: true};
  },

  cost: (_node, [, w, bias]) => ({
    macs: elements(w.shape),
    parameters: elements(w.shape) + elements(bias?.shape ?? [0]),
  }),

  /** Always [in, out]. */
  axes: (node, index) => (index === 1 ? (node.attributes.transB === 1 ? [1, 0] : [0, 1]) : [0]),

  layout: plain,

  run: (tf, _node, [x, w, bias], {activation = 'linear'}) =>
    bias === undefined && activation === 'linear'
      ? tf.matMul(x, w)
      : tf.fused.matMul({
          a: x,
          b: w,
          activation,
          ...(bias === undefined ? {} : {bias}),
        }),
};
