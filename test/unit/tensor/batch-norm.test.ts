import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {batchNormAct} from '../../../src/tensor/batch-norm.ts';
import type {BatchNormActAttributes} from '../../../src/tensor/kernels.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {fakeQuantize64, surrogate64} from '../../helpers/float64.ts';
import {expectClose, randomTensor} from '../../helpers/gradient-check.ts';

useCpuBackend();

const full = {min: -Infinity, max: Infinity, epsilon: 1e-5, grid: null};
const none = {input: 'identity', scale: 'none', gradientScale: 1} as const;
const cases: [string, BatchNormActAttributes][] = [
  ['no activation', {...full, rule: none}],
  ['Relu', {...full, min: 0, rule: none}],
  ['Relu6', {...full, min: 0, max: 6, epsilon: 1e-3, rule: none}],
  [
    'Relu and PACT, 2 bits',
    {
      ...full,
      min: 0,
      grid: {qmin: 0, qmax: 3, offset: 0},
      rule: {input: 'clipped', scale: 'clip', gradientScale: 1},
    },
  ],
  [
    'no activation and LSQ, 3 bits signed',
    {
      ...full,
      grid: {qmin: -4, qmax: 3, offset: 0},
      rule: {input: 'clipped', scale: 'lsq', gradientScale: 0.2},
    },
  ],
];

type Values = readonly number[];

/** Double-precision batch norm and clip over rows of C channels, from the definition. */
function batchNorm64(x: Values, gamma: Values, beta: Values, {epsilon, min, max}: BatchNormActAttributes) {
  const channels = gamma.length;
  const rows = x.length / channels;
  const of = (c: number): Values => x.filter((_, i) => i % channels === c);
  const mean = gamma.map((_, c) => of(c).reduce((a, b) => a + b, 0) / rows);
  const variance = gamma.map((_, c) => of(c).reduce((sum, value) => sum + (value - mean[c]!) ** 2, 0) / rows);
  const a = x.map((value, i) => {
    const c = i % channels;
    const z = (gamma[c]! * (value - mean[c]!)) / Math.sqrt(variance[c]! + epsilon) + beta[c]!;
    return Math.min(Math.max(z, min), max);
  });
  return {a, mean, variance};
}

function inputs(shape: number[]) {
  const channels = shape.at(-1)!;
  return {
    x: tf.add(tf.mul(randomTensor(shape, 1), 2.5), 0.7),
    gamma: tf.add(tf.mul(randomTensor([channels], 2), 0.3), 1.8),
    beta: randomTensor([channels], 3),
    scale: tf.scalar(0.62),
  };
}

describe.each([[[2, 3, 3, 5]], [[7, 3]], [[4, 1, 2, 1]]])('shape %p', (shape) => {
  test.each(cases)('%s: output and statistics', (_, attributes) => {
    const {x, gamma, beta, scale} = inputs(shape);
    const result = batchNormAct(x, gamma, beta, attributes.grid === null ? null : scale, attributes);
    const reference = batchNorm64([...x.dataSync()], [...gamma.dataSync()], [...beta.dataSync()], attributes);
    const y =
      attributes.grid === null ? reference.a : fakeQuantize64(reference.a, [...scale.dataSync()], attributes.grid);
    expectClose(result.y, y);
    expectClose(result.mean, reference.mean);
    expectClose(result.variance, reference.variance);
  });

  test.each(cases)('%s: gradients of x, gamma, beta and scale', (_, attributes) => {
    const {x, gamma, beta, scale} = inputs(shape);
    const dy = randomTensor(shape, 4);
    const gradients = tf.grads((x, gamma, beta, scale) => batchNormAct(x, gamma, beta, scale, attributes).y)(
      [x, gamma, beta, scale],
      dy,
    );

    const at = [x, gamma, beta, scale].map((tensor) => [...tensor.dataSync()]);
    const {grid, rule} = attributes;
    const {a} = batchNorm64(at[0]!, at[1]!, at[2]!, attributes);
    const quantized = grid === null ? (a: Values) => a : surrogate64(a, at[3]!, grid, rule);
    const weights = dy.dataSync();
    const objective = (values: Values[]): number =>
      quantized(batchNorm64(values[0]!, values[1]!, values[2]!, attributes).a, values[3]!).reduce(
        (sum, y, i) => sum + y * weights[i]!,
        0,
      );
    const step = 1e-6;
    gradients.forEach((gradient, position) => {
      const factor = position === 3 ? rule.gradientScale : 1;
      const numeric = at[position]!.map((value, i) => {
        const f = (delta: number): number => objective(at.with(position, at[position]!.with(i, value + delta)));
        return (factor * (f(step) - f(-step))) / (2 * step);
      });
      expectClose(gradient, numeric, {absolute: 5e-5, relative: 1e-4});
    });
  });
});

test('the statistics belong to the caller and nothing else stays behind', () => {
  const {x, gamma, beta, scale} = inputs([3, 2, 2, 2]);
  const attributes = cases[3]![1];
  const before = tf.memory().numTensors;
  const {y, mean, variance} = batchNormAct(x, gamma, beta, scale, attributes);
  expect(tf.memory().numTensors).toBe(before + 3);
  tf.dispose([y, mean, variance]);
  const gradient = tf.tidy(() => tf.grad((x) => tf.sum(batchNormAct(x, gamma, beta, scale, attributes).y))(x));
  gradient.dispose();
  expect(tf.memory().numTensors).toBe(before);
});
