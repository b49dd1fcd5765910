/** What the operators have in common that treat every element alike: one computed input, or two that are broadcast. */
import type * as tfjs from '@tensorflow/tfjs-core';

import type {Node} from '../graph.ts';
import {broadcastAxes, broadcastShape} from './broadcast.ts';
import {elements, expectValue, float, noCost, type Operator, type Tf} from './operator.ts';

/**
 * @param options.signed whether an element of the output can be negative; left out: as the input
 * @param options.defaults of the attributes, numbers that `run` gets by their names
 */
export function unary<Name extends string = never>(
  op: string,
  run: (tf: Tf, x: tfjs.Tensor, numbers: Readonly<Record<Name, number>>) => tfjs.Tensor,
  {defaults, signed}: {readonly signed?: boolean; readonly defaults?: Readonly<Record<Name, number>>} = {},
): Operator {
  const entries = Object.entries<number>(defaults ?? {});
  const numbersOf = (node: Node): Record<Name, number> =>
    Object.fromEntries(entries.map(([name, value]) => [name, float(node, name, value)])) as Record<Name, number>;
  return {
    op,
    inputs: [1, 1],
    attributes: entries.map(([name]) => name),
    infer(node, [x]) {
      expectValue(node, x!);
      numbersOf(node);
      return {shape: x!.shape, signed: signed ?? x!.signed};
    },
    cost: noCost,
    run: (tf, node, [x]) => run(tf, x!, numbersOf(node)),
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
