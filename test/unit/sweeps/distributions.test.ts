import {describe, expect, test} from '@jest/globals';

import {uniform} from '../../../src/random.ts';
import {drawValue, gridOf, impliedDistribution, type Distribution} from '../../../src/sweeps/distributions.ts';

const samples = (spec: Distribution, count: number): number[] => {
  const draw = uniform(7, 'sweep', 1);
  return Array.from({length: count}, () => drawValue(spec, draw) as number);
};

/** Largest distance between the draws' distribution and the given one (Kolmogorov and Smirnov), times √count. */
function distance(values: readonly number[], cdf: (x: number) => number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const gaps = sorted.map((x, i) =>
    Math.max(Math.abs(cdf(x) - i / sorted.length), Math.abs(cdf(x) - (i + 1) / sorted.length)),
  );
  return Math.max(...gaps) * Math.sqrt(values.length);
}

/** The normal distribution by Abramowitz and Stegun 26.2.17, to 7.5e-8. */
function normalCdf(z: number): number {
  if (z < 0) return 1 - normalCdf(-z);
  const t = 1 / (1 + 0.2316419 * z);
  const sum = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return 1 - (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * sum;
}

// 1.95 is passed by chance once in a thousand times.
describe('4000 draws follow the distribution', () => {
  test.each<[Distribution, (x: number) => number]>([
    [{distribution: 'uniform', min: -1, max: 3}, (x) => (x + 1) / 4],
    [{distribution: 'log_uniform_values', min: 0.001, max: 10}, (x) => Math.log(x / 0.001) / Math.log(10_000)],
    [{distribution: 'log_uniform', min: -2, max: 1}, (x) => (Math.log(x) + 2) / 3],
    [{distribution: 'inv_log_uniform', min: -2, max: 1}, (x) => 1 - (Math.log(1 / x) + 2) / 3],
    [{distribution: 'inv_log_uniform_values', min: 0.1, max: 10}, (x) => Math.log(x / 0.1) / Math.log(100)],
    [{distribution: 'normal', mu: 2, sigma: 3}, (x) => normalCdf((x - 2) / 3)],
    [{distribution: 'normal'}, normalCdf],
    [{distribution: 'log_normal', mu: 1, sigma: 0.5}, (x) => normalCdf((Math.log(x) - 1) / 0.5)],
    [{distribution: 'beta', a: 2, b: 1}, (x) => x ** 2],
    [{distribution: 'beta', a: 1, b: 3}, (x) => 1 - (1 - x) ** 3],
    [{distribution: 'beta', a: 0.5, b: 0.5}, (x) => (2 / Math.PI) * Math.asin(Math.sqrt(x))],
  ])('%j', (spec, cdf) => {
    expect(distance(samples(spec, 4000), cdf)).toBeLessThan(1.95);
  });

  test('q_ distributions are multiples of q, without dust', () => {
    for (const distribution of ['q_uniform', 'q_log_uniform_values', 'q_normal', 'q_log_normal', 'q_beta']) {
      for (const value of samples({distribution, min: 0.1, max: 2, q: 0.1}, 200)) {
        expect(String(value)).toMatch(/^-?\d+(\.\d)?$/);
      }
    }
  });

  test('whole numbers have both ends, each value as often', () => {
    const counts = new Map<number, number>();
    for (const value of samples({distribution: 'int_uniform', min: 3, max: 6}, 4000)) {
      counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual([3, 4, 5, 6]);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(110);
  });

  test('values come as often as their probabilities say, and never with probability 0', () => {
    const drawn = samples(
      {distribution: 'categorical_w_probabilities', values: [1, 2, 3], probabilities: [0.7, 0.3, 0]},
      4000,
    );
    expect(Math.abs(drawn.filter((value) => value === 1).length / 4000 - 0.7)).toBeLessThan(0.03);
    expect(drawn).not.toContain(3);
  });
});

describe('a grid', () => {
  const all = (spec: Distribution): unknown[] | undefined => {
    const grid = gridOf(spec);
    return grid === undefined ? undefined : Array.from({length: grid.count}, (_, i) => grid.at(i));
  };
  test.each<[Distribution, unknown[] | undefined]>([
    [{distribution: 'constant', value: 'x'}, ['x']],
    [{distribution: 'categorical', values: [4, 'a', null]}, [4, 'a', null]],
    [{distribution: 'int_uniform', min: -1, max: 2}, [-1, 0, 1, 2]],
    // numpy.arange(0.1, 0.5, 0.1) and (1, 4, 2)
    [{distribution: 'q_uniform', min: 0.1, max: 0.5, q: 0.1}, [0.1, 0.2, 0.3, 0.4]],
    [{distribution: 'q_uniform', min: 1, max: 4, q: 2}, [1, 3]],
    [{distribution: 'uniform', min: 0, max: 1}, undefined],
    [{distribution: 'categorical_w_probabilities', values: [1], probabilities: [1]}, undefined],
  ])('of %j', (spec, values) => {
    expect(all(spec)).toEqual(values);
  });
});

test('a distribution without a name is the one that its keys imply', () => {
  expect(impliedDistribution({value: 1}, false)).toBe('constant');
  expect(impliedDistribution({values: [1]}, false)).toBe('categorical');
  expect(impliedDistribution({values: [1], probabilities: [1]}, false)).toBe('categorical_w_probabilities');
  expect(impliedDistribution({min: 1, max: 2}, false)).toBe('int_uniform');
  expect(impliedDistribution({min: 1, max: 2}, true)).toBe('uniform');
  expect(impliedDistribution({mu: 1}, false)).toBeUndefined();
});
