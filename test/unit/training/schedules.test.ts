import {describe, expect, test} from '@jest/globals';
import * as fc from 'fast-check';

import {learningRateFactor, type Schedule} from '../../../src/training/schedules.ts';

const schedule = (name: Schedule['name'], warmupEpochs = 0): Schedule => ({
  name,
  warmupEpochs,
  milestones: [0.5, 0.75],
  factor: 0.1,
});
const factors = (of: Schedule, steps: number, stepsPerEpoch: number): number[] =>
  Array.from({length: steps}, (_, step) => learningRateFactor(of, step, steps, stepsPerEpoch));

describe('without warm-up', () => {
  test('constant stays at 1', () => {
    expect(factors(schedule('constant'), 3, 1)).toEqual([1, 1, 1]);
  });

  test('cosine: 1 at first, ½ half-way, towards 0 at the end', () => {
    const at = factors(schedule('cosine'), 100, 10);
    expect(at[0]).toBe(1);
    expect(at[50]).toBeCloseTo(0.5, 12);
    expect(at[99]).toBeCloseTo((1 + Math.cos(0.99 * Math.PI)) / 2, 12);
  });

  test('step: times the factor from each milestone on', () => {
    const at = factors(schedule('step'), 8, 2);
    expect(at.slice(0, 4)).toEqual([1, 1, 1, 1]);
    expect(at[4]).toBeCloseTo(0.1, 12);
    expect(at[5]).toBeCloseTo(0.1, 12);
    expect(at[6]).toBeCloseTo(0.01, 12);
  });

  test('one-cycle: 1/25 at first, 1 at 30 %, towards 1/250,000 at the end', () => {
    const at = factors(schedule('one-cycle'), 1000, 10);
    expect(at[0]).toBeCloseTo(0.04, 12);
    expect(at[150]).toBeCloseTo((0.04 + 1) / 2, 12);
    expect(at[300]).toBe(1);
    expect(at[650]).toBeCloseTo((1 + 4e-6) / 2, 12);
    expect(at[999]).toBeLessThan(1e-4);
  });
});

describe('with warm-up', () => {
  test('rises by equal amounts and reaches the schedule with the last of its steps', () => {
    const at = factors(schedule('cosine', 2), 20, 2);
    expect(at.slice(0, 5)).toEqual([0.25, 0.5, 0.75, 1, 1]);
    expect(at[12]).toBeCloseTo(0.5, 12);
  });

  test('milestones stay fractions of the whole phase', () => {
    const at = factors(schedule('step', 1), 8, 2);
    expect(at.slice(0, 4)).toEqual([0.5, 1, 1, 1]);
    expect(at[4]).toBeCloseTo(0.1, 12);
  });

  test('longer than the phase, it only rises', () => {
    expect(factors(schedule('cosine', 10), 4, 1)).toEqual([0.25, 0.5, 0.75, 1]);
  });
});

test('every factor is above 0 and at most 1', () => {
  fc.assert(
    fc.property(
      fc.constantFrom<Schedule['name']>('constant', 'cosine', 'step', 'one-cycle'),
      fc.integer({min: 1, max: 300}),
      fc.integer({min: 1, max: 40}),
      fc.double({min: 0, max: 20, noNaN: true}),
      (name, steps, stepsPerEpoch, warmup) => {
        for (const factor of factors(schedule(name, warmup), steps, stepsPerEpoch)) {
          expect(factor).toBeGreaterThan(0);
          expect(factor).toBeLessThanOrEqual(1);
        }
      },
    ),
  );
});
