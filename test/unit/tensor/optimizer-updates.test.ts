import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {adamUpdate, sgdUpdate} from '../../../src/tensor/optimizer-updates.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose, randomTensor} from '../../helpers/gradient-check.ts';

useCpuBackend();

describe('sgdUpdate', () => {
  const plain = {learningRate: 0.1, momentum: 0.9, nesterov: false, weightDecay: 0};

  test('two steps by hand: momentum, weight decay, Nesterov', () => {
    // p = 1, g = 0.5 twice, lr 0.1, momentum 0.9, weight decay 0.2
    // step 1: g' = 0.7, v = 0.7;               step 2: g' = 0.5 + 0.2 p, v = 0.63 + g'
    const attributes = {...plain, weightDecay: 0.2};
    const grad = tf.tensor1d([0.5]);
    const [p1, v1] = sgdUpdate(tf.tensor1d([1]), grad, tf.tensor1d([0]), attributes);
    expectClose(v1, [0.7]);
    expectClose(p1, [0.93]);
    const [p2, v2] = sgdUpdate(p1, grad, v1, attributes);
    expectClose(v2, [0.63 + 0.686]);
    expectClose(p2, [0.93 - 0.1316]);
    const [n1] = sgdUpdate(tf.tensor1d([1]), grad, tf.tensor1d([0]), {...attributes, nesterov: true});
    expectClose(n1, [1 - 0.1 * (0.7 + 0.9 * 0.7)]);
  });

  test('a constant gradient brings the velocity to g (1 − mᵏ) / (1 − m)', () => {
    const grad = randomTensor([3, 5], 1);
    let [param, velocity]: [tf.Tensor, tf.Tensor] = [tf.zeros([3, 5]), tf.zeros([3, 5])];
    for (let step = 0; step < 12; step++) [param, velocity] = sgdUpdate(param, grad, velocity, plain);
    const expected = [...grad.dataSync()].map((g) => (g * (1 - 0.9 ** 12)) / (1 - 0.9));
    expectClose(velocity, expected);
    const distance = [...Array(12).keys()].reduce((sum, k) => sum + (1 - 0.9 ** (k + 1)) / 0.1, 0);
    expectClose(
      param,
      [...grad.dataSync()].map((g) => -0.1 * g * distance),
      {absolute: 1e-4},
    );
  });
});

describe('adamUpdate', () => {
  const plain = {
    learningRate: 0.01,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    decoupled: false,
    step: 1,
  };

  test('the first step is the learning rate against the sign of the gradient', () => {
    const zero = tf.zeros([4]);
    const [param] = adamUpdate(tf.ones([4]), tf.tensor1d([3, -0.002, 50, -1]), zero, zero, plain);
    expectClose(param, [0.99, 1.01, 0.99, 1.01]);
  });

  test.each([
    ['Adam, decay added to the gradient', false],
    ['AdamW, decoupled decay', true],
  ])('%s: ten steps of a changing gradient follow the recurrence in double precision', (_, decoupled) => {
    const shape = [3, 7];
    const start = [...randomTensor(shape, 1).dataSync()];
    let state: [tf.Tensor, tf.Tensor, tf.Tensor] = [tf.tensor(start, shape), tf.zeros(shape), tf.zeros(shape)];
    const expected = start.map((p) => ({p, m: 0, v: 0}));
    for (let step = 1; step <= 10; step++) {
      const grad = randomTensor(shape, 100 + step);
      state = adamUpdate(state[0], grad, state[1], state[2], {...plain, weightDecay: 0.3, decoupled, step});
      grad.dataSync().forEach((raw: number, i: number) => {
        const element = expected[i]!;
        const g = decoupled ? raw : raw + 0.3 * element.p;
        element.m += (1 - 0.9) * (g - element.m);
        element.v += (1 - 0.999) * (g * g - element.v);
        const scaled = Math.sqrt(element.v / (1 - 0.999 ** step)) + 1e-8;
        const decayed = decoupled ? element.p - 0.01 * 0.3 * element.p : element.p;
        element.p = decayed - (0.01 * element.m) / (1 - 0.9 ** step) / scaled;
      });
    }
    expectClose(
      state[0],
      expected.map(({p}) => p),
    );
    expectClose(
      state[1],
      expected.map(({m}) => m),
    );
    expectClose(
      state[2],
      expected.map(({v}) => v),
    );
  });
});

describe('a backend with a kernel of the operator', () => {
  test('has it called with the documented inputs and attributes', () => {
    const seen: unknown[] = [];
    tf.registerKernel({
      kernelName: 'SdqSgdUpdate',
      backendName: 'cpu',
      kernelFunc: ({inputs, attrs}) => {
        seen.push(Object.keys(inputs), attrs);
        return [tf.scalar(1), tf.scalar(2)];
      },
    });
    try {
      const attributes = {learningRate: 1, momentum: 0, nesterov: false, weightDecay: 0};
      const zero = tf.scalar(0);
      const [param, velocity] = sgdUpdate(zero, zero, zero, attributes);
      expect(seen).toEqual([['param', 'grad', 'velocity'], attributes]);
      expectClose(param, [1]);
      expectClose(velocity, [2]);
    } finally {
      tf.unregisterKernel('SdqSgdUpdate', 'cpu');
    }
  });
});
