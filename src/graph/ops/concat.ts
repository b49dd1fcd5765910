/** Inputs side by side along one axis. A parameter with 1 in the place of the batch is put beside every image. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {memoryAxis} from '../layout.ts';
import {broadcastAxes} from './broadcast.ts';
import {elements, integer, nodeError, type AtLeast, type Operand, type OperatorOf} from './operator.ts';
import {axisIn, showSizes, sizesOf, valueOf, type Sizes} from './sizes.ts';

function axisOf(node: Node, sizes: Sizes): number {
  const axis = axisIn(node, integer(node, 'axis', undefined, -sizes.length), sizes.length);
  if (item(sizes, axis) < 0) {
    const last = sizes.length - 1;
    throw nodeError(node, `attribute "axis" is ${axis}; it takes 1 … ${last} or the same counted from the end.`);
  }
  return axis;
}

/** The sizes of the first input that is no parameter. */
const valueSizes = (inputs: AtLeast<1, Operand>): Sizes =>
  sizesOf(inputs.find(({parameter}) => !parameter) ?? inputs[0]);

export const concat: OperatorOf<1> = {
  op: 'Concat',
  inputs: [1, Infinity],
  attributes: ['axis'],
  anyBatch: true,

  infer(node, inputs) {
    if (inputs.every(({parameter}) => parameter)) {
      throw nodeError(node, `input "${inputs[0].name}" is a parameter; one must be a computed value.`);
    }
    const first = valueSizes(inputs);
    const axis = axisOf(node, first);
    let length = 0;
    for (const input of inputs) {
      const sizes = sizesOf(input);
      const fits = (size: number, i: number): boolean =>
        i === axis || size === first[i] || (input.parameter && size === 1 && item(first, i) < 0);
      if (sizes.length !== first.length || !sizes.every(fits)) {
        throw nodeError(
          node,
          `input "${input.name}" has the shape ${showSizes(sizes)}; beside axis ${axis} it must be that of the others, ${showSizes(first)}.`,
        );
      }
      length += item(sizes, axis);
    }
    return {...valueOf(node, first.with(axis, length)), signed: inputs.some((input) => input.signed)};
  },

  cost: (_node, inputs) => ({
    macs: 0,
    parameters: inputs.reduce((sum, {parameter, shape}) => sum + (parameter ? elements(shape) : 0), 0),
  }),

  axes: broadcastAxes,

  run(tf, node, inputs, {inputs: operands, layout}) {
    const {rank} = inputs[0];
    const sizes = valueSizes(operands);
    const axis = memoryAxis(axisOf(node, sizes), rank, layout);
    const batchAxis = sizes.findIndex((size) => size < 0);
    const {shape} = item(
      inputs,
      operands.findIndex(({parameter}) => !parameter),
    );
    const batch = item(shape, batchAxis);
    const forAll = (x: tfjs.Tensor, index: number): tfjs.Tensor =>
      item(operands, index).parameter ? tf.broadcastTo(x, x.shape.with(batchAxis, batch)) : x;
    return tf.concat(inputs.map(forAll), axis);
  },
};
