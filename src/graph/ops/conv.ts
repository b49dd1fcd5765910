/** Two-dimensional convolution, grouped and depthwise included. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {item} from '../../lookup.ts';
import {dilatedConvolution} from './dilation.ts';
import {
  channelsLast,
  elements,
  expectParameter,
  image,
  integer,
  integers,
  nodeError,
  show,
  type FusedActivation,
  type OperatorOf,
  type Tf,
} from './operator.ts';
import {asImages, withHeight} from './rows.ts';
import {explicitPadding, slidingWindow} from './window.ts';

const ofImages: OperatorOf<2> = {
  op: 'Conv',
  inputs: [2, 3],
  attributes: ['kernel_shape', 'strides', 'pads', 'dilations', 'group'],

  infer(node, [x, w, bias]) {
    const [channels, height, width] = image(node, x);
    const group = integer(node, 'group', 1, 1);
    if (!w.parameter || w.shape.length !== 4) {
      throw nodeError(
        node,
        `input "${w.name}" has the shape ${show(w.shape)}; it must be a parameter [out, in / group, height, width].`,
      );
    }
    const [outputs, inputs, kernelHeight, kernelWidth] = w.shape as [number, number, number, number];
    if (inputs * group !== channels || outputs % group !== 0) {
      throw nodeError(
        node,
        `the weights ${show(w.shape)} in ${group} groups want ${inputs * group} input channels and whole groups of outputs; ` +
          `input "${x.name}" has ${channels} channels.`,
      );
    }
    const kernel = integers(node, 'kernel_shape', [kernelHeight, kernelWidth], 1, 2);
    if (kernel[0] !== kernelHeight || kernel[1] !== kernelWidth) {
      throw nodeError(node, `attribute "kernel_shape" is ${show(kernel)}; the weights are ${show(w.shape)}.`);
    }
    if (bias !== undefined) expectParameter(node, bias, [outputs]);
    return {
      shape: [outputs, ...slidingWindow(node, [height, width], [kernelHeight, kernelWidth]).output],
      signed: true,
    };
  },

  cost: (_node, [, w, bias], output) => ({
    macs: (elements(output.shape) / item(output.shape, 0)) * elements(w.shape),
    parameters: elements(w.shape) + elements(bias?.shape ?? [0]),
  }),

  layout: channelsLast,

  run(tf, node, inputs, {activation = 'linear'}) {
    const [given, weights] = inputs as [tfjs.Tensor4D, tfjs.Tensor4D];
    const bias = inputs[2];
    const channels = given.shape[3];
    const group = integer(node, 'group', 1, 1);
    const window = slidingWindow(node, [given.shape[1], given.shape[2]], [weights.shape[0], weights.shape[1]]);
    const isDepthwise = group === channels && group > 1;
    const multiplied = isDepthwise && weights.shape[3] !== channels;
    const {x, filter, dilations, pads} = dilatedConvolution(tf, given, weights, window, !multiplied);
    const strides: [number, number] = [...window.strides];
    const pad = explicitPadding(pads.top, pads.left, pads.bottom, pads.right);
    if (dilations.some((step) => step > 1)) {
      const attributes = {strides, pad, dilations, dataFormat: 'NHWC'} as unknown as tfjs.NamedAttrMap;
      // Not tf.conv2d, which takes strides or dilations.
      const convolve = (kernel: string, part: tfjs.Tensor4D, taps: tfjs.Tensor4D): tfjs.Tensor =>
        tf.engine().runKernel(kernel, {x: part, filter: taps}, attributes);
      const y = isDepthwise
        ? convolve(tf.DepthwiseConv2dNative, x, perChannel(tf, x, filter))
        : inGroups(tf, x, filter, group, (part, taps) => convolve(tf.Conv2D, part, taps));
      return activate(tf, bias === undefined ? y : tf.add(y, bias), activation);
    }
    if (group === 1) {
      if (bias === undefined && activation === 'linear') return tf.conv2d(x, filter, strides, pad);
      return tf.fused.conv2d({x, filter, strides, pad, activation, ...(bias === undefined ? {} : {bias})});
    }
    if (isDepthwise) return depthwise(tf, x, filter, strides, pad, bias, activation);
    const whole = inGroups(tf, x, filter, group, (part, taps) => tf.conv2d(part, taps, strides, pad));
    return activate(tf, bias === undefined ? whole : tf.add(whole, bias), activation);
  },
};

/** The convolutions of equal parts of the channels, one after the other. */
function inGroups(
  tf: Tf,
  x: tfjs.Tensor4D,
  filter: tfjs.Tensor4D,
  group: number,
  convolve: (x: tfjs.Tensor4D, filter: tfjs.Tensor4D) => tfjs.Tensor,
): tfjs.Tensor {
  if (group === 1) return convolve(x, filter);
  const filters = tf.split<tfjs.Tensor4D>(filter, group, 3);
  return tf.concat(
    tf.split<tfjs.Tensor4D>(x, group, 3).map((part, index) => convolve(part, item(filters, index))),
    3,
  );
}

/** Over images [channels, height, width], or over rows [channels, length]. */
export const conv: OperatorOf<2> = {
  ...ofImages,

  infer(node, inputs) {
    const [x, w, ...bias] = inputs;
    if (x.shape.length !== 2 || w.shape.length !== 3) return ofImages.infer(node, inputs);
    const {shape, ...output} = ofImages.infer(asImages(node), [withHeight(x), withHeight(w), ...bias]);
    return {...output, shape: [item(shape, 0), item(shape, 2)]};
  },

  /** OIHW → HWIO; a depthwise filter is [height, width, 1, out]: the output channel is always the last axis. */
  axes(_node, index, inputs) {
    if (index !== 1) return [0];
    return item(inputs, 1).shape.length === 3 ? [2, 1, 0] : [2, 3, 1, 0];
  },

  run(tf, node, [x, w, ...bias], options) {
    if (x.rank !== 3) return ofImages.run(tf, node, [x, w, ...bias], options);
    const y = ofImages.run(tf, asImages(node), [tf.expandDims(x, 1), tf.expandDims(w, 0), ...bias], options);
    return tf.squeeze(y, [1]);
  },
};

/** [height, width, 1, channels · multiplier] → [height, width, channels, multiplier]. */
function perChannel(tf: Tf, x: tfjs.Tensor4D, filter: tfjs.Tensor4D): tfjs.Tensor4D {
  const [height, width, , outputs] = filter.shape;
  return tf.reshape(filter, [height, width, x.shape[3], outputs / x.shape[3]]);
}

/** @param filter [height, width, 1, channels · multiplier] */
function depthwise(
  tf: Tf,
  x: tfjs.Tensor4D,
  filter: tfjs.Tensor4D,
  strides: readonly [number, number],
  pad: ReturnType<typeof explicitPadding>,
  bias: tfjs.Tensor | undefined,
  activation: FusedActivation,
): tfjs.Tensor {
  const weights = perChannel(tf, x, filter);
  if (bias === undefined && activation === 'linear') return tf.depthwiseConv2d(x, weights, [...strides], pad);
  return tf.fused.depthwiseConv2d({
    x,
    filter: weights,
    strides: [...strides],
    pad: pad as 'valid',
    activation,
    ...(bias === undefined ? {} : {bias}),
  });
}

/** The activation as an operator of its own. */
function activate(tf: Tf, y: tfjs.Tensor, activation: FusedActivation): tfjs.Tensor {
  if (activation === 'relu') return tf.relu(y);
  return activation === 'relu6' ? tf.relu6(y) : y;
}
