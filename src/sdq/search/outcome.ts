/** What a selection of candidates comes to: the bits of each layer, and how far each budget is kept. */
import {item} from '../../lookup.ts';
import {costOf, nextLower} from './costs.ts';
import type {Precision, SearchProblem, Selection} from './problem.ts';

/** How far a budget is kept. */
export interface BudgetResult {
  readonly name: string;
  readonly target: number;
  readonly cost: number;
  /** By how much the target was missed; 0 when it was reached. */
  readonly missedBy: number;
}

export interface SelectionOutcome {
  /** In the order of `problem.layers`. */
  readonly bits: readonly Precision[];
  /** In the order of `problem.budgets`. */
  readonly budgets: readonly BudgetResult[];
  /** More than half of the layers that are not pinned have the lowest bitwidth that saves anything. */
  readonly collapsed: boolean;
}

/** The bitwidths of each layer. */
export function bitsOf(problem: Pick<SearchProblem, 'layers' | 'decisions'>, selection: Selection): Precision[] {
  const bits: Partial<Precision>[] = problem.layers.map(() => ({}));
  problem.decisions.forEach(({layers, candidates}, d) => {
    for (const l of layers) bits[l] = {...bits[l], ...candidates[item(selection, d)]};
  });
  return bits as Precision[];
}

/** Whether more than half of the layers that are not pinned have the fewest weight bits that save anything. */
function isCollapsed(problem: SearchProblem, selection: Selection): boolean {
  const free = problem.decisions.flatMap(({layers, candidates}, d) =>
    candidates.length > 1 &&
    item(candidates, 0).weightBits !== undefined &&
    !item(problem.layers, item(layers, 0)).pinned
      ? [d]
      : [],
  );
  return free.filter((d) => nextLower(problem, selection, d, problem.budgets) === null).length > free.length / 2;
}

export function outcomeOf(problem: SearchProblem, selection: Selection): SelectionOutcome {
  return {
    bits: bitsOf(problem, selection),
    budgets: problem.budgets.map((budget) => {
      const cost = costOf(problem, budget, selection);
      return {name: budget.name, target: budget.target, cost, missedBy: Math.max(0, cost - budget.target)};
    }),
    collapsed: isCollapsed(problem, selection),
  };
}
