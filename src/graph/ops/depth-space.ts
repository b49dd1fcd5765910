/** Blocks of pixels as channels, and back (Shi et al., 2016, call the latter pixel shuffle). */
import {channelsLast, image, integer, noCost, nodeError, oneOf, type OperatorOf} from './operator.ts';

export const depthToSpace: OperatorOf<1> = {
  op: 'DepthToSpace',
  inputs: [1, 1],
  attributes: ['blocksize', 'mode'],

  infer(node, [x]) {
    const [channels, height, width] = image(node, x);
    const block = integer(node, 'blocksize', undefined, 1);
    oneOf(node, 'mode', 'DCR', ['DCR', 'CRD']);
    if (channels % block ** 2 !== 0) {
      throw nodeError(node, `attribute "blocksize" is ${block}; its square must divide the ${channels} channels.`);
    }
    return {shape: [channels / block ** 2, height * block, width * block], signed: x.signed};
  },

  cost: noCost,
  layout: channelsLast,

  run(tf, node, [x]) {
    const block = integer(node, 'blocksize', undefined, 1);
    const [batch, height, width, channels] = x.shape as [number, number, number, number];
    const depth = channels / block ** 2;
    // DCR: channel = (row, column, depth); CRD: (depth, row, column).
    const depthFirst = node.attributes['mode'] === 'CRD';
    const parts = tf.reshape(x, [
      batch,
      height,
      width,
      ...(depthFirst ? [depth, block, block] : [block, block, depth]),
    ]);
    const order = depthFirst ? [0, 1, 4, 2, 5, 3] : [0, 1, 3, 2, 4, 5];
    return tf.reshape(tf.transpose(parts, order), [batch, height * block, width * block, depth]);
  },
};

export const spaceToDepth: OperatorOf<1> = {
  op: 'SpaceToDepth',
  inputs: [1, 1],
  attributes: ['blocksize'],

  infer(node, [x]) {
    const [channels, height, width] = image(node, x);
    const block = integer(node, 'blocksize', undefined, 1);
    if (height % block !== 0 || width % block !== 0) {
      throw nodeError(node, `attribute "blocksize" is ${block}; it must divide the image, ${height} × ${width}.`);
    }
    return {shape: [channels * block ** 2, height / block, width / block], signed: x.signed};
  },

  cost: noCost,
  layout: channelsLast,

  run(tf, node, [x]) {
    const block = integer(node, 'blocksize', undefined, 1);
    const [batch, height, width, channels] = x.shape as [number, number, number, number];
    const parts = tf.reshape(x, [batch, height / block, block, width / block, block, channels]);
    const shape = [batch, height / block, width / block, channels * block ** 2];
    return tf.reshape(tf.transpose(parts, [0, 1, 3, 2, 4, 5]), shape);
  },
};
