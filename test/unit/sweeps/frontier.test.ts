import {describe, expect, test} from '@jest/globals';

import {
  frontierAssignments,
  frontierPoints,
  numberTrials,
  type FrontierPlan,
  type FrontierRun,
} from '../../../src/sweeps/frontier.ts';
import type {Trial} from '../../../src/sweeps/runner.ts';

const plan: FrontierPlan = {
  budget: 'bops',
  methods: [
    {name: 'a', targets: [1, 2]},
    {name: 'b', targets: [2]},
  ],
  seeds: [0, 7],
};

test('the whole frontier of a seed comes before the next seed', () => {
  const given = frontierAssignments(plan).map(Object.values);
  expect(given).toEqual([
    ['a', 1, 0],
    ['a', 2, 0],
    ['b', 2, 0],
    ['a', 1, 7],
    ['a', 2, 7],
    ['b', 2, 7],
  ]);
  expect(frontierAssignments(plan)[0]).toEqual({'search.method': 'a', 'search.target.bops': 1, seed: 0});
});

test('runs of an earlier call keep their numbers, new ones get the next', () => {
  const wanted = frontierAssignments(plan);
  const earlier = [3, 5].map((number, i) => ({number, parameters: wanted[i + 1]!}) as Trial);
  expect([...numberTrials(earlier, wanted).keys()]).toEqual([6, 3, 5, 7, 8, 9]);
  expect([...numberTrials([], wanted).keys()]).toEqual([1, 2, 3, 4, 5, 6]);
});

describe('points', () => {
  const run = (method: string, target: number, cost: number, test: number, change: Partial<FrontierRun> = {}) => ({
    ...{method, target, cost, test, seed: 0, runId: '', status: 'finished' as const},
    ...{validation: null, fullPrecision: null, seconds: null, ...change},
  });
  const runs = [
    run('b', 4, 4, 0.5),
    run('a', 3, 2.9, 0.8),
    run('a', 3, 2.7, 0.6),
    run('a', 2, 2, 0.7),
    run('b', 2, 2, 0.6),
    run('b', 2, 1, 0.1, {status: 'failed'}),
    run('b', 1, 1, 0, {test: null}),
  ];

  test('means, deviations and what dominates what, by method and cost', () => {
    const points = frontierPoints(runs, 'higher');
    expect(points.map(({cost, method, runs: count, target}) => [method, target, cost, count])).toEqual([
      ['b', 2, 2, 1],
      ['b', 4, 4, 1],
      ['a', 2, 2, 1],
      ['a', 3, expect.closeTo(2.8, 12), 2],
    ]);
    const [b2, b4, a2, a3] = points;
    expect(a3!.test).toBeCloseTo(0.7, 12);
    // Half of 0.2 from the mean each, by n − 1.
    expect(a3!.deviation).toBeCloseTo(Math.SQRT2 / 10, 12);
    expect(a3!.standardError).toBeCloseTo(0.1, 12);
    expect(b2).toMatchObject({deviation: null, standardError: null, dominatedBy: ['a@2']});
    expect(b4!.dominatedBy.toSorted()).toEqual(['a@2', 'a@3', 'b@2']);
    expect(a2!.dominatedBy).toEqual([]);
    // As good as a@2 and dearer.
    expect(a3!.dominatedBy).toEqual(['a@2']);
  });

  test('a metric that is better when lower', () => {
    const points = frontierPoints(runs, 'lower');
    expect(points.find(({method, target}) => method === 'b' && target === 4)!.dominatedBy).toEqual([]);
    expect(points.find(({method, target}) => method === 'a' && target === 2)!.dominatedBy).toEqual(['b@2']);
  });
});
