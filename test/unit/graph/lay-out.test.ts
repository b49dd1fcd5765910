import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder, type GraphBuilder} from '../../../src/graph/builder.ts';
import {initialWeights} from '../../../src/graph/initialize.ts';
import {layOut} from '../../../src/graph/lay-out.ts';
import {createNetwork} from '../../../src/graph/network.ts';
import {inferShapes} from '../../../src/graph/shape.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose, randomTensor} from '../../helpers/gradient-check.ts';

useCpuBackend();

type Build = (builder: GraphBuilder) => string;

/** The nodes that the executor runs: copies into another layout as `value → layout`. */
function nodesOf(shape: readonly number[], build: Build): readonly string[] {
  const builder = graphBuilder('test', shape);
  const graph = builder.build(build(builder));
  return layOut(graph, inferShapes(graph)).nodes.map(({name, op}) => (op === 'Layout' ? name.replace('@', ' → ') : op));
}

/** @param x [N, height, width, channels] */
function outputOf(shape: readonly number[], build: Build, x: tf.Tensor): tf.Tensor {
  const builder = graphBuilder('test', shape);
  const graph = builder.build(build(builder));
  return createNetwork(graph, initialWeights(graph, 1)).forward(x, {training: false});
}

const channelsToEnd: Build = (b) => b.node('Transpose', 'to-end', [b.input], {perm: [0, 2, 3, 1]});

describe('layOut', () => {
  test('a transposition that says what the memory holds anyway moves nothing', () => {
    const block: Build = (b) => {
      const rows = b.node('Relu', 'relu', [channelsToEnd(b)]);
      const back = b.node('Transpose', 'back', [rows], {perm: [0, 3, 1, 2]});
      return b.node('Flatten', 'flat', [b.node('GlobalAveragePool', 'pool', [back])]);
    };
    expect(nodesOf([3, 5, 4], block)).toEqual(['Transpose', 'Relu', 'Transpose', 'GlobalAveragePool', 'Flatten']);
    const x = randomTensor([2, 5, 4, 3], 1);
    expectClose(outputOf([3, 5, 4], block, x), tf.mean(tf.relu(x), [1, 2]).dataSync());
  });

  test('tokens of an image, channels first or last, need no copy', () => {
    const tokens: Build = (b) => {
      const columns = b.node('Reshape', 'columns', [b.input], {shape: [0, 3, 20]});
      return b.node('Transpose', 'tokens', [columns], {perm: [0, 2, 1]});
    };
    expect(nodesOf([3, 5, 4], tokens)).toEqual(['Reshape', 'Transpose']);
    const x = randomTensor([2, 5, 4, 3], 2);
    expectClose(outputOf([3, 5, 4], tokens, x), x.dataSync());
  });

  test('a row of features is read in the order of ONNX', () => {
    const flat: Build = (b) => b.node('Flatten', 'flat', [b.input]);
    expect(nodesOf([3, 5, 4], flat)).toEqual(['input → plain', 'Flatten']);
    const x = randomTensor([2, 5, 4, 3], 3);
    expectClose(outputOf([3, 5, 4], flat, x), tf.transpose(x, [0, 3, 1, 2]).dataSync());
  });

  test('three axes that are heads, tokens and width are no image', () => {
    const heads: Build = (b) => {
      const split = b.node('Reshape', 'split', [b.input], {shape: [0, 7, 2, 3]});
      return b.node('Transpose', 'heads', [split], {perm: [0, 2, 1, 3]});
    };
    expect(nodesOf([42], heads)).toEqual(['Reshape', 'Transpose']);
    const x = randomTensor([2, 42], 4);
    expectClose(outputOf([42], heads, x), tf.transpose(tf.reshape(x, [2, 7, 2, 3]), [0, 2, 1, 3]).dataSync());
  });

  test('channels in two groups, exchanged as ShuffleNet does', () => {
    const shuffle: Build = (b) => {
      const groups = b.node('Reshape', 'groups', [b.input], {shape: [0, 2, 3, 5, 4]});
      const exchanged = b.node('Transpose', 'exchanged', [groups], {perm: [0, 2, 1, 3, 4]});
      const whole = b.node('Reshape', 'whole', [exchanged], {shape: [0, 6, 5, 4]});
      return b.node('Flatten', 'flat', [b.node('GlobalAveragePool', 'pool', [whole])]);
    };
    const x = randomTensor([2, 5, 4, 6], 5);
    const means = tf.mean(x, [1, 2]);
    expectClose(outputOf([6, 5, 4], shuffle, x), tf.gather(means, [0, 3, 1, 4, 2, 5], 1).dataSync());
  });

  test('a value that is read in two layouts is copied once', () => {
    const twice: Build = (b) => {
      const row = b.node('Flatten', 'row', [b.input]);
      const again = b.node('Flatten', 'again', [b.input]);
      return b.node('Add', 'sum', [row, again]);
    };
    expect(nodesOf([3, 5, 4], twice)).toEqual(['input → plain', 'Flatten', 'Flatten', 'Add']);
  });

  test('a permutation that lacks an axis is refused, and an output with the batch elsewhere', () => {
    const permuted = (perm: readonly number[]) => () =>
      nodesOf([3, 5, 4], (b) => b.node('Transpose', 'swap', [b.input], {perm}));
    expect(permuted([1, 0, 2, 3])).toThrow('its output "swap" is [3, N, 5, 4]; the batch must come first.');
    expect(permuted([0, 1, 1, 3])).toThrow('attribute "perm" is [0, 1, 1, 3]; it takes every axis from 0 to 3 once.');
  });
});
