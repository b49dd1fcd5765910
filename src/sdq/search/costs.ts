/** What a selection of candidates costs, what it is expected to cost under probabilities, and which candidate comes next. Pure. [ours] */
import {item, present} from '../../lookup.ts';
import {sum, type Budget, type Candidate, type LayerCost, type SearchProblem, type Selection} from './problem.ts';

/** The two candidates that a decision is between. */
export interface Odds {
  /** Indices of candidates; `low` is null where nothing is left to decide. */
  readonly high: number;
  readonly low: number | null;
  /** The probability of `high`; 1 where there is no `low`. */
  readonly beta: number;
}

const totalBits = ({weightBits = 0, activationBits = 0}: Candidate): number => weightBits + activationBits;

/** Every decision at its most bits. */
export function highestSelection({decisions}: Pick<SearchProblem, 'decisions'>): Selection {
  return decisions.map(({candidates}) => candidates.length - 1);
}

/** What each layer costs, in the order of `problem.layers`. */
export function layerCostsOf(problem: SearchProblem, {costs}: Budget, selection: Selection): number[] {
  return costs.map(({decisions, table}) => {
    let index = 0;
    for (const d of decisions) index = index * item(problem.decisions, d).candidates.length + item(selection, d);
    return item(table, index);
  });
}

export function costOf(problem: SearchProblem, budget: Budget, selection: Selection): number {
  return sum(layerCostsOf(problem, budget, selection));
}

/** The budgets above their targets. */
export function unmetBudgets(problem: SearchProblem, selection: Selection): Budget[] {
  return problem.budgets.filter((budget) => costOf(problem, budget, selection) > budget.target);
}

/**
 * What a layer costs at each candidate of decision `d` from the lowest to the selected one: a list for every way in which the
 * layer's other decisions may still go down.
 */
function columns(problem: SearchProblem, cost: LayerCost, selection: Selection, d: number): number[][] {
  let indices = [new Array<number>(item(selection, d) + 1).fill(0)];
  for (const e of cost.decisions) {
    const count = item(problem.decisions, e).candidates.length;
    indices =
      e === d
        ? indices.map((column) => column.map((index, candidate) => index * count + candidate))
        : indices.flatMap((column) =>
            Array.from({length: item(selection, e) + 1}, (_, other) => column.map((index) => index * count + other)),
          );
  }
  return indices.map((column) => column.map((index) => item(cost.table, index)));
}

/** A saving below this part of the layer's cost is rounding. */
const negligible = 1e-9;

/**
 * The next lower candidate worth having: the highest one that saves, a bit, at least half of what the best lower one saves, on some
 * budget and layer. Where bits cost alike it is the next one; candidates that cost as much as a higher one are passed over.
 * @returns null where fewer bits save nothing on these budgets
 */
export function nextLower(
  problem: SearchProblem,
  selection: Selection,
  d: number,
  budgets: readonly Budget[],
): number | null {
  const {candidates, layers} = item(problem.decisions, d);
  const from = item(selection, d);
  if (from === 0) return null;
  let next = -1;
  for (const {costs} of budgets) {
    for (const layer of layers) {
      const cost = item(costs, layer);
      if (!cost.decisions.includes(d)) continue;
      for (const column of columns(problem, cost, selection, d)) {
        const rates = column.slice(0, from).map((lower, candidate) => {
          const saved = item(column, from) - lower;
          return saved > negligible * Math.abs(item(column, from))
            ? saved / (totalBits(item(candidates, from)) - totalBits(item(candidates, candidate)))
            : 0;
        });
        const best = Math.max(0, ...rates);
        if (best === 0) continue;
        next = Math.max(
          next,
          rates.findLastIndex((rate) => rate >= best / 2),
        );
      }
    }
  }
  return next === -1 ? null : next;
}

/** What a layer is expected to cost, its decisions being independent; linear in the β of each of them. */
function expectedLayerCost(
  problem: SearchProblem,
  cost: LayerCost,
  odds: readonly Odds[],
  depth = 0,
  index = 0,
): number {
  const d = cost.decisions[depth];
  if (d === undefined) return item(cost.table, index);
  const {high, low, beta} = item(odds, d);
  const given = (candidate: number): number =>
    expectedLayerCost(problem, cost, odds, depth + 1, index * item(problem.decisions, d).candidates.length + candidate);
  return low === null ? given(high) : beta * given(high) + (1 - beta) * given(low);
}

/** R: the cost expected under the probabilities. Linear in each β, so its gradient is exact. */
export function expectedCostOf(problem: SearchProblem, {costs}: Budget, odds: readonly Odds[]): number {
  return sum(costs.map((cost) => expectedLayerCost(problem, cost, odds)));
}

/** ∂R/∂β of a decision with a lower candidate: the cost expected at its higher candidate minus the cost expected at its lower one. */
export function expectedSaving(problem: SearchProblem, {costs}: Budget, odds: readonly Odds[], d: number): number {
  const {high, low} = item(odds, d);
  const given = (candidate: number): readonly Odds[] => odds.with(d, {high: candidate, low: null, beta: 1});
  return sum(
    item(problem.decisions, d)
      .layers.map((layer) => item(costs, layer))
      .filter(({decisions}) => decisions.includes(d))
      .map(
        (cost) =>
          expectedLayerCost(problem, cost, given(high)) -
          expectedLayerCost(problem, cost, given(present(low, 'lower candidate'))),
      ),
  );
}
