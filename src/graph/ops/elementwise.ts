/** What the operators have in common that treat every element alike: one computed input, or two that are broadcast. */
import type * as tfjs from '@tensorflow/tfjs-core';

import type {Node} from '../graph.ts';
import {aligned, broadcastAxes} from './broadcast.ts';
import {
  eitherLayout,
  elements,
  expectValue,
  float,
  noCost,
  nodeError,
  type OperatorOf,
  type RunOptions,
  type Tf,
} from './operator.ts';
import {broadcastSizes, valueOf} from './sizes.ts';

/**
 * @param options.signed whether an element of the output can be negative; left out: as the input
 * @param options.defaults of the attributes, numbers that `run` gets by their names
 */
export function unary<Name extends string = never>(
  op: string,
  run: (tf: Tf, x: tfjs.Tensor, numbers: Readonly<Record<Name, number>>, fused: RunOptions['fused']) => tfjs.Tensor,
  {defaults, signed}: {readonly signed?: boolean; readonly defaults?: Readonly<Record<Name, number>>} = {},
): OperatorOf<1> {
  const entries = Object.entries<number>(defaults ?? {});
  const numbersOf = (node: Node): Record<Name, number> =>
    Object.fromEntries(entries.map(([name, value]) => [name, float(node, name, value)])) as Record<Name, number>;
  return {
    op,
    inputs: [1, 1],
    attributes: entries.map(([name]) => name),
    anyBatch: true,
    infer(node, [x]) {
      expectValue(node, x);
      numbersOf(node);
      const {name: _, parameter: __, ...output} = x;
      return {...output, signed: signed ?? x.signed};
    },
    cost: noCost,
    run: (tf, node, [x], {fused}) => run(tf, x, numbersOf(node), fused),
  };
}

/** @param signed whether an element of the output can be negative, given whether one of each input can */
export function binary(
  op: string,
  run: (tf: Tf, a: tfjs.Tensor, b: tfjs.Tensor) => tfjs.Tensor,
  signed: (a: boolean, b: boolean) => boolean = (a, b) => a || b,
): OperatorOf<2> {
  return {
    op,
    inputs: [2, 2],
    attributes: [],
    anyBatch: true,
    infer(node, inputs) {
      if (inputs.every(({parameter}) => parameter)) {
        throw nodeError(node, `both inputs are parameters; one must be computed.`);
      }
      const [a, b] = inputs;
      return {...valueOf(node, broadcastSizes(node, inputs)), signed: signed(a.signed, b.signed)};
    },
    cost: (_node, inputs) => ({
      macs: 0,
      parameters: inputs.filter((input) => input.parameter).reduce((sum, {shape}) => sum + elements(shape), 0),
    }),
    layout: eitherLayout,
    axes: broadcastAxes,
    run(tf, _node, inputs, {layout, inputs: operands}) {
      const [a, b] = aligned(tf, inputs, operands, layout);
      return run(tf, a, b);
    },
  };
}
