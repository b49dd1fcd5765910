import {expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {createOptimizer, networkParameters, type TrainedParameter} from '../../../src/training/optimizers.ts';
import {createTrainStep} from '../../../src/training/train-step.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {tinyNetwork, tinyShape, tinySource} from '../../helpers/tiny-network.ts';

useCpuBackend();

const [channels, height, width] = tinyShape;
const optimizer = createOptimizer({
  name: 'sgd',
  learningRate: 1,
  momentum: 0,
  nesterov: false,
  weightDecay: 0,
  beta1: 0.9,
  beta2: 0.999,
});

async function images(): Promise<tf.Tensor4D> {
  const batch = await tinySource([4]).batch(0, 0);
  return tf.tensor4d(batch.images, [batch.size, height, width, channels]);
}

test('a learned scale stays above 0, however large its gradient', async () => {
  const network = tinyNetwork();
  const scale = tf.variable(tf.scalar(1));
  const parameter: TrainedParameter = {name: 's', variable: scale, decays: false, rateFactor: 1, isPositive: true};
  const parameters = [...networkParameters(network), parameter];
  const step = createTrainStep({network, optimizer, parameters, seed: 0});
  // The gradient is 10: without a bound the scale would be −9.
  const objective = ([logits]: readonly tf.Tensor[]) => ({
    loss: tf.add<tf.Scalar>(tf.mul(scale, 10), tf.mul(tf.sum(logits!), 0)),
  });
  await step({images: await images(), step: 0, optimizerState: optimizer.init(parameters), rate: 1, objective});
  const [value] = scale.dataSync();
  expect(value).toBeGreaterThan(0);
  expect(value).toBeLessThan(1);
});

test('a step whose loss is not finite changes neither parameters nor running statistics; one that is finite changes both', async () => {
  const network = tinyNetwork();
  const parameters = networkParameters(network);
  const step = createTrainStep({network, optimizer, parameters, seed: 0});
  const values = (): number[][] =>
    [...network.parameters.values(), ...network.statistics.values()].map((tensor) => [...tensor.dataSync()]);
  const changed = async (factor: number): Promise<boolean[]> => {
    const before = values();
    const objective = ([logits]: readonly tf.Tensor[]) => ({
      loss: tf.mul<tf.Scalar>(tf.sum(tf.square(logits!)), factor),
    });
    const input = {images: await images(), step: 0, optimizerState: optimizer.init(parameters), rate: 0.1, objective};
    await step(input).catch(() => undefined);
    return values().map((now, i) => now.join() !== before[i]!.join());
  };
  expect(new Set(await changed(NaN))).toEqual(new Set([false]));
  const statistics = (await changed(1)).slice(network.parameters.size);
  expect(statistics).not.toContain(false);
});
