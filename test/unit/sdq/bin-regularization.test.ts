import {expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {dorefa} from '../../../src/plugins/quantizers/dorefa.ts';
import {narrowPerTensor} from '../../../src/plugins/quantizers/narrow.ts';
import {symmetric} from '../../../src/plugins/quantizers/symmetric.ts';
import {binRegularization, binWeight} from '../../../src/sdq/bin-regularization.ts';
import {binRegularizer} from '../../../src/tensor/bin-regularizer.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose, expectGradients, randomTensor} from '../../helpers/gradient-check.ts';

useCpuBackend();

test('by hand: one bin of two weights, one of one, an empty one', () => {
  // Step 1, three levels -1, 0, 1: 0.2 and −0.4 lie in bin 0 (mean −0.1, variance 0.18), 1.3 in bin 1 alone.
  const w = tf.tensor2d([0.2, -0.4, 1.3], [3, 1]);
  const loss = binRegularization([{w, channels: 1, bits: 2, scale: tf.scalar(1)}], narrowPerTensor);
  const meanSquare = (0.04 + 0.16 + 1.69) / 3;
  expectClose(loss, [((0.04 + 0.16 + 0.09) / 3 + (2 / 3) * 0.18) / meanSquare], {relative: 1e-6});
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

test('the gradient reaches the weights of every layer: each its own bin regularizer over its held mean square', () => {
  const [a, b] = [randomTensor([3, 3, 3, 1], 1), randomTensor([7, 5], 2)];
  const [stepA, stepB] = [tf.fill([3], 0.5), tf.scalar(0.25)];
  const [gradientA, gradientB] = tf.grads((a: tf.Tensor, b: tf.Tensor) =>
    binRegularization(
      [
        {w: a, channels: 3, bits: 3, scale: stepA},
        {w: b, channels: 5, bits: 2, scale: stepB},
      ],
      symmetric,
    ),
  )([a, b]);
  const alone = (w: tf.Tensor, step: tf.Tensor, bits: number): tf.Tensor =>
    tf.div(tf.grad((w) => binRegularizer(w, step, symmetric.grid(bits)))(w), tf.mean(tf.square(w)));
  expectClose(gradientA!, alone(tf.reshape(a, [9, 3]), stepA, 3).dataSync(), {relative: 1e-5});
  expectClose(gradientB!, alone(b, stepB, 2).dataSync(), {relative: 1e-5});
  expect(tf.max(tf.abs(gradientA!)).dataSync()[0]).toBeGreaterThan(1e-3);
});

test('dorefa: the gradient passes through its space to the weights', () => {
  const w = tf.tensor2d([0.9, -0.31, 0.12, 1.7, -0.02, -1.1, 0.35, 0.6], [4, 2]);
  expectGradients((w) => binRegularization([{w, channels: 2, bits: 3}], dorefa), [w], {
    epsilon: 1e-3,
    absolute: 2e-2,
    relative: 2e-2,
  });
});

test('its curvature lets plain gradient descent go on: few weights a bin, 8 bits, and a channel of tiny weights', () => {
  const weights = randomTensor([30, 4], 8);
  const tiny = tf.tensor1d([1, 1, 1, 1e-6]);
  const variable = tf.variable(tf.mul(weights, tiny));
  const largest = (): tf.Tensor => tf.max(tf.abs(variable));
  const before = largest().dataSync()[0]!;
  const loss = (): tf.Scalar => binRegularization([{w: variable, channels: 4, bits: 8}], symmetric) as tf.Scalar;
  const first = loss().dataSync()[0]!;
  for (let step = 0; step < 50; step++) {
    const {grads} = tf.variableGrads(loss, [variable]);
    variable.assign(tf.sub(variable, tf.mul(grads[variable.name]!, 0.1)));
  }
  expect(loss().dataSync()[0]).toBeLessThan(first);
  expect(largest().dataSync()[0]).toBeLessThan(1.01 * before);
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
