/**
 * What a search decides and what it may cost, as plain data: which bitwidths each decision is between, and the budgets that the
 * result must keep. How a searcher comes to its result is its own business.
 */
import {invalidInput} from '../../errors.ts';
import {item} from '../../lookup.ts';

/** Bitwidths of a layer. */
export interface Precision {
  readonly weightBits: number;
  /** Of the layer's input. */
  readonly activationBits: number;
}

/** What a decision sets: the bits of weights, of inputs, or both. */
export type Candidate = Partial<Precision>;

/** One thing to decide: the bits of a layer's weights, of its input, or of both together. */
export interface Decision {
  /** Indices of the layers that it is about; several that have the same weights, or whose inputs must have the same bits. */
  readonly layers: readonly number[];
  /** From few bits to many: each has more than the one before in some part and fewer in none. */
  readonly candidates: readonly Candidate[];
}

/** What one layer adds to a cost, by the candidates of the decisions that it depends on. */
export interface LayerCost {
  /** Indices of the decisions. */
  readonly decisions: readonly number[];
  /** An entry for each combination of their candidates, the last decision's running fastest. */
  readonly table: readonly number[];
}

/** A cost that may not exceed its target: the sum of the layers' costs. */
export interface Budget {
  /** As in the config: `meanWeightBits`, `latencyMs`, … */
  readonly name: string;
  readonly target: number;
  /** In the order of `problem.layers`, in the unit of the target. */
  readonly costs: readonly LayerCost[];
  /** One mean bit, or what a mean bit is worth of another cost: makes prices of different budgets comparable. */
  readonly unit: number;
}

export interface SearchProblem {
  /** A pinned layer is held by the user: it does not count when a collapse is judged. */
  readonly layers: readonly {readonly name: string; readonly pinned: boolean}[];
  readonly decisions: readonly Decision[];
  /** At least one. */
  readonly budgets: readonly Budget[];
  /** Training steps the search may take. */
  readonly steps: number;
  readonly seed: number;
}

/** The index of a candidate for each decision, in the order of `problem.decisions`. */
export type Selection = readonly number[];

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** The least and the most that the candidates can cost, each layer for itself. */
function range({costs}: Pick<Budget, 'costs'>): {least: number; most: number} {
  return {
    least: sum(costs.map(({table}) => Math.min(...table))),
    most: sum(costs.map(({table}) => Math.max(...table))),
  };
}

/** The bits from 8 to 1: a mean bit is worth a seventh of what a cost can fall by. */
const spanBits = 7;

/**
 * A budget with its unit. The unit of mean weight bits is one of them; of another cost a seventh of its range, so that a price
 * rises as fast whatever the cost is counted in.
 */
export function createBudget(name: string, target: number, costs: readonly LayerCost[]): Budget {
  const {least, most} = range({costs});
  return {name, target, costs, unit: name === 'meanWeightBits' || most === least ? 1 : (most - least) / spanBits};
}

/** The smallest number of four digits that is not below. */
function roundedUp(value: number): number {
  if (value <= 0) return value;
  const digit = 10 ** (Math.floor(Math.log10(value)) - 3);
  return Number((Math.ceil(value / digit) * digit).toPrecision(4));
}

/** @throws SdqError (exit 3) for a target below what the candidates can reach, with the smallest one that they can */
export function checkTargets({budgets}: Pick<SearchProblem, 'budgets'>): void {
  const tight = budgets.filter((budget) => range(budget).least > budget.target);
  if (tight.length === 0) return;
  throw invalidInput(
    'search-target-infeasible',
    tight
      .map((budget) => {
        const least = roundedUp(range(budget).least);
        return `/search/target/${budget.name} is ${budget.target}; the smallest that the candidates can reach is ${least}.`;
      })
      .join(' '),
    ['Raise the target, add lower candidates, or pin fewer layers.'],
  );
}

/** Bits that a layer's input may get in the search. */
export function inputCandidates({decisions}: Pick<SearchProblem, 'decisions'>, layer: number): number[] {
  const bits = decisions
    .filter(({layers}) => layers.includes(layer))
    .flatMap(({candidates}) => candidates.flatMap(({activationBits}) => activationBits ?? []));
  return [...new Set(bits)];
}

/** The index of each layer's decision about its weights. */
export function weightDecisions({layers, decisions}: Pick<SearchProblem, 'layers' | 'decisions'>): number[] {
  return layers.map((_, l) =>
    decisions.findIndex(
      (decision) => decision.layers.includes(l) && item(decision.candidates, 0).weightBits !== undefined,
    ),
  );
}
