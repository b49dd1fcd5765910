import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {dorefa} from '../../../../src/plugins/quantizers/dorefa.ts';
import {entropy} from '../../../../src/plugins/quantizers/entropy.ts';
import {weightQuantizers} from '../../../../src/plugins/quantizers/index.ts';
import {midRise} from '../../../../src/plugins/quantizers/mid-rise.ts';
import {narrow, narrowPerTensor} from '../../../../src/plugins/quantizers/narrow.ts';
import {symmetric} from '../../../../src/plugins/quantizers/symmetric.ts';
import {integerWeights, learnedRule, quantizeWeights} from '../../../../src/sdq/weight-quantizer.ts';
import {useCpuBackend} from '../../../helpers/cpu-backend.ts';
import {surrogate64} from '../../../helpers/float64.ts';
import {expectClose, expectGradients, randomTensor} from '../../../helpers/gradient-check.ts';

useCpuBackend();

const everyBits = [1, 2, 3, 4, 5, 6, 7, 8];

// Weights of 3 output channels, a gradient, and what PyTorch 1.13 gives for the published formulas in eager mode.
const w = [
  -0.082, 0.198, 3.853, -0.033, 0.099, 1.564, 0.104, -0.362, -1.698, -0.122, -0.908, -0.69, -0.206, 0.337, -2.647,
  -0.136, -0.433, -1.128,
];
const dy = [
  0.17, 2.3, -2.97, -1.06, -0.31, 0.93, -0.38, -1.17, 0.36, -0.32, 1.15, -0.38, -0.36, 0.75, 0.69, -0.14, 1.61, 1.57,
];
const dorefaValues: Record<number, number[]> = {
  1: [-1, 1, 1, -1, 1, 1, 1, -1, -1, -1, -1, -1, -1, 1, -1, -1, -1, -1],
  2: [
    -0.333333, 0.333333, 1, -0.333333, 0.333333, 1, 0.333333, -0.333333, -1, -0.333333, -1, -0.333333, -0.333333,
    0.333333, -1, -0.333333, -0.333333, -1,
  ],
  3: [
    -0.142857, 0.142857, 1, -0.142857, 0.142857, 1, 0.142857, -0.428571, -1, -0.142857, -0.714286, -0.714286, -0.142857,
    0.428571, -1, -0.142857, -0.428571, -0.714286,
  ],
  4: [
    -0.0666667, 0.2, 1, -0.0666667, 0.0666667, 0.866667, 0.0666667, -0.333333, -1, -0.0666667, -0.733333, -0.6, -0.2,
    0.333333, -1, -0.2, -0.466667, -0.866667,
  ],
};
const dorefaGradient = [
  0.169014, 2.21413, 0.00273297, -1.0598, -0.307258, 0.1497, -0.376258, -1.03007, 0.0452129, -0.315568, 0.554056,
  -0.244339, -0.345456, 0.671485, 0.0137339, -0.137566, 1.34343, 0.53956,
];
const entropyValues: Record<number, number[]> = {
  1: [
    -0.113833, 0.3895, 1.93, -0.113833, 0.3895, 1.93, 0.113833, -0.3895, -1.93, -0.113833, -0.3895, -1.93, -0.113833,
    0.3895, -1.93, -0.113833, -0.3895, -1.93,
  ],
  2: [
    -0.0569167, 0.19475, 2.895, -0.0569167, 0.19475, 0.965, 0.0569167, -0.19475, -0.965, -0.17075, -0.58425, -0.965,
    -0.17075, 0.19475, -2.895, -0.17075, -0.58425, -0.965,
  ],
  3: [
    -0.085375, 0.292125, 3.3775, -0.0284583, 0.097375, 1.4475, 0.085375, -0.292125, -1.4475, -0.142292, -0.681625,
    -0.4825, -0.199208, 0.292125, -2.4125, -0.142292, -0.486875, -1.4475,
  ],
  4: [
    -0.0711458, 0.243438, 3.61875, -0.0426875, 0.146063, 1.68875, 0.0996042, -0.340812, -1.68875, -0.128063, -0.730312,
    -0.72375, -0.213437, 0.340813, -2.65375, -0.128063, -0.438188, -1.20625,
  ],
};
/** Where PyTorch's gradient is 0: beyond ±s. */
const entropyClipped: Record<number, number[]> = {
  1: [2, 9, 10, 12, 14, 15, 16],
  2: [2, 10, 12],
  3: [2, 10, 12],
  4: [2, 10],
};

describe('published formulas', () => {
  test.each([1, 2, 3, 4])('dorefa, %i bits: values and gradient are PyTorch’s', (bits) => {
    const x = tf.tensor2d(w, [6, 3]);
    const f = (x: tf.Tensor): tf.Tensor => quantizeWeights(x, dorefa, bits, 3);
    expectClose(f(x), dorefaValues[bits]!);
    expectClose(tf.grad(f)(x, tf.tensor2d(dy, [6, 3])), dorefaGradient, {absolute: 1e-6, relative: 1e-4});
  });

  test.each([1, 2, 3, 4])('entropy, %i bits: values and gradient are PyTorch’s', (bits) => {
    const x = tf.tensor2d(w, [6, 3]);
    const f = (x: tf.Tensor): tf.Tensor => quantizeWeights(x, entropy, bits, 3);
    expectClose(f(x), entropyValues[bits]!);
    const passed = dy.map((value, i) => (entropyClipped[bits]!.includes(i) ? 0 : value));
    expectClose(tf.grad(f)(x, tf.tensor2d(dy, [6, 3])), passed);
  });

  test('dorefa’s space: tanh(w) over its largest magnitude, its gradient by finite differences, also at the largest', () => {
    const x = randomTensor([5, 3], 3);
    const largest = Math.max(...Array.from(x.dataSync(), (value) => Math.abs(Math.tanh(value))));
    expectClose(
      dorefa.transform(x),
      Array.from(x.dataSync(), (value) => Math.tanh(value) / largest),
    );
    expectGradients((x) => dorefa.transform(x), [x], {epsilon: 1e-3});
  });
});

describe('hand-computed', () => {
  test('symmetric, 2 bits: the step is 1.04839 times the root mean square of each output channel', () => {
    // Channels (3, −4) with rms √12.5 = 3.5355 and (1, 1) with rms 1: steps 3.70661 and 1.04839.
    const x = tf.tensor2d([3, 1, -4, 1], [2, 2]);
    expectClose(quantizeWeights(x, symmetric, 2, 2), [3.70661, 1.04839, -3.70661, 1.04839], {relative: 1e-5});
  });

  test('symmetric, 1 bit: ±0.79788 of the root mean square, and no weight is rounded to 0', () => {
    const x = tf.tensor2d([2, -2, 0.1, -0.1], [4, 1]);
    const level = 0.797885 * Math.sqrt(8.02 / 4);
    expectClose(quantizeWeights(x, symmetric, 1, 1), [level, -level, level, -level], {relative: 1e-4});
  });

  test('mid-rise, 2 bits: ±½ and ±1½ steps of 0.99559 times the root mean square; the smallest weight is not rounded to 0', () => {
    const x = tf.tensor2d([2, -2, 0.1, -0.1], [4, 1]);
    const step = 0.99559 * Math.sqrt(8.02 / 4);
    expectClose(quantizeWeights(x, midRise, 2, 1), [1.5 * step, -1.5 * step, step / 2, -step / 2], {relative: 1e-5});
  });

  test('narrow, 2 bits: three levels, symmetric about 0; per tensor all channels share the step', () => {
    const x = tf.tensor2d([10, 0.1, -10, 0.1, 0, -0.1], [3, 2]);
    const perChannel = [...quantizeWeights(x, narrow, 2, 2).dataSync()];
    const step = 1.22401 * Math.sqrt(200 / 3);
    expectClose(perChannel.slice(0, 1), [step], {relative: 1e-5});
    expect(perChannel[2]).toBe(-perChannel[0]!);
    expect(perChannel[1]).toBeGreaterThan(0);
    expect(quantizeWeights(x, narrowPerTensor, 2, 2).dataSync()[1]).toBe(0);
    expect(narrowPerTensor.statisticScales(x, [2])[0]!.shape).toEqual([]);
  });
});

const loaded = await Promise.all(
  weightQuantizers.map(async (definition) => [definition.name, await definition.load()] as const),
);

describe.each(loaded)('%s', (_, quantizer) => {
  test.each(everyBits)(
    '%i bits: at most 2^b levels a step; integers times the step are the fake-quantized weights',
    async (bits) => {
      const x = randomTensor([3, 3, 7, 5], bits);
      const y = quantizeWeights(x, quantizer, bits, 5);
      expect(y.shape).toEqual(x.shape);
      const {indices, scale, grid} = await integerWeights(x, quantizer, bits, 5);
      expect(grid.qmax - grid.qmin + 1).toBeLessThanOrEqual(2 ** bits);
      expect(Math.min(...indices)).toBeGreaterThanOrEqual(grid.qmin);
      expect(Math.max(...indices)).toBeLessThanOrEqual(grid.qmax);
      const levels = Array.from({length: 5}, () => new Set<number>());
      y.dataSync().forEach((value, i) => levels[i % 5]!.add(value));
      for (const level of levels) expect(level.size).toBeLessThanOrEqual(2 ** bits);
      expectClose(
        y,
        Array.from(indices, (q, i) => scale[i % scale.length]! * (q + grid.offset)),
        {absolute: 1e-7, relative: 1e-6},
      );
    },
  );

  test('a depthwise filter [3, 3, 4, 1] has a step per channel, as the same weights in [9, 4] have', () => {
    const x = randomTensor([3, 3, 4, 1], 11);
    expectClose(
      quantizeWeights(x, quantizer, 3, 4),
      quantizeWeights(tf.reshape(x, [9, 4]), quantizer, 3, 4).dataSync(),
      {absolute: 0, relative: 0},
    );
  });

  test('a channel of zeros gives finite weights', () => {
    const x = tf.concat([tf.zeros([6, 1]), randomTensor([6, 2], 1)], 1);
    for (const bits of [1, 2, 8]) {
      expect(quantizeWeights(x, quantizer, bits, 3).dataSync().every(Number.isFinite)).toBe(true);
      expect(
        quantizeWeights(tf.zeros([4, 3]), quantizer, bits, 3)
          .dataSync()
          .every(Number.isFinite),
      ).toBe(true);
    }
  });

  test('32 bits are the weights themselves', () => {
    const x = randomTensor([4, 3], 2);
    expect(quantizeWeights(x, quantizer, 32, 3)).toBe(x);
  });
});

describe.each([
  ['symmetric', symmetric],
  ['mid-rise', midRise],
])('learned step of %s', (_, quantizer) => {
  test.each([1, 2, 3, 4, 8])('%i bits: gradients of weights and step are those of the surrogate', (bits) => {
    const x = randomTensor([7, 3], 20 + bits);
    const step = tf.tensor1d([0.3, 0.55, 0.21]);
    const v = randomTensor([7, 3], 5);
    const f = (x: tf.Tensor, step: tf.Tensor): tf.Tensor => quantizeWeights(x, quantizer, bits, 3, step);
    const [dx, dstep] = tf.grads(f)([x, step], v) as [tf.Tensor, tf.Tensor];
    expectClose(dx, v.dataSync());

    const [x64, step64, v64] = [[...x.dataSync()], [...step.dataSync()], [...v.dataSync()]];
    const smooth = surrogate64(x64, step64, quantizer.grid(bits), learnedRule(quantizer, bits, 7));
    const loss = (step: number[]): number => smooth(x64, step).reduce((sum, y, i) => sum + y * v64[i]!, 0);
    // LSQ: 1 / √(n · qmax) with n = 7 weights a step and qmax = 2^(b−1) − 1, or 1 at one bit.
    const lsqScale = 1 / Math.sqrt(7 * Math.max(1, 2 ** (bits - 1) - 1));
    const numeric = step64.map((s, c) => {
      const at = (delta: number): number => loss(step64.with(c, s + delta));
      return (lsqScale * (at(1e-6) - at(-1e-6))) / 2e-6;
    });
    expectClose(dstep, numeric, {absolute: 1e-4, relative: 1e-4});
  });

  test('a learned step of the statistics’ value gives the statistics’ weights', () => {
    const x = randomTensor([9, 4], 8);
    const [step] = quantizer.statisticScales(x, [3]) as [tf.Tensor];
    expectClose(quantizeWeights(x, quantizer, 3, 4, step), quantizeWeights(x, quantizer, 3, 4).dataSync());
  });
});
