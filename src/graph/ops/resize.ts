/**
 * An image at another size: nearest neighbour, linear or cubic interpolation, along each axis by itself. Every output
 * position is a weighted sum of input positions; the weights are those of ONNX's definition of Resize.
 */
import type * as tfjs from '@tensorflow/tfjs-core';

import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {floatTensor, integerTensor} from '../onnx/tensors.ts';
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

const coordinateModes = [
  'half_pixel',
  'half_pixel_symmetric',
  'pytorch_half_pixel',
  'align_corners',
  'asymmetric',
] as const;
const nearestModes = ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'] as const;

interface Options {
  readonly mode: 'nearest' | 'linear' | 'cubic';
  readonly coordinates: (typeof coordinateModes)[number];
  readonly nearest: (typeof nearestModes)[number];
  readonly cubic: number;
  readonly excludeOutside: boolean;
}

function optionsOf(node: Node): Options {
  return {
    mode: oneOf(node, 'mode', 'nearest', ['nearest', 'linear', 'cubic']),
    coordinates: oneOf(node, 'coordinate_transformation_mode', 'half_pixel', coordinateModes),
    nearest: oneOf(node, 'nearest_mode', 'round_prefer_floor', nearestModes),
    cubic: float(node, 'cubic_coeff_a', -0.75),
    excludeOutside: oneOf(node, 'exclude_outside', 0, [0, 1]) === 1,
  };
}

/** One axis behind batch and channels: its size in the input and in the output, and the scale between them. */
interface Sizing {
  readonly from: number;
  readonly to: number;
  readonly scale: number;
}

function sizingsOf(node: Node, {shape}: Operand): readonly Sizing[] {
  const [, ...spatial] = shape;
  const {scales, sizes} = node.attributes as {scales?: readonly number[]; sizes?: readonly number[]};
  const given = sizes ?? scales;
  if (given?.length !== spatial.length || !given.every((value) => value > 0)) {
    const text = given === undefined ? 'missing' : given.join(', ');
    throw nodeError(node, `its sizes or scales are ${text}; it takes ${spatial.length} numbers above 0.`);
  }
  return spatial.map((from, axis) => {
    const value = item(given, axis);
    return sizes === undefined
      ? {from, to: Math.floor(from * value), scale: value}
      : {from, to: value, scale: value / from};
  });
}

/** Where in the input an output position lies. */
function positionOf({coordinates}: Options, {from, to, scale}: Sizing, i: number): number {
  switch (coordinates) {
    case 'half_pixel':
      return (i + 0.5) / scale - 0.5;
    case 'half_pixel_symmetric': {
      const adjustment = to / (scale * from);
      return (from / 2) * (1 - adjustment) + (i + 0.5) / scale - 0.5;
    }
    case 'pytorch_half_pixel':
      return to > 1 ? (i + 0.5) / scale - 0.5 : 0;
    case 'align_corners':
      return to > 1 ? (i * (from - 1)) / (to - 1) : 0;
    case 'asymmetric':
      return i / scale;
  }
}

function nearestOf({nearest}: Options, position: number): number {
  const below = Math.floor(position);
  switch (nearest) {
    case 'floor':
      return below;
    case 'ceil':
      return Math.ceil(position);
    case 'round_prefer_floor':
      return position - below > 0.5 ? below + 1 : below;
    case 'round_prefer_ceil':
      return position - below >= 0.5 ? below + 1 : below;
  }
}

/** Keys' kernel (1981) at a distance. */
function cubicWeight(distance: number, a: number): number {
  const d = Math.abs(distance);
  if (d <= 1) return (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1;
  return d < 2 ? a * d ** 3 - 5 * a * d ** 2 + 8 * a * d - 4 * a : 0;
}

/** [from, to]: the weight of each input position in each output position. */
function weightsOf(options: Options, sizing: Sizing): Float32Array {
  const {from, to} = sizing;
  const weights = new Float32Array(from * to);
  for (let i = 0; i < to; i++) {
    const position = positionOf(options, sizing, i);
    const below = Math.floor(position);
    let taps: (readonly [number, number])[];
    if (options.mode === 'nearest') taps = [[nearestOf(options, position), 1]];
    else if (options.mode === 'linear') {
      taps = [
        [below, 1 - (position - below)],
        [below + 1, position - below],
      ];
    } else taps = [-1, 0, 1, 2].map((step) => [below + step, cubicWeight(below + step - position, options.cubic)]);
    if (options.excludeOutside) {
      taps = taps.filter(([source]) => source >= 0 && source < from);
      const sum = taps.reduce((total, [, weight]) => total + weight, 0);
      taps = taps.map(([source, weight]) => [source, weight / sum]);
    }
    for (const [source, weight] of taps) {
      const index = Math.min(Math.max(source, 0), from - 1) * to + i;
      weights[index] = item(weights, index) + weight;
    }
  }
  return weights;
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
      if (changes) y = alongAxis(tf, y, index + 1, tf.tensor2d(weightsOf(options, sizing), [sizing.from, sizing.to]));
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
      antialias: _antialias,
      axes,
      extrapolation_value: _value,
      keep_aspect_ratio_policy: _policy,
      ...attributes
    } = node.attributes;
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
