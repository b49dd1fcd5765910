import {describe, expect, test} from '@jest/globals';

import {drawIndicator, initDbp, sigmoid, temperature, updateDbp} from '../../../src/sdq/dbp.ts';

describe('draw', () => {
  test.each([-2, -0.4, 0, 0.8, 2, 4])(
    'θ = %d: the higher bitwidth comes with probability σ(θ), at any temperature',
    (theta) => {
      const draws = 20_000;
      const beta = 1 / (1 + Math.exp(-theta));
      // One stream over steps, one over layers, one over seeds: χ² with one degree of freedom each, 99.99 % quantile 15.1.
      const streams = [
        (i: number) => drawIndicator(theta, 0.3, 7, i, 3),
        (i: number) => drawIndicator(theta, 1, 7, 5, i),
        (i: number) => drawIndicator(theta, 0.6, i, 5, 3),
      ];
      for (const stream of streams) {
        let kept = 0;
        for (let i = 0; i < draws; i++) if (stream(i) > 0.5) kept++;
        const chiSquare =
          (kept - draws * beta) ** 2 / (draws * beta) + (kept - draws * beta) ** 2 / (draws * (1 - beta));
        expect(chiSquare).toBeLessThan(15.1);
      }
    },
  );

  test('the relaxed indicator has the distribution of the binary Concrete: P(c ≤ x) = σ(τ logit x − θ)', () => {
    const [theta, tau, draws] = [0.7, 0.5, 20_000];
    const values = Array.from({length: draws}, (_, i) => drawIndicator(theta, tau, 1, i, 0)).sort((a, b) => a - b);
    let distance = 0;
    values.forEach((c, i) => {
      const cumulative = 1 / (1 + Math.exp(theta - tau * Math.log(c / (1 - c))));
      distance = Math.max(distance, Math.abs(cumulative - (i + 0.5) / draws));
    });
    // Kolmogorov and Smirnov, 99.99 %: 2.23 / √n.
    expect(distance).toBeLessThan(2.23 / Math.sqrt(draws));
  });

  test('adjacent layers and steps draw independently', () => {
    const draws = 20_000;
    const pairs = [0, 0, 0, 0];
    for (let i = 0; i < draws; i++) {
      const [a, b] = [drawIndicator(0, 1, 0, i, 0) > 0.5, drawIndicator(0, 1, 0, i + 1, 1) > 0.5];
      pairs[(a ? 2 : 0) + (b ? 1 : 0)]!++;
    }
    const chiSquare = pairs.reduce((sum, n) => sum + (n - draws / 4) ** 2 / (draws / 4), 0);
    // χ² with 3 degrees of freedom, 99.99 % quantile.
    expect(chiSquare).toBeLessThan(21.1);
  });

  test('the same place draws the same, whatever came before', () => {
    expect(drawIndicator(0.3, 0.7, 5, 812, 3)).toBe(drawIndicator(0.3, 0.7, 5, 812, 3));
    expect(drawIndicator(0.3, 0.7, 5, 812, 3)).not.toBe(drawIndicator(0.3, 0.7, 5, 813, 3));
  });
});

test('the temperature falls exponentially from start to end and stays there', () => {
  const at = [0, 1, 2, 3, 4, 9].map((step) => temperature(1, 0.0625, step, 5));
  [1, 0.5, 0.25, 0.125, 0.0625, 0.0625].forEach((tau, i) => expect(at[i]).toBeCloseTo(tau, 12));
});

test('θ follows PyTorch’s Adam', () => {
  // torch.optim.Adam([2.0], lr=0.1), version 1.13, in single precision.
  const expected = [1.9, 1.838095, 1.7660615, 1.707056, 1.6389971];
  let dbp = initDbp(2);
  [0.3, -0.02, 1.5, 0, 0.7].forEach((gradient, i) => {
    dbp = updateDbp(dbp, gradient, 0.1);
    expect(dbp.theta).toBeCloseTo(expected[i]!, 5);
  });
});

test('β of the first θ, 2, is 0.88', () => {
  expect(sigmoid(2)).toBeCloseTo(0.88, 2);
});
