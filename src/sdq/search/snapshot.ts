/** What a search by differentiable bitwidth parameters has reached: for the journal and for the strategies kept on the way. Pure. */
import {item} from '../../lookup.ts';
import {costOf, expectedCostOf, layerCostsOf} from './costs.ts';
import {committed, committedCost, oddsOf, scheduledCost, type DbpProblem, type SearchState} from './dbp-state.ts';
import type {Candidate, Decision} from './problem.ts';

/** Prices, costs and probabilities at a step: for the journal. */
export interface SearchSnapshot {
  readonly step: number;
  readonly budgets: readonly {
    readonly name: string;
    /** Price of one of the target's unit, e.g. of a mean bit or of a millisecond. */
    readonly lambda: number;
    readonly expected: number;
    readonly committed: number;
    readonly scheduled: number;
    /** What each layer adds to `committed`, in the order of `problem.layers`. */
    readonly layers: readonly number[];
  }[];
  readonly decisions: readonly {readonly decision: Decision; readonly committed: Candidate; readonly beta: number}[];
}

export function searchSnapshot(problem: DbpProblem, state: SearchState): SearchSnapshot {
  const odds = oddsOf(problem, state);
  return {
    step: state.step,
    budgets: problem.budgets.map((budget, k) => ({
      name: budget.name,
      lambda: item(state.lambdas, k) / budget.unit,
      expected: expectedCostOf(problem, budget, odds),
      committed: committedCost(problem, state, budget),
      scheduled: scheduledCost(problem, state, budget),
      layers: layerCostsOf(problem, budget, committed(state)),
    })),
    decisions: problem.decisions.map((decision, d) => ({
      decision,
      committed: item(decision.candidates, item(state.decisions, d).candidate),
      beta: item(odds, d).beta,
    })),
  };
}

/** The part of the way to the targets that is left: 1 at the start, 0 when every target is reached. */
export function remainingWay(problem: DbpProblem, state: SearchState): number {
  return Math.max(
    ...problem.budgets.map((budget) => {
      const gap = committedCost(problem, state, budget) - budget.target;
      return gap <= 0 ? 0 : gap / (costOf(problem, budget, state.start) - budget.target);
    }),
  );
}
