import {describe, expect, test} from '@jest/globals';

import {leastScore} from '../../../../src/plugins/searchers/sensitivity/program.ts';
import {uniform as drawFrom} from '../../../../src/random.ts';
import {costOf, unmetBudgets} from '../../../../src/sdq/search/costs.ts';
import {createBudget, type SearchProblem, type Selection} from '../../../../src/sdq/search/problem.ts';
import {bopsOf, layerCosts, meanWeightBitsOf, searchSpace} from '../../../../src/sdq/search/space.ts';

/** Four layers of random sizes under random budgets, weights and inputs to be decided. */
function randomProblem(seed: number): {problem: SearchProblem; scores: number[][]} {
  const draw = drawFrom(seed, 'bench');
  const layers = ['a', 'b', 'c', 'd'].map((name) => ({
    name,
    params: 1 + Math.floor(1000 * draw()),
    macs: 1 + Math.floor(9000 * draw()),
  }));
  const space = searchSpace(
    layers.map(({name}) => name),
    {candidates: [1, 2, 4], activationBits: [2, 4], pinned: new Map(), joined: [['a', 'b']]},
  );
  const bops = layerCosts(space, bopsOf(layers));
  const most = layers.reduce((sum, {macs}) => sum + 16 * macs, 0);
  return {
    problem: {
      ...space,
      budgets: [
        createBudget('meanWeightBits', 1.5 + 2 * draw(), layerCosts(space, meanWeightBitsOf(layers))),
        createBudget('bops', most * (0.3 + 0.5 * draw()), bops),
      ],
      steps: 1,
      seed: 0,
    },
    scores: space.decisions.map(({candidates}) => candidates.map(() => 2 * draw() - 0.5)),
  };
}

function* selections({decisions}: SearchProblem, from: Selection = []): Generator<Selection> {
  if (from.length === decisions.length) yield from;
  else
    for (let c = 0; c < decisions[from.length]!.candidates.length; c++)
      yield* selections({decisions} as SearchProblem, [...from, c]);
}

const total = (scores: readonly (readonly number[])[], selection: Selection): number =>
  scores.reduce((sum, row, d) => sum + row[selection[d]!]!, 0);

describe('the integer program', () => {
  test('finds what trying every selection finds, under two budgets and with costs of two decisions', async () => {
    for (let seed = 0; seed < 8; seed++) {
      const {problem, scores} = randomProblem(seed);
      const allowed = [...selections(problem)].filter((selection) => unmetBudgets(problem, selection).length === 0);
      expect(allowed.length).toBeGreaterThan(0);
      const best = Math.min(...allowed.map((selection) => total(scores, selection)));
      const found = await leastScore(problem, scores);
      expect(unmetBudgets(problem, found)).toEqual([]);
      expect(total(scores, found)).toBeCloseTo(best, 6);
    }
  });

  test('budgets that no selection keeps are refused with targets that one keeps', async () => {
    const {problem, scores} = randomProblem(3);
    const short = {...problem, budgets: problem.budgets.map((budget) => ({...budget, target: budget.target * 0.05}))};
    const least = Math.min(
      ...[...selections(short)].map((selection) =>
        Math.max(...short.budgets.map((budget) => costOf(short, budget, selection) / budget.target)),
      ),
    );
    const error = await leastScore(short, scores).catch((reason: unknown) => reason);
    expect(error).toMatchObject({code: 'search-target-infeasible', oclif: {exit: 3}});
    const told = /meanWeightBits ([\d.]+) and bops ([\d.]+)\.$/.exec((error as Error).message)!;
    expect(Number(told[1])).toBeCloseTo(least * short.budgets[0]!.target, 2);
    expect(Number(told[2])).toBeCloseTo(least * short.budgets[1]!.target, 1);
  });
});
