/**
 * An image at another size: nearest neighbour, linear or cubic interpolation, along each axis by itself. Every output
 * position is a weighted sum of input positions; the weights are those of ONNX's definition of Resize.
 */
import type * as tfjs from '@tensorflow/tfjs-core';

import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {floatTensor, integerTensor} from '../onnx/tensors.ts';
import {
  coordinateModes,
  interpolationWeights,
  nearestModes,
  resizeModes,
  sizingOf,
  type Interpolation,
  type Sizing,
} from './interpolation.ts';
import {
  channelsLast,
  constantInput,
  expectValue,
  float,
  noCost,
  nodeError,
  oneOf,
  show,
  type Operand,
  type OperatorOf,
  type Tf,
} from './operator.ts';

function optionsOf(node: Node): Interpolation {
  return {
    mode: oneOf(node, 'mode', 'nearest', resizeModes),
    coordinates: oneOf(node, 'coordinate_transformation_mode', 'half_pixel', coordinateModes),
    nearest: oneOf(node, 'nearest_mode', 'round_prefer_floor', nearestModes),
    cubic: float(node, 'cubic_coeff_a', -0.75),
    excludeOutside: oneOf(node, 'exclude_outside', 0, [0, 1]) === 1,
    antialias: oneOf(node, 'antialias', 0, [0, 1]) === 1,
  };
}

/** Of the axes behind batch and channels. */
function sizingsOf(node: Node, {shape}: Operand): readonly Sizing[] {
  const [, ...spatial] = shape;
  const {scales, sizes} = node.attributes as {scales?: readonly number[]; sizes?: readonly number[]};
  const given = sizes ?? scales;
  if (given?.length !== spatial.length || !given.every((value) => value > 0)) {
    const text = given === undefined ? 'missing' : given.join(', ');
    throw nodeError(node, `its sizes or scales are ${text}; it takes ${spatial.length} numbers above 0.`);
  }
  const kind = sizes === undefined ? 'scales' : 'sizes';
  return spatial.map((from, axis) => sizingOf(from, item(given, axis), kind));
}

/** Replaces one axis of x by sums over it. @param weights [from, to] */
function alongAxis(tf: Tf, x: tfjs.Tensor, axis: number, weights: tfjs.Tensor2D): tfjs.Tensor {
  const shape = x.shape.with(axis, weights.shape[1]);
  const after = x.shape.slice(axis + 1).reduce((product, size) => product * size, 1);
  const columns = tf.reshape(x, [-1, weights.shape[0], after]);
  const [batches] = columns.shape as [number];
  const transposed = tf.broadcastTo(tf.reshape(tf.transpose(weights), [1, weights.shape[1], weights.shape[0]]), [
    batches,
    weights.shape[1],
    weights.shape[0],
  ]);
  return tf.reshape(tf.matMul(transposed, columns), shape);
}

export const resize: OperatorOf<1> = {
  op: 'Resize',
  inputs: [1, 1],
  attributes: [
    'antialias',
    'coordinate_transformation_mode',
    'cubic_coeff_a',
    'exclude_outside',
    'mode',
    'nearest_mode',
    'scales',
    'sizes',
  ],

  infer(node, [x]) {
    expectValue(node, x);
    const options = optionsOf(node);
    const shape = [item(x.shape, 0), ...sizingsOf(node, x).map(({to}) => to)];
    return {shape, signed: x.signed || options.mode === 'cubic'};
  },

  cost: noCost,
  layout: channelsLast,

  run(tf, node, [x], {inputs: [operand]}) {
    const options = optionsOf(node);
    let y = tf.clone(x);
    sizingsOf(node, operand).forEach((sizing, index) => {
      const changes = sizing.from !== sizing.to || sizing.scale !== 1;
      if (changes)
        y = alongAxis(tf, y, index + 1, tf.tensor2d(interpolationWeights(options, sizing), [sizing.from, sizing.to]));
    });
    return y;
  },

  since: () => 20,

  toOnnx(node) {
    const {scales, sizes, ...attributes} = node.attributes as typeof node.attributes & {
      scales?: readonly number[];
      sizes?: readonly number[];
    };
    const floats = (name: string, values: readonly number[]) =>
      floatTensor(`${node.name}.${name}`, {shape: [values.length], data: Float32Array.from(values)});
    const axes = (sizes ?? scales ?? []).map((_, axis) => axis + 2);
    const constants =
      sizes === undefined
        ? [floats('roi', []), floats('scales', scales ?? [])]
        : [
            floats('roi', []),
            floats('scales', []),
            integerTensor(`${node.name}.sizes`, 'int64', [sizes.length], sizes),
          ];
    return {op: 'Resize', attributes: {...attributes, axes}, constants};
  },

  fromOnnx(node, constant) {
    const {
      axes,
      extrapolation_value: _value,
      keep_aspect_ratio_policy: policy = 'stretch',
      ...attributes
    } = node.attributes;
    if (policy !== 'stretch') {
      throw nodeError(node, `attribute "keep_aspect_ratio_policy" is "${String(policy)}"; it takes "stretch".`);
    }
    const lists = {scales: constantInput(node, 2, constant), sizes: constantInput(node, 3, constant)};
    const given = Object.entries(lists).flatMap(([key, list = []]) => (list.length > 0 ? [[key, list] as const] : []));
    const [name, values] = given[0] ?? ['scales', []];
    const spatial = axes === undefined ? values.slice(2) : values;
    if (axes !== undefined && (axes as readonly number[]).some((axis, index) => axis !== index + 2)) {
      throw nodeError(
        node,
        `attribute "axes" is ${show(axes as readonly number[])}; it takes all axes behind the channels.`,
      );
    }
    return {...node, inputs: node.inputs.slice(0, 1), attributes: {...attributes, [name]: spatial}};
  },
};
