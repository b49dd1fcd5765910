/** Maximum over a window of images or rows; padding never wins. */
import type * as tfjs from '@tensorflow/tfjs-core';

import type {Node} from '../graph.ts';
import {channelsLast, image, integers, noCost, nodeError, oneOf, type OperatorOf} from './operator.ts';
import {pooling} from './rows.ts';
import {explicitPadding, slidingWindow, type Window} from './window.ts';

/** The window of a pooling node. @throws SdqError where a window would see nothing but padding */
export function poolingWindow(node: Node, height: number, width: number): Window {
  const kernel = integers(node, 'kernel_shape', undefined, 1, 2) as readonly [number, number];
  const window = slidingWindow(node, [height, width], kernel);
  const {top, left, bottom, right} = window.pads;
  if (Math.max(top, bottom) >= kernel[0] || Math.max(left, right) >= kernel[1]) {
    throw nodeError(
      node,
      `attribute "pads" is ${[top, left, bottom, right].join(', ')}; each must be below the kernel ${kernel.join(' × ')}.`,
    );
  }
  if (window.dilations.some((step) => step !== 1)) {
    throw nodeError(node, `attribute "dilations" is ${window.dilations.join(', ')}; pooling takes 1, 1.`);
  }
  return window;
}

const ofImages: OperatorOf<1> = {
  op: 'MaxPool',
  inputs: [1, 1],
  attributes: ['kernel_shape', 'strides', 'pads', 'dilations', 'ceil_mode', 'storage_order'],

  infer(node, [x]) {
    const [channels, height, width] = image(node, x);
    oneOf(node, 'storage_order', 0, [0]);
    return {shape: [channels, ...poolingWindow(node, height, width).output], signed: x.signed};
  },

  cost: noCost,

  layout: channelsLast,

  run(tf, node, inputs) {
    const x = inputs[0] as tfjs.Tensor4D;
    const {kernel, strides, pads, overhang} = poolingWindow(node, x.shape[1], x.shape[2]);
    const pad = explicitPadding(pads.top, pads.left, pads.bottom + overhang[0], pads.right + overhang[1]);
    return tf.maxPool(x, [...kernel], [...strides], pad);
  },
};

export const maxPool = pooling(ofImages);
