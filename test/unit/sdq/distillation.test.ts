import {expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {distillationLoss} from '../../../src/sdq/distillation.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose} from '../../helpers/gradient-check.ts';

useCpuBackend();

const logits = [-0.19, 0.28, 0.13, 0.33, -0.08, -0.92, -1.89, 1.01, -0.69, 0.91, 0.11, 0.61];
const teacher = [0.33, -0.88, -1.68, -0.72, 0.96, 0.13, 0.55, 2.13, -0.88, -2.08, 1.83, -0.55];
const labels = [0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1];

// PyTorch: -T**2 * (softmax(t / T) * log_softmax(s / T)).sum(1).mean() + mu * cross_entropy(s, labels)
test.each([
  [
    1,
    0,
    1.4489862,
    [
      -0.128141, 0.0384667, 0.0560535, 0.0336209, 0.0103085, 0.00417852, -0.0296311, 0.015144, 0.00932484, 0.133686,
      -0.22008, 0.0770701,
    ],
  ],
  [
    1,
    0.5,
    2.1331289,
    [
      -0.0986903, 0.0855879, -0.0700556, 0.083158, -0.119886, 0.0199241, -0.0236622, 0.123624, 0.0233921, 0.203361,
      -0.188773, -0.0379798,
    ],
  ],
  [
    4,
    0,
    22.305279,
    [
      -0.121557, 0.0284867, 0.0731606, 0.0199096, 0.0258077, 0.0202522, -0.0712284, 0.0251686, -0.0164445, 0.184265,
      -0.22792, 0.0601001,
    ],
  ],
  [
    2.5,
    0.5,
    9.4578104,
    [
      -0.0946556, 0.078205, -0.056136, 0.0725866, -0.107906, 0.0310999, -0.0560758, 0.132882, 0.00821063, 0.244831,
      -0.206996, -0.0460455,
    ],
  ],
])('T = %d, μ = %d: loss and gradient are PyTorch’s', (temperature, hardLabelWeight, loss, gradient) => {
  const f = (logits: tf.Tensor): tf.Tensor =>
    distillationLoss(logits, tf.tensor2d(teacher, [3, 4]), tf.tensor2d(labels, [3, 4]), {temperature, hardLabelWeight});
  expectClose(f(tf.tensor2d(logits, [3, 4])), [loss], {relative: 1e-6});
  expectClose(tf.grad(f)(tf.tensor2d(logits, [3, 4])), gradient, {absolute: 1e-6});
});

test('no gradient passes to the teacher', () => {
  const [student, mentor] = [tf.variable(tf.tensor2d(logits, [3, 4])), tf.variable(tf.tensor2d(teacher, [3, 4]))];
  const {grads} = tf.variableGrads(
    () =>
      distillationLoss(student, mentor, tf.tensor2d(labels, [3, 4]), {
        temperature: 2,
        hardLabelWeight: 0.5,
      }) as tf.Scalar,
    [student, mentor],
  );
  expect(grads[mentor.name]).toBeFalsy();
  tf.dispose([student, mentor]);
});
