/** Normalisation of one image by its own mean and variance: layers (Ba et al., 2016), instances, groups of channels. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {item, last} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {
  channelsLast,
  elements,
  expectParameter,
  expectValue,
  float,
  integer,
  nodeError,
  plain,
  show,
  type AtLeast,
  type Operand,
  type OperatorOf,
  type Tf,
} from './operator.ts';
import {axisIn, sizesOf} from './sizes.ts';

/** (x − mean) / √(variance + epsilon) over these axes. */
function standardized(tf: Tf, x: tfjs.Tensor, axes: number[], epsilon: number): tfjs.Tensor {
  const centred = tf.sub(x, tf.mean(x, axes, true));
  return tf.mul(centred, tf.rsqrt(tf.add(tf.mean(tf.square(centred), axes, true), epsilon)));
}

const parameterCost: OperatorOf<2>['cost'] = (_node, [, ...parameters]) => ({
  macs: 0,
  parameters: parameters.reduce((sum, {shape}) => sum + elements(shape), 0),
});

/** The first axis that is normalised; all behind it are too. */
function firstAxis(node: Node, x: Operand): number {
  const sizes = sizesOf(x);
  const axis = axisIn(node, integer(node, 'axis', -1, -sizes.length), sizes.length);
  if (sizes.slice(axis).some((size) => size < 0)) {
    throw nodeError(node, `attribute "axis" is ${axis}; the axis of the batch cannot be normalised.`);
  }
  return axis;
}

export const layerNormalization: OperatorOf<2> = {
  op: 'LayerNormalization',
  inputs: [2, 3],
  attributes: ['axis', 'epsilon', 'stash_type'],
  anyBatch: true,

  infer(node, [x, ...parameters]) {
    expectValue(node, x);
    float(node, 'epsilon', 1e-5);
    const shape = sizesOf(x).slice(firstAxis(node, x));
    for (const parameter of parameters) expectParameter(node, parameter, shape);
    const {name: _, parameter: __, ...output} = x;
    return {...output, signed: true};
  },

  cost: parameterCost,
  layout: plain,

  run(tf, node, [x, scale, bias], {fused, inputs: [operand]}) {
    const width = elements(x.shape.slice(firstAxis(node, operand)));
    const row = (parameter: tfjs.Tensor): tfjs.Tensor => tf.reshape(parameter, [width]);
    const rows = tf.reshape(x, [-1, width]);
    const beta = row(bias ?? tf.zeros([width]));
    return tf.reshape(fused.layerNorm(rows, row(scale), beta, float(node, 'epsilon', 1e-5)), x.shape);
  },
};

function expectChannels(node: Node, [x, ...parameters]: AtLeast<1, Operand>): void {
  expectValue(node, x);
  if (x.shape.length < 2) {
    throw nodeError(node, `input "${x.name}" has the shape ${show(x.shape)}; it takes [channels, …].`);
  }
  for (const parameter of parameters) expectParameter(node, parameter, [item(x.shape, 0)]);
}

export const instanceNormalization: OperatorOf<3> = {
  op: 'InstanceNormalization',
  inputs: [3, 3],
  attributes: ['epsilon'],

  infer(node, inputs) {
    expectChannels(node, inputs);
    float(node, 'epsilon', 1e-5);
    return {shape: inputs[0].shape, signed: true};
  },

  cost: parameterCost,
  layout: channelsLast,

  run(tf, node, [x, scale, bias]) {
    const axes = x.shape.map((_, axis) => axis).slice(1, -1);
    return tf.add(tf.mul(standardized(tf, x, axes, float(node, 'epsilon', 1e-5)), scale), bias);
  },
};

export const groupNormalization: OperatorOf<3> = {
  op: 'GroupNormalization',
  inputs: [3, 3],
  attributes: ['epsilon', 'num_groups', 'stash_type'],
  // Before, it has a factor a group.
  since: () => 21,

  infer(node, inputs) {
    expectChannels(node, inputs);
    const groups = integer(node, 'num_groups', undefined, 1);
    const channels = item(inputs[0].shape, 0);
    if (channels % groups !== 0) {
      throw nodeError(node, `attribute "num_groups" is ${groups}; it must divide the ${channels} channels.`);
    }
    return {shape: inputs[0].shape, signed: true};
  },

  cost: parameterCost,
  layout: channelsLast,

  run(tf, node, [x, scale, bias]) {
    const groups = integer(node, 'num_groups', undefined, 1);
    const channels = last(x.shape);
    const grouped = tf.reshape(x, [x.shape[0], -1, groups, channels / groups]);
    const normalised = tf.reshape(standardized(tf, grouped, [1, 3], float(node, 'epsilon', 1e-5)), x.shape);
    return tf.add(tf.mul(normalised, scale), bias);
  },
};
