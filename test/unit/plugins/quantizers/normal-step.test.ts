import {describe, expect, test} from '@jest/globals';

import {fullRangeSteps, midRiseSteps, narrowRangeSteps} from '../../../../src/plugins/quantizers/normal-step.ts';

/** Mean squared error of rounding a unit Gaussian on [−6, 6] to the levels, by the midpoint rule. */
function meanSquaredError(levels: readonly number[]): number {
  const cells = 24_000;
  const width = 12 / cells;
  let sum = 0;
  let nearest = 0;
  for (let i = 0; i < cells; i++) {
    const x = -6 + (i + 0.5) * width;
    while (nearest + 1 < levels.length && Math.abs(levels[nearest + 1]! - x) < Math.abs(levels[nearest]! - x))
      nearest++;
    sum += (x - levels[nearest]!) ** 2 * Math.exp((-x * x) / 2) * width;
  }
  return sum / Math.sqrt(2 * Math.PI);
}

const range = (low: number, high: number): number[] => Array.from({length: high - low + 1}, (_, i) => low + i);
const full = (bits: number): number[] => (bits === 1 ? [-0.5, 0.5] : range(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1));
const narrow = (bits: number): number[] =>
  bits === 1 ? [-0.5, 0.5] : range(-(2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1);
const midRise = (bits: number): number[] => range(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map((q) => q + 0.5);

describe.each([
  ['full range', fullRangeSteps, full],
  ['narrow range', narrowRangeSteps, narrow],
  ['mid-rise', midRiseSteps, midRise],
])('%s', (_, steps, grid) => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('%i bits: the step has the least error', (bits) => {
    const error = (step: number): number => meanSquaredError(grid(bits).map((q) => q * step));
    const step = steps[bits - 1]!;
    for (const factor of [0.5, 0.9, 0.99, 1.01, 1.1, 2]) expect(error(step)).toBeLessThan(error(step * factor));
  });
});

test('one bit: the level is the mean magnitude of a unit Gaussian, √(2/π)', () => {
  expect(fullRangeSteps[0]! / 2).toBeCloseTo(Math.sqrt(2 / Math.PI), 4);
});

// Max, "Quantizing for minimum distortion" (1960), table II: equally spaced levels for a unit Gaussian.
test.each([
  [1, 1.596, 0.3634],
  [2, 0.9957, 0.1188],
  [3, 0.586, 0.03744],
  [4, 0.3352, 0.01154],
  [5, 0.1881, 0.003495],
])('mid-rise, %i bits: step and error are Max’s', (bits, step, error) => {
  expect(Math.abs(midRiseSteps[bits - 1]! - step)).toBeLessThan(3e-4);
  expect(meanSquaredError(midRise(bits).map((q) => q * midRiseSteps[bits - 1]!)) / error).toBeCloseTo(1, 3);
});

test('the steps of the printed table are within 3 % of these, their errors within 2 %', () => {
  const printed = [2 * 0.7973, 1.0486, 0.6025, 0.3379, 0.1881, 0.1049, 0.0566, 0.0316];
  printed.forEach((step, i) => {
    expect(Math.abs(step / fullRangeSteps[i]! - 1)).toBeLessThan(0.03);
    const error = (s: number): number => meanSquaredError(full(i + 1).map((q) => q * s));
    expect(error(step) / error(fullRangeSteps[i]!) - 1).toBeLessThan(0.02);
  });
});
