import {expect, jest, test} from '@jest/globals';

import type {SearchContext, SearchSettings} from '../../../../src/plugin-api/searcher.ts';
import {uniform} from '../../../../src/plugins/searchers/uniform.ts';
import {createBudget} from '../../../../src/sdq/search/problem.ts';
import {layerCosts, meanWeightBitsOf, searchSpace} from '../../../../src/sdq/search/space.ts';

const settings: SearchSettings = {
  candidates: [1, 2, 3, 4, 5, 6, 7, 8],
  activationBits: 32,
  targets: {meanWeightBits: 2.9},
  start: 'highest',
  pareto: 0,
  dbp: {learningRate: 0.1, thetaInit: 2, betaThreshold: 0.5, tauStart: 1, tauEnd: 0.3},
  dualRate: 0.5,
  rampFraction: 0.85,
  quantizationErrorWeight: 0,
};

test('every layer that is not pinned gets the whole bits of the target; what the pinned ones add is reported as missed', async () => {
  const layers = [
    {name: 'a', params: 100},
    {name: 'b', params: 300},
    {name: 'c', params: 600},
  ];
  const {candidates} = uniform.prepare!(settings);
  expect(candidates).toEqual([2]);
  const space = searchSpace(
    layers.map(({name}) => name),
    {candidates, activationBits: 32, pinned: new Map([['a', 8]])},
  );
  const budget = createBudget('meanWeightBits', 2, layerCosts(space, meanWeightBitsOf(layers)));
  const log = jest.fn();
  const searcher = await uniform.load();
  const outcome = await searcher.search({
    problem: {...space, budgets: [budget], steps: 10, seed: 0},
    log,
  } as Partial<SearchContext> as SearchContext);
  expect(outcome.bits.map(({weightBits}) => weightBits)).toEqual([8, 2, 2]);
  // A tenth of the weights have 6 bits more than the target.
  expect(outcome.budgets[0]!.missedBy).toBeCloseTo(0.6, 12);
  expect(outcome.details).toEqual({collapsed: false, points: []});
  expect(log).toHaveBeenCalledWith({
    'search/committedMeanBits': expect.closeTo(2.6, 12),
    'dbp/a/bits': 8,
    'dbp/a/cost': expect.closeTo(0.8, 12),
    'dbp/b/bits': 2,
    'dbp/b/cost': expect.closeTo(0.6, 12),
    'dbp/c/bits': 2,
    'dbp/c/cost': expect.closeTo(1.2, 12),
  });
});

test.each([
  [7100, [8, 7, 7]],
  [7099, [8, 6, 6]],
  [6100, [8, 5, 5]],
  [1, [8, 1, 1]],
])('under another budget, %i bits of weights, the most bits that keep it', async (target, bits) => {
  const params = [100, 300, 600];
  const names = ['a', 'b', 'c'];
  expect(uniform.prepare!({...settings, targets: {sizeKiB: 1}}).candidates).toEqual(settings.candidates);
  const {candidates} = settings;
  const space = searchSpace(names, {candidates, activationBits: 32, pinned: new Map([['a', 8]])});
  const size = layerCosts(space, (l, {weightBits}) => params[l]! * weightBits);
  const problem = {...space, budgets: [createBudget('sizeKiB', target, size)], steps: 10, seed: 0};
  const searcher = await uniform.load();
  const outcome = await searcher.search({problem, log: () => undefined} as Partial<SearchContext> as SearchContext);
  expect(outcome.bits.map(({weightBits}) => weightBits)).toEqual(bits);
  expect(outcome.budgets[0]!.missedBy > 0).toBe(target === 1);
});

test.each<[Partial<SearchSettings>, string]>([
  [{activationBits: [4, 8]}, '/search/activationBits (a list)'],
  [{pareto: 3}, '/search/pareto'],
])('%j is refused', (change, place) => {
  expect(() => uniform.prepare!({...settings, ...change})).toThrow(
    expect.objectContaining({
      code: 'uniform-search',
      message: `/search/method is uniform, which takes no ${place}.`,
      oclif: {exit: 3},
    }),
  );
});
