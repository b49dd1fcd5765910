import {expect} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {normal, uniform} from '../../src/random.ts';

/** Standard normal draws; the same for the same seed. */
export function randomTensor(shape: readonly number[], seed: number): tf.Tensor {
  const draw = uniform(seed, 'bench');
  return tf.tensor(
    Float32Array.from({length: tf.util.sizeFromShape([...shape])}, () => normal(draw)),
    [...shape],
  );
}

/** A random permutation of evenly spaced values around 0: no two are closer than `gap`. */
export function spacedTensor(shape: readonly number[], seed: number, gap = 0.1): tf.Tensor {
  const size = tf.util.sizeFromShape([...shape]);
  const draw = uniform(seed, 'bench');
  const order = Array.from({length: size}, (_, i) => ({i, key: draw()})).sort((a, b) => a.key - b.key);
  return tf.tensor(
    order.map(({i}) => (i - size / 2 + 0.5) * gap),
    [...shape],
  );
}

/** |actual − expected| ≤ absolute + relative · |expected|, element by element. */
export function expectClose(
  actual: tf.Tensor | ArrayLike<number>,
  expected: ArrayLike<number>,
  {absolute = 1e-5, relative = 1e-5} = {},
): void {
  const values = actual instanceof tf.Tensor ? actual.dataSync() : actual;
  expect(values).toHaveLength(expected.length);
  const wrong = Array.from(expected, (value, i) => ({i, expected: value, actual: values[i]!})).filter(
    (pair) => !(Math.abs(pair.actual - pair.expected) <= absolute + relative * Math.abs(pair.expected)),
  );
  expect(wrong).toEqual([]);
}

/**
 * Compares the gradient of Σ v · f(inputs), v random, with central finite differences in every coordinate of every
 * input.
 */
export function expectGradients(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: readonly tf.Tensor[],
  {epsilon = 1e-2, absolute = 2e-3, relative = 2e-3} = {},
): void {
  const out = tf.tidy(() => f(...inputs).shape);
  const v = randomTensor(out, 99);
  const weights = v.dataSync();
  const value = (at: readonly tf.Tensor[]): number => {
    const y = tf.tidy(() => f(...at)).dataSync<'float32'>();
    return y.reduce((sum, element, i) => sum + element * weights[i]!, 0);
  };
  const analytic = tf.grads(f)([...inputs], v);
  inputs.forEach((input, position) => {
    const base = Float32Array.from(input.dataSync());
    const numeric = Array.from(base, (element, i) => {
      const [low, high] = [-epsilon, epsilon].map((delta) => {
        const moved = base.slice();
        moved[i] = element + delta;
        return {at: moved[i], value: value(inputs.with(position, tf.tensor(moved, input.shape)))};
      }) as [{at: number; value: number}, {at: number; value: number}];
      return (high.value - low.value) / (high.at - low.at);
    });
    expectClose(analytic[position]!, numeric, {absolute, relative});
  });
}
