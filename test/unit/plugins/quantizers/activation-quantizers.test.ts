import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {inputSites} from '../../../../src/graph/layer-table.ts';
import {lsq} from '../../../../src/plugins/quantizers/lsq.ts';
import {pact} from '../../../../src/plugins/quantizers/pact.ts';
import {
  calibrate,
  createInputQuantizers,
  inputGrid,
  keepPositive,
  leastErrorStep,
} from '../../../../src/sdq/activation-quantizer.ts';
import {fakeQuantize} from '../../../../src/tensor/fake-quantize.ts';
import {useCpuBackend} from '../../../helpers/cpu-backend.ts';
import {expectClose, randomTensor} from '../../../helpers/gradient-check.ts';

useCpuBackend();

const x = [-2, -0.73, -0.2, 0.05, 0.31, 0.88, 1.9, 3.4];
const dy = [0.3, -0.5, 0.7, 1.1, -0.9, 0.4, 0.6, -0.8];

const layer = {
  name: 'conv',
  op: 'Conv',
  weight: 'conv.weight',
  params: 1,
  macs: 1,
  inputSigned: false,
  inputValue: 'a',
  inputShape: [2, 4, 1],
  outputShape: [1, 4, 1],
} as const;

describe('published formulas, values of PyTorch 1.13', () => {
  test('pact, 3 bits, α = 1.5: α receives the gradient of every x ≥ α', () => {
    const f = (x: tf.Tensor, alpha: tf.Tensor): tf.Tensor =>
      fakeQuantize(x, pact.scale(alpha, 3), pact.grid(3, false), pact.rule(3, false, 8));
    expectClose(f(tf.tensor1d(x), tf.scalar(1.5)), [0, 0, 0, 0, 0.214286, 0.857143, 1.5, 1.5]);
    const [dx, dalpha] = tf.grads(f)([tf.tensor1d(x), tf.scalar(1.5)], tf.tensor1d(dy)) as [tf.Tensor, tf.Tensor];
    expectClose(dx, [0, 0, 0, 1.1, -0.9, 0.4, 0, 0]);
    expectClose(dalpha, [-0.2]);
  });

  test.each([
    [true, [-1.6, -0.8, 0, 0, 0.4, 0.8, 1.2, 1.2], [0, -0.5, 0.7, 1.1, -0.9, 0.4, 0, 0], -0.36385137],
    [false, [0, 0, 0, 0, 0.4, 0.8, 2, 2.8], [0, 0, 0, 1.1, -0.9, 0.4, 0.6, 0], -0.78441173],
  ])('lsq, 3 bits, step 0.4, signed input %s', (signed, y, gradient, stepGradient) => {
    const f = (x: tf.Tensor, step: tf.Tensor): tf.Tensor =>
      fakeQuantize(x, lsq.scale(step, 3), lsq.grid(3, signed), lsq.rule(3, signed, 8));
    expectClose(f(tf.tensor1d(x), tf.scalar(0.4)), y);
    const [dx, dstep] = tf.grads(f)([tf.tensor1d(x), tf.scalar(0.4)], tf.tensor1d(dy)) as [tf.Tensor, tf.Tensor];
    expectClose(dx, gradient);
    expectClose(dstep, [stepGradient], {absolute: 1e-6});
  });
});

test.each([1, 2, 4, 8])('%i bits have 2^b levels, signed and unsigned', (bits) => {
  for (const grid of [pact.grid(bits, false), lsq.grid(bits, false), lsq.grid(bits, true)]) {
    expect(grid.qmax - grid.qmin + 1).toBe(2 ** bits);
  }
});

describe('calibration', () => {
  /** The least Σ|x − Q(x)|^2.4 of 400 steps, by a quantizer written here. */
  function scanned(sample: Float32Array, quantized: (x: number, step: number) => number) {
    const error = (step: number): number =>
      sample.reduce((sum, value) => sum + Math.abs(value - quantized(value, step)) ** 2.4, 0);
    return {error, least: Math.min(...Array.from({length: 400}, (_, i) => error(0.01 * (i + 1))))};
  }

  test.each([2, 3, 4])(
    'on a half Gaussian with a value far out, at %i bits, the step is the best of a fine scan',
    (bits) => {
      const sample = Float32Array.from(randomTensor([1024], 1).dataSync(), (value) => Math.max(0, value));
      sample[17] = 40;
      const top = 2 ** bits - 1;
      const {error, least} = scanned(sample, (x, step) => step * Math.min(top, Math.round(x / step)));
      const step = leastErrorStep(sample, pact.grid(bits, false));
      expect(error(step)).toBeLessThan(least * 1.003);
      expect(pact.initialParameter(sample, bits, false)).toBeCloseTo(top * step, 6);
    },
  );

  test('a signed sample at 1 bit', () => {
    const sample = Float32Array.from(randomTensor([1024], 2).dataSync());
    const {error, least} = scanned(sample, (x, step) => (x < 0 ? -step : step) / 2);
    expect(error(lsq.initialParameter(sample, 1, true))).toBeLessThan(least * 1.003);
  });

  test('a sample of zeros gives a positive parameter', () => {
    const zeros = new Float32Array(10);
    expect(pact.initialParameter(zeros, 4, false)).toBe(1);
    expect(lsq.initialParameter(zeros, 1, true)).toBeGreaterThan(0);
  });
});

describe('quantizers of a network’s inputs', () => {
  test('32 bits have none; an input that can be negative takes the signed one where the chosen is unsigned', () => {
    const layers = [
      {...layer, name: 'first', inputSigned: true},
      {...layer, name: 'second'},
      {...layer, name: 'free'},
    ];
    const inputs = createInputQuantizers(layers.flatMap(inputSites), ({id}) => (id === 'free' ? 32 : 4), pact, lsq);
    expect([...inputs].map(([name, {quantizer}]) => [name, quantizer])).toEqual([
      ['first', lsq],
      ['second', pact],
    ]);
    expect(inputs.get('first')!.features).toBe(8);
    expect(inputGrid(inputs.get('first')!).grid).toEqual({qmin: -8, qmax: 7, offset: 0});
    expect(inputGrid(inputs.get('second')!).rule.scale).toBe('clip');
  });

  test('calibration sets the learned parameter; the forward step follows it', () => {
    const input = createInputQuantizers(inputSites(layer), () => 2, pact, lsq).get('conv')!;
    calibrate(input, Float32Array.from([0, 1, 2, 3]));
    expectClose(input.parameter, [3], {absolute: 0.05});
    expectClose(inputGrid(input).scale, [input.parameter.dataSync()[0]! / 3]);
  });

  test('a parameter pushed to zero or below is put back to a small positive value, others stay', () => {
    const [negative, fine] = [tf.variable(tf.scalar(-0.3)), tf.variable(tf.tensor1d([0.5, 0]))];
    keepPositive([negative, fine]);
    expect(negative.dataSync()[0]).toBeGreaterThan(0);
    expect(fine.dataSync()[0]).toBe(0.5);
    expect(fine.dataSync()[1]).toBeGreaterThan(0);
    tf.dispose([negative, fine]);
  });
});
