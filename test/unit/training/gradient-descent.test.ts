import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {descend} from '../../../src/training/gradient-descent.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';

useCpuBackend();

describe('descend', () => {
  test('gives the loss, what is reported beside it, and the gradients by the given names, those of followed scalars as numbers', async () => {
    const a = {name: 'a', variable: tf.variable(tf.tensor1d([1, 2]))};
    const b = {name: 'b', variable: tf.variable(tf.scalar(3))};
    const unused = {name: 'unused', variable: tf.variable(tf.scalar(0))};
    const before = tf.memory().numTensors;
    const gradients: Record<string, number[]> = {};
    const {metrics, followed} = await descend(
      [a, unused],
      () => {
        const sum = tf.sum(tf.mul(a.variable, b.variable));
        return {loss: tf.square(sum), reported: {sum}};
      },
      (received) => {
        for (const [name, gradient] of received) gradients[name] = [...gradient.dataSync()];
      },
      [unused.variable, b.variable],
    );
    expect(metrics).toEqual({loss: 81, sum: 9});
    expect(gradients).toEqual({a: [54, 54]});
    expect(followed).toEqual([0, 54]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('a loss that is not finite applies nothing', async () => {
    const a = {name: 'a', variable: tf.variable(tf.scalar(-1))};
    let applied = false;
    const before = tf.memory().numTensors;
    const {metrics} = await descend(
      [a],
      () => ({loss: tf.log(a.variable)}),
      () => (applied = true),
    );
    expect(metrics.loss).toBeNaN();
    expect(applied).toBe(false);
    expect(tf.memory().numTensors).toBe(before);
  });
});
