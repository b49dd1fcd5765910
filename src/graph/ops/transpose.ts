/** Another order of axes. Where it only says what the layout of the input is already, nothing is moved. */
import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {memoryOrder, type Layout} from '../layout.ts';
import {expectValue, integers, noCost, nodeError, show, type NodeLayout, type OperatorOf} from './operator.ts';
import {sizesOf, valueOf} from './sizes.ts';

/** Axis j of the output is axis `perm[j]` of the input. */
function permutation(node: Node, rank: number): readonly number[] {
  const reversed = Array.from({length: rank}, (_, axis) => rank - 1 - axis);
  const perm = integers(node, 'perm', reversed, 0, rank);
  if (new Set(perm).size !== rank || Math.max(...perm) !== rank - 1) {
    throw nodeError(node, `attribute "perm" is ${show(perm)}; it takes every axis from 0 to ${rank - 1} once.`);
  }
  return perm;
}

/** The axes of the output in the order in which the input's memory holds them. */
function heldAxes(perm: readonly number[], layout: Layout): readonly number[] {
  return memoryOrder(perm.length, layout).map((axis) => perm.indexOf(axis));
}

function layoutOf(perm: readonly number[], layout: Layout): NodeLayout {
  const held = heldAxes(perm, layout).join();
  const channelsStayLast = memoryOrder(perm.length, 'channels-last').join() === held;
  return {inputs: layout, output: channelsStayLast ? 'channels-last' : 'plain'};
}

export const transpose: OperatorOf<1> = {
  op: 'Transpose',
  inputs: [1, 1],
  attributes: ['perm'],
  anyBatch: true,

  infer(node, [x]) {
    expectValue(node, x);
    const sizes = sizesOf(x);
    const perm = permutation(node, sizes.length);
    return {
      ...valueOf(
        node,
        perm.map((axis) => item(sizes, axis)),
      ),
      signed: x.signed,
    };
  },

  cost: noCost,
  layout: (node, [x], [layout]) => layoutOf(permutation(node, x.shape.length + 1), layout),

  run(tf, node, [x], {layout}) {
    const perm = permutation(node, x.rank);
    const held = heldAxes(perm, layout);
    const wanted = memoryOrder(perm.length, layoutOf(perm, layout).output);
    const axes = wanted.map((axis) => held.indexOf(axis));
    return axes.every((axis, index) => axis === index) ? tf.clone(x) : tf.transpose(x, axes);
  },
};
