/** The gradient of a convolution by its input as a layer: it spreads each pixel. Its weights stay in full precision. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {item} from '../../lookup.ts';
import {takesDilations} from '../../tensor/dilations.ts';
import type {Node} from '../graph.ts';
import {stuffed} from './dilation.ts';
import {
  channelsLast,
  elements,
  expectParameter,
  image,
  integer,
  integers,
  nodeError,
  show,
  type Operand,
  type OperatorOf,
} from './operator.ts';

type Pair = readonly [number, number];

interface Geometry {
  readonly strides: Pair;
  readonly dilations: Pair;
  /** Rows and columns that are cut off: top, left, bottom, right. */
  readonly pads: readonly [number, number, number, number];
  readonly output: Pair;
}

function geometryOf(node: Node, size: Pair, kernel: Pair): Geometry {
  const strides = integers(node, 'strides', [1, 1], 1, 2) as Pair;
  const dilations = integers(node, 'dilations', [1, 1], 1, 2) as Pair;
  const added = integers(node, 'output_padding', [0, 0], 0, 2) as Pair;
  const pads = integers(node, 'pads', [0, 0, 0, 0], 0, 4) as Geometry['pads'];
  const output = ([0, 1] as const).map((axis) => {
    const extent = dilations[axis] * (kernel[axis] - 1) + 1;
    const length = strides[axis] * (size[axis] - 1) + added[axis] + extent - pads[axis] - item(pads, axis + 2);
    if (length < 1) throw nodeError(node, `attribute "pads" is ${show(pads)}; nothing of the output is left.`);
    return length;
  });
  return {strides, dilations, pads, output: output as unknown as Pair};
}

/** [in, out / group, height, width] in the file's order. */
function weightShape(node: Node, w: Operand, channels: number): readonly [number, number, number, number] {
  if (!w.parameter || w.shape.length !== 4 || w.shape[0] !== channels) {
    throw nodeError(
      node,
      `input "${w.name}" has the shape ${show(w.shape)}; it must be a parameter [${channels}, out / group, height, width].`,
    );
  }
  return w.shape as readonly [number, number, number, number];
}

export const convTranspose: OperatorOf<2> = {
  op: 'ConvTranspose',
  inputs: [2, 3],
  attributes: ['kernel_shape', 'strides', 'pads', 'dilations', 'group', 'output_padding'],

  infer(node, [x, w, bias]) {
    const [channels, height, width] = image(node, x);
    const [, each, kernelHeight, kernelWidth] = weightShape(node, w, channels);
    const group = integer(node, 'group', 1, 1);
    if (channels % group !== 0) {
      throw nodeError(node, `attribute "group" is ${group}; it must divide the ${channels} input channels.`);
    }
    if (bias !== undefined) expectParameter(node, bias, [each * group]);
    const {output} = geometryOf(node, [height, width], [kernelHeight, kernelWidth]);
    return {shape: [each * group, ...output], signed: true};
  },

  cost: (_node, [x, w, bias]) => ({
    macs: (elements(x.shape) / item(x.shape, 0)) * elements(w.shape),
    parameters: elements(w.shape) + elements(bias?.shape ?? [0]),
  }),

  layout: channelsLast,

  /** [in, out / group, height, width] → [height, width, out / group, in]. */
  axes: (_node, index) => (index === 1 ? [2, 3, 1, 0] : [0]),

  run(tf, node, inputs) {
    const [x, w] = inputs as [tfjs.Tensor4D, tfjs.Tensor4D];
    const bias = inputs[2];
    const {strides, dilations, pads, output} = geometryOf(node, [x.shape[1], x.shape[2]], [w.shape[0], w.shape[1]]);
    const dilated = dilations.some((step) => step > 1);
    const native = dilated && takesDilations(tf);
    const filter = dilated && !native ? stuffed(tf, w, dilations) : w;
    const group = integer(node, 'group', 1, 1);
    const [top, left] = pads;
    const whole = ([0, 1] as const).map((axis) => output[axis] + pads[axis] + item(pads, axis + 2)) as [number, number];
    const filters = tf.split<tfjs.Tensor4D>(filter, group, 3);
    const parts = tf.split<tfjs.Tensor4D>(x, group, 3).map((part, index) => {
      const inputShape: [number, number, number, number] = [x.shape[0], whole[0], whole[1], w.shape[2]];
      const taps = item(filters, index);
      if (!native) return tf.conv2dTranspose(part, taps, inputShape, [...strides], 'valid');
      // tf.conv2dTranspose takes no dilations.
      const attributes = {
        strides,
        dilations,
        inputShape,
        pad: 'valid',
        dataFormat: 'NHWC',
      } as unknown as tfjs.NamedAttrMap;
      return tf.engine().runKernel<tfjs.Tensor4D>(tf.Conv2DBackpropInput, {dy: part, filter: taps}, attributes);
    });
    const y = tf.slice(tf.concat(parts, 3), [0, top, left, 0], [x.shape[0], output[0], output[1], w.shape[2] * group]);
    return bias === undefined ? y : tf.add(y, bias);
  },
};
