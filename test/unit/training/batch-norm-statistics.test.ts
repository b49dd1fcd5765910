import {expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {reestimateStatistics, batchStatistics} from '../../../src/training/batch-norm-statistics.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose} from '../../helpers/gradient-check.ts';
import {tinyNetwork, tinyShape, tinySource} from '../../helpers/tiny-network.ts';

useCpuBackend();

const [channels, height, width] = tinyShape;

test('running ← 0.9 · running + 0.1 · batch, as PyTorch', () => {
  const network = tinyNetwork();
  const {mean, variance} = network.norms.get('bn1')!;
  const statistics = batchStatistics(network);
  const before = tf.memory().numTensors;
  for (let batch = 0; batch < 2; batch++) {
    const [m, v] = [tf.tensor1d([1, 2, 3, 4]), tf.tensor1d([5, 6, 7, 8])];
    statistics.collect('bn1', m, v);
    tf.dispose([m, v]);
    statistics.settle(true);
  }
  expect(tf.memory().numTensors).toBe(before);
  // From 0 and 1: 0.19 · batch, and 0.81 + 0.19 · batch.
  expectClose(mean, [0.19, 0.38, 0.57, 0.76]);
  expectClose(variance, [1.76, 1.95, 2.14, 2.33]);
});

test('the batch of a loss that is not finite leaves the running statistics, and nothing else, behind', () => {
  const network = tinyNetwork();
  const {mean, variance} = network.norms.get('bn1')!;
  const statistics = batchStatistics(network);
  const before = tf.memory().numTensors;
  const images = tf.fill([3, height, width, channels], NaN);
  tf.dispose(network.forward(images, {training: true, onBatchStatistics: statistics.collect}));
  images.dispose();
  statistics.settle(false);
  expect(tf.memory().numTensors).toBe(before);
  expectClose(mean, [0, 0, 0, 0]);
  expectClose(variance, [1, 1, 1, 1]);
});

test('a forward pass in training hands out unbiased variances', () => {
  const network = tinyNetwork();
  const images = tf.randomNormal([3, height, width, channels], 1, 2, 'float32', 5);
  const seen = new Map<string, number[]>();
  network.forward(images, {
    training: true,
    onBatchStatistics: (node, _, variance) => seen.set(node, [...variance.dataSync()]),
  });
  const y = tf.conv2d(images as tf.Tensor4D, network.parameters.get('conv1.weight') as tf.Tensor as tf.Tensor4D, 1, 1);
  const count = 3 * height * width;
  const biased = [...tf.moments(y, [0, 1, 2]).variance.dataSync()];
  expectClose(
    seen.get('bn1')!,
    biased.map((v) => (v * count) / (count - 1)),
    {relative: 1e-4},
  );
});

test('re-estimation gives the mean over the batches, whatever was there before', async () => {
  const source = tinySource([4, 4, 4]);
  const network = tinyNetwork();
  const means: number[][] = [];
  for (let index = 0; index < 3; index++) {
    const {images} = await source.batch(0, index);
    network.forward(tf.tensor4d(images, [4, height, width, channels]), {
      training: true,
      onBatchStatistics: (node, mean) => {
        if (node === 'bn2') means.push([...mean.dataSync()]);
      },
    });
  }
  network.norms.get('bn2')!.mean.assign(tf.fill([5], 1e6));
  const before = tf.memory().numTensors;
  await reestimateStatistics(network, source, 3);
  expect(tf.memory().numTensors).toBe(before);
  expectClose(
    network.norms.get('bn2')!.mean,
    means[0]!.map((_, c) => (means[0]![c]! + means[1]![c]! + means[2]![c]!) / 3),
  );
});

test('re-estimation takes no more batches than an epoch has', async () => {
  const network = tinyNetwork();
  await reestimateStatistics(network, tinySource([4, 4]), 100);
  const all = [...network.norms.get('bn1')!.mean.dataSync()];
  await reestimateStatistics(network, tinySource([4, 4]), 2);
  expect([...network.norms.get('bn1')!.mean.dataSync()]).toEqual(all);
});
