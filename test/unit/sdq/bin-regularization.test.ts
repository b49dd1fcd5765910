import {expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {dorefa} from '../../../src/plugins/quantizers/dorefa.ts';
import {narrowPerTensor} from '../../../src/plugins/quantizers/narrow.ts';
import {symmetric} from '../../../src/plugins/quantizers/symmetric.ts';
import {binRegularization, binWeight} from '../../../src/sdq/bin-regularization.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose, expectGradients, randomTensor} from '../../helpers/gradient-check.ts';

useCpuBackend();

test('by hand: one bin of two weights, one of one, an empty one', () => {
  // Step 1, three levels -1, 0, 1: 0.2 and −0.4 lie in bin 0 (mean −0.1, variance 0.18), 1.3 in bin 1 alone.
  const w = tf.tensor2d([0.2, -0.4, 1.3], [3, 1]);
  const loss = binRegularization([{w, channels: 1, bits: 2, scale: tf.scalar(1)}], narrowPerTensor);
  expectClose(loss, [(0.04 + 0.16 + 0.09) / 3 + 0.18], {relative: 1e-6});
});

test('a bin with one weight or none adds exactly 0', () => {
  const w = tf.tensor2d([-1, 0, 1], [3, 1]);
  const loss = binRegularization([{w, channels: 1, bits: 2, scale: tf.scalar(1)}], narrowPerTensor);
  expect(loss.dataSync()[0]).toBe(0);
  const gradient = tf.grad((w: tf.Tensor) =>
    binRegularization([{w, channels: 1, bits: 2, scale: tf.scalar(1)}], narrowPerTensor),
  )(w);
  expect([...gradient.dataSync()].map(Math.abs)).toEqual([0, 0, 0]);
});

test('the gradient reaches the weights of every layer: finite differences, odd shapes, learned steps', () => {
  // Weights away from the borders between bins, where the regularizer jumps.
  const away = (shape: number[], seed: number, step: number): tf.Tensor => {
    const x = randomTensor(shape, seed);
    return tf.mul(tf.add(tf.round(x), tf.mul(0.35, tf.tanh(randomTensor(shape, seed + 50)))), step);
  };
  const [a, b] = [away([3, 3, 3, 1], 1, 0.5), away([7, 5], 2, 0.25)];
  expectGradients(
    (a, b) =>
      binRegularization(
        [
          {w: a, channels: 3, bits: 3, scale: tf.fill([3], 0.5)},
          {w: b, channels: 5, bits: 2, scale: tf.scalar(0.25)},
        ],
        symmetric,
      ),
    [a, b],
    {epsilon: 1e-3, absolute: 2e-2, relative: 1e-2},
  );
});

test('dorefa: the gradient passes through its space to the weights', () => {
  const w = tf.tensor2d([0.9, -0.31, 0.12, 1.7, -0.02, -1.1, 0.35, 0.6], [4, 2]);
  expectGradients((w) => binRegularization([{w, channels: 2, bits: 3}], dorefa), [w], {
    epsilon: 1e-3,
    absolute: 2e-2,
    relative: 2e-2,
  });
});

test('without a learned step it is that of the statistics, held: the loss does not depend on the size of the weights', () => {
  const w = randomTensor([9, 4], 3);
  const loss = (factor: number): tf.Tensor =>
    binRegularization([{w: tf.mul(w, factor), channels: 4, bits: 3}], symmetric);
  expectClose(loss(100), loss(1).dataSync(), {relative: 1e-3});
  const [scale] = symmetric.statisticScales(w, [3]);
  expectClose(loss(1), binRegularization([{w, channels: 4, bits: 3, scale: scale!}], symmetric).dataSync());
});

test('layers in full precision do not count', () => {
  const w = randomTensor([4, 2], 4);
  expectClose(binRegularization([{w, channels: 2, bits: 32}], symmetric), [0]);
  const one = binRegularization([{w, channels: 2, bits: 2}], symmetric).dataSync();
  expectClose(
    binRegularization(
      [
        {w, channels: 2, bits: 2},
        {w, channels: 2, bits: 32},
      ],
      symmetric,
    ),
    one,
  );
});

test('λ_E rises linearly from 0 over the ramp, then stays', () => {
  expect([0, 1, 2.5, 5, 9].map((epoch) => binWeight(0.5, epoch, 4))).toEqual([0, 0.125, 0.3125, 0.5, 0.5]);
  expect(binWeight(0.1, 0, 0)).toBe(0.1);
});
