/** Mean over a window; zeros of the padding count where `count_include_pad` is 1 (PyTorch's default, not ONNX's). */
import type * as tfjs from '@tensorflow/tfjs-core';

import {poolingWindow} from './max-pool.ts';
import {channelsLast, image, noCost, oneOf, type OperatorOf} from './operator.ts';
import {pooling} from './rows.ts';
import {explicitPadding} from './window.ts';

const ofImages: OperatorOf<1> = {
  op: 'AveragePool',
  inputs: [1, 1],
  attributes: ['kernel_shape', 'strides', 'pads', 'dilations', 'ceil_mode', 'count_include_pad'],

  infer(node, [x]) {
    const [channels, height, width] = image(node, x);
    oneOf(node, 'count_include_pad', 0, [0, 1]);
    return {shape: [channels, ...poolingWindow(node, height, width).output], signed: x.signed};
  },

  cost: noCost,

  layout: channelsLast,

  run(tf, node, inputs) {
    const x = inputs[0] as tfjs.Tensor4D;
    const {kernel, strides, pads, overhang} = poolingWindow(node, x.shape[1], x.shape[2]);
    const {top, left, bottom, right} = pads;
    const [down, across] = overhang;
    // tfjs divides by the elements inside the tensor: padding that counts has to be part of it.
    if (oneOf(node, 'count_include_pad', 0, [0, 1]) === 1 && top + left + bottom + right > 0) {
      const padded = tf.pad(x, [
        [0, 0],
        [top, bottom],
        [left, right],
        [0, 0],
      ]);
      return tf.avgPool(padded, [...kernel], [...strides], explicitPadding(0, 0, down, across));
    }
    return tf.avgPool(x, [...kernel], [...strides], explicitPadding(top, left, bottom + down, right + across));
  },

  toOnnx({attributes}) {
    // They are 1, 1, and no attribute before opset 19.
    const {dilations, ...others} = attributes;
    return {op: 'AveragePool', attributes: others, constants: []};
  },
};

export const averagePool = pooling(ofImages);
