/** Strategies kept on the way of one search from its highest candidates to its targets. Plain data, pure. [ours] */
import {invalidInput} from '../../errors.ts';
import {item} from '../../lookup.ts';
import {costOf} from './costs.ts';
import {committed, type DbpProblem, type SearchState} from './dbp-state.ts';
import {bitsOf} from './outcome.ts';
import type {Precision, SearchProblem} from './problem.ts';
import {remainingWay} from './snapshot.ts';

/** Where the search stood when a strategy was kept. */
export interface KeptPoint {
  /** Of `count` evenly spaced ones: `count` is the target. */
  readonly level: number;
  /** Steps of the search before it. */
  readonly step: number;
  readonly bits: readonly Precision[];
  /** In the order of `problem.budgets`. */
  readonly costs: readonly number[];
  /** The task's primary metric of the network as it was then, at these bits, on the validation images. */
  readonly value: number;
  /** The task's loss there. */
  readonly loss: number;
}

/**
 * The level to keep now: the last one that the search has come down to, unless it is kept.
 * @param count of levels, evenly spaced from the highest candidates (not kept) to the targets
 */
export function dueLevel(
  problem: DbpProblem,
  state: SearchState,
  count: number,
  kept: readonly KeptPoint[],
): number | null {
  const level = Math.floor((1 - remainingWay(problem, state)) * count + 1e-9);
  return level > (kept.at(-1)?.level ?? 0) ? level : null;
}

export function keepPoint(
  problem: DbpProblem,
  state: SearchState,
  level: number,
  {value, loss}: {readonly value: number; readonly loss: number},
): KeptPoint {
  const selection = committed(state);
  const costs = problem.budgets.map((budget) => costOf(problem, budget, selection));
  return {level, step: state.step, bits: bitsOf(problem, selection), costs, value, loss};
}

/** Whether another point costs no more on any budget and has a lower loss. */
export function isDominated(point: KeptPoint, points: readonly KeptPoint[]): boolean {
  return points.some(({costs, loss}) => loss < point.loss && costs.every((cost, k) => cost <= item(point.costs, k)));
}

/**
 * Points read back from a checkpoint.
 * @throws SdqError (exit 3) when they are not points of this problem
 */
export function parsePoints(value: unknown, problem: SearchProblem, file: string): KeptPoint[] {
  const isNumber = (entry: unknown): boolean => typeof entry === 'number' && Number.isFinite(entry);
  const isList = (entry: unknown, length: number, isItem: (item: unknown) => boolean): boolean =>
    Array.isArray(entry) && entry.length === length && entry.every(isItem);
  const isBits = (entry: unknown): boolean => {
    const {weightBits, activationBits} = (entry ?? {}) as Partial<Precision>;
    return isNumber(weightBits) && isNumber(activationBits);
  };
  const isPoint = (entry: unknown): boolean => {
    const {level, step, bits, costs, value, loss} = (entry ?? {}) as Partial<KeptPoint>;
    return (
      [level, step, value, loss].every(isNumber) &&
      isList(bits, problem.layers.length, isBits) &&
      isList(costs, problem.budgets.length, isNumber)
    );
  };
  if (Array.isArray(value) && value.every(isPoint)) return value as KeptPoint[];
  throw invalidInput(
    'search-state-broken',
    `${file}: state of the search: /pareto is not a list of kept strategies of this search.`,
  );
}
