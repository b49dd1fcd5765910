/**
 * Comparisons, what combines them, and the choice by them. A condition is float32 here, 0 or 1; files have it as bool.
 * Conditions have no gradient: a step's is 0 wherever there is one.
 */
import type * as tfjs from '@tensorflow/tfjs-core';

import {aligned, broadcastAxes} from './broadcast.ts';
import {binary, unary} from './elementwise.ts';
import {eitherLayout, elements, noCost, nodeError, type Operator, type OperatorOf, type Tf} from './operator.ts';
import {broadcastSizes, valueOf} from './sizes.ts';

/** What `compute` gives, off the tape: as a constant. */
export function withoutGradient(tf: Tf, compute: () => tfjs.Tensor): tfjs.Tensor {
  return tf.customGrad(() => ({value: compute(), gradFunc: () => []}))();
}

type TwoInputs = (tf: Tf, a: tfjs.Tensor, b: tfjs.Tensor) => tfjs.Tensor;

const condition = (op: string, compute: TwoInputs): OperatorOf<2> => ({
  ...binary(
    op,
    (tf, a, b) => withoutGradient(tf, () => compute(tf, a, b)),
    () => false,
  ),
  cost: noCost,
});

const comparison = (op: string, compare: TwoInputs): OperatorOf<2> =>
  condition(op, (tf, a, b) => tf.cast(compare(tf, a, b), 'float32'));

/** Of conditions: a file that sdq writes makes bool of one that is a parameter. */
const combination = (op: string, combine: TwoInputs): OperatorOf<2> => ({
  ...condition(op, combine),
  toOnnx: ({attributes}) => ({op, attributes, constants: [], conditions: [0, 1]}),
});

/** The second input where the first is 1, else the third. */
const where: OperatorOf<3> = {
  op: 'Where',
  inputs: [3, 3],
  attributes: [],
  anyBatch: true,
  infer(node, inputs) {
    if (inputs.every(({parameter}) => parameter))
      throw nodeError(node, 'all inputs are parameters; one must be computed.');
    const [, yes, no] = inputs;
    return {...valueOf(node, broadcastSizes(node, inputs)), signed: yes.signed || no.signed};
  },
  cost: (_node, [, ...choices]) => ({
    macs: 0,
    parameters: choices.filter(({parameter}) => parameter).reduce((sum, {shape}) => sum + elements(shape), 0),
  }),
  layout: eitherLayout,
  axes: broadcastAxes,
  run(tf, _node, inputs, {fused, inputs: operands, layout}) {
    const [chosen, yes, no] = aligned(tf, inputs, operands, layout) as typeof inputs;
    return fused.select(chosen, yes, no);
  },
  toOnnx: ({attributes}) => ({op: 'Where', attributes, constants: [], conditions: [0]}),
};

export const conditions: readonly Operator[] = [
  comparison('Equal', (tf, a, b) => tf.equal(a, b)),
  comparison('Greater', (tf, a, b) => tf.greater(a, b)),
  comparison('GreaterOrEqual', (tf, a, b) => tf.greaterEqual(a, b)),
  comparison('Less', (tf, a, b) => tf.less(a, b)),
  comparison('LessOrEqual', (tf, a, b) => tf.lessEqual(a, b)),
  combination('And', (tf, a, b) => tf.minimum(a, b)),
  combination('Or', (tf, a, b) => tf.maximum(a, b)),
  combination('Xor', (tf, a, b) => tf.abs(tf.sub(a, b))),
  unary('Not', (tf, a) => withoutGradient(tf, () => tf.sub(1, a)), {signed: false}),
  where,
];

/** Operators whose inputs are conditions: those at these indices. */
export const conditionInputs: ReadonlyMap<string, readonly number[]> = new Map([
  ['And', [0, 1]],
  ['Or', [0, 1]],
  ['Xor', [0, 1]],
  ['Equal', [0, 1]],
  ['Not', [0]],
  ['Where', [0]],
]);

/** Operators whose output is a condition, bool in files. */
export const isCondition = (op: string): boolean => op !== 'Where' && conditions.some((each) => each.op === op);
