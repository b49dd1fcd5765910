import {describe, expect, test} from '@jest/globals';

import {normal, permutation, uniform} from '../../src/random.ts';

const take = (draw: () => number, count: number): number[] => Array.from({length: count}, () => draw());

describe('random numbers', () => {
  test('are a function of seed, purpose and counters alone', () => {
    expect(take(uniform(1, 'gumbel', 5, 2), 4)).toEqual(take(uniform(1, 'gumbel', 5, 2), 4));
    const first = [
      uniform(1, 'gumbel', 5, 2)(),
      uniform(2, 'gumbel', 5, 2)(),
      uniform(1, 'augment', 5, 2)(),
      uniform(1, 'gumbel', 2, 5)(),
      uniform(1, 'gumbel', 5)(),
      uniform(1, 'gumbel', 5, 3)(),
    ];
    expect(new Set(first).size).toBe(first.length);
  });

  test('are uniform along a stream and across neighbouring counters (chi-square, 99.9 %)', () => {
    const bins = 64;
    const draws = 64_000;
    const chiSquare = (values: readonly number[]): number => {
      const counts = new Array<number>(bins).fill(0);
      for (const value of values) counts[Math.floor(value * bins)]! += 1;
      return counts.reduce((sum, n) => sum + (n - draws / bins) ** 2 / (draws / bins), 0);
    };
    const limit = 103.4; // 99.9 % quantile of chi-square with 63 degrees of freedom
    expect(chiSquare(take(uniform(3, 'init'), draws))).toBeLessThan(limit);
    expect(chiSquare(Array.from({length: draws}, (_, step) => uniform(3, 'gumbel', step, 7)()))).toBeLessThan(limit);
    expect(chiSquare(Array.from({length: draws}, (_, layer) => uniform(3, 'gumbel', 7, layer)()))).toBeLessThan(limit);
  });

  test('neighbouring counters are uncorrelated', () => {
    const n = 20_000;
    const values = Array.from({length: n + 1}, (_, step) => uniform(0, 'gumbel', step, 0)() - 0.5);
    const covariance = values.slice(1).reduce((sum, value, i) => sum + value * values[i]!, 0) / n;
    expect(Math.abs(covariance * 12)).toBeLessThan(4 / Math.sqrt(n)); // 4 standard errors
  });

  test('normal draws have mean 0, variance 1 and the tails of a normal', () => {
    const draw = uniform(11, 'init');
    const values = Array.from({length: 50_000}, () => normal(draw));
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + value * value, 0) / values.length - mean * mean;
    const beyondTwo = values.filter((value) => Math.abs(value) > 2).length / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.02);
    expect(Math.abs(variance - 1)).toBeLessThan(0.03);
    expect(Math.abs(beyondTwo - 0.0455)).toBeLessThan(0.005);
  });

  test('a permutation holds every index once, and every place is equally likely for each', () => {
    expect([...permutation(100, uniform(5, 'shuffle', 0))].sort((a, b) => a - b)).toEqual(
      Array.from({length: 100}, (_, i) => i),
    );
    expect([...permutation(0, uniform(5, 'shuffle', 0))]).toEqual([]);
    const places = new Array<number>(6).fill(0);
    for (let epoch = 0; epoch < 6000; epoch++) places[permutation(6, uniform(5, 'shuffle', epoch)).indexOf(0)]! += 1;
    const chiSquare = places.reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0);
    expect(chiSquare).toBeLessThan(20.5); // 99.9 % quantile, 5 degrees of freedom
  });
});
