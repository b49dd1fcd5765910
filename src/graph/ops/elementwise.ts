/** What the operators have in common that treat every element alike: one computed input, or two that are broadcast. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {broadcastAxes, broadcastShape} from './broadcast.ts';
import type {Node} from '../graph.ts';
import {elements, expectValue, float, noCost, type Operator, type Tf} from './operator.ts';

/**
 * @param options.signed whether an element of the output can be negative; left out: as the input
 * @param options.attributes numbers that `run` reads by `float`
 */
export function unary(
  op: string,
  run: (tf: Tf, x: tfjs.Tensor, node: Node) => tfjs.Tensor,
  {attributes = [], signed}: {readonly signed?: boolean; readonly attributes?: readonly string[]} = {},
): Operator {
  return {
    op,
    inputs: [1, 1],
    attributes,
    infer(node, [x]) {
      expectValue(node, x!);
      for (const name of attributes) float(node, name, 0);
      return {shape: x!.shape, signed: signed ?? x!.signed};
    },
    cost: noCost,
    run: (tf, node, [x]) => run(tf, x!, node),
  };
}

export function binary(op: string, run: (tf: Tf, a: tfjs.Tensor, b: tfjs.Tensor) => tfjs.Tensor): Operator {
  return {
    op,
    inputs: [2, 2],
    attributes: [],
    infer: (node, [a, b]) => ({shape: broadcastShape(node, a!, b!), signed: a!.signed || b!.signed}),
    cost: (_node, inputs) => ({
      macs: 0,
      parameters: inputs.filter((input) => input.parameter).reduce((sum, {shape}) => sum + elements(shape), 0),
    }),
    axes: broadcastAxes,
    run: (tf, _node, [a, b]) => run(tf, a!, b!),
  };
}
