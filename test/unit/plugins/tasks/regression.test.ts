import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {regression} from '../../../../src/plugins/tasks/regression.ts';
import {useCpuBackend} from '../../../helpers/cpu-backend.ts';
import {expectClose} from '../../../helpers/gradient-check.ts';

const regressionTask = await regression.load({}, {classes: 10, inputShape: [3, 32, 32]});

useCpuBackend();

const outputs = [2.5, 0, 0, 2, 8, 8.5];
const values = [3, -0.5, -1, 2, 7, 8];
const targets = {labels: tf.tensor1d([0, 0, 0], 'int32'), values: tf.tensor2d(values, [3, 2])};
const labels = new Int32Array(3);

describe('regression', () => {
  // By hand: the residuals are ∓0.5, 0.5, 1, 0, 1, 0.5, so Σ r² = 2.75; column 0 has mean 3 and Σ (v − mean)² = 32,
  // Σ r² = 2.25; column 1 has mean 19/6, Σ (v − mean)² = 68.25 − 3 · (19/6)², Σ r² = 0.5.
  test('metrics over batches are those of all images at once', () => {
    const meter = regressionTask.meter();
    meter.add([Float32Array.from(outputs.slice(0, 4))], {
      labels: labels.subarray(0, 2),
      values: Float32Array.from(values.slice(0, 4)),
    });
    meter.add([Float32Array.from(outputs.slice(4))], {
      labels: labels.subarray(2),
      values: Float32Array.from(values.slice(4)),
    });
    const {loss, mae, mse, r2} = meter.result();
    expect(mse).toBeCloseTo(2.75 / 6, 12);
    expect(loss).toBe(mse);
    expect(mae).toBeCloseTo(3.5 / 6, 12);
    expect(r2).toBeCloseTo((1 - 2.25 / 32 + 1 - 0.5 / (68.25 - 3 * (19 / 6) ** 2)) / 2, 12);
  });

  test('a number that never changes: 1 where it is met, else 0', () => {
    const r2 = (output: number): number => {
      const meter = regressionTask.meter();
      meter.add([Float32Array.of(output, output)], {labels: labels.subarray(0, 2), values: Float32Array.of(5, 5)});
      return meter.result()['r2']!;
    };
    expect([r2(5), r2(4)]).toEqual([1, 0]);
  });

  test('the loss and its gradient: 2 r / n', () => {
    const f = (output: tf.Tensor): tf.Tensor => regressionTask.loss([output], targets);
    const output = tf.tensor2d(outputs, [3, 2]);
    expectClose(f(output), [2.75 / 6], {relative: 1e-6});
    expectClose(
      tf.grad(f)(output),
      outputs.map((value, i) => (value - values[i]!) / 3),
      {absolute: 1e-6},
    );
  });

  test.each([1, 4])('distillation at T = %d: error to the teacher, and μ times that to the values', (temperature) => {
    const [student, teacher] = [tf.tensor2d(outputs, [3, 2]), tf.tensor2d([2.5, 0, 0, 2, 8, 6.5], [3, 2])];
    const loss = (hardLabelWeight: number): tf.Tensor =>
      regressionTask.distillationLoss([student], [teacher], targets, {temperature, hardLabelWeight});
    expectClose(loss(0), [4 / 6], {relative: 1e-6});
    expectClose(loss(0.5), [4 / 6 + (0.5 * 2.75) / 6], {relative: 1e-6});
  });
});
