/**
 * Early termination by Hyperband (Li et al., 2018, arXiv:1603.06560) in the form that W&B gives it: at each bracket, a
 * number of logged values of the metric, a trial must be among the best 1/eta of all trials that got so far.
 */
import {item, present} from '../lookup.ts';
import type {EarlyTerminate} from './sweep-file.ts';

/** Brackets in rising order: how many values of the metric a trial has logged when it is compared. */
export function brackets({min_iter: first, max_iter: last, s = 0, eta = 3}: EarlyTerminate): number[] {
  if (last !== undefined && s > 0) {
    return Array.from({length: s}, (_, i) => Math.floor(last / eta ** (i + 1)))
      .filter((bracket) => bracket >= 1)
      .reverse();
  }
  const ends = new Set<number>();
  for (let bracket = present(first, 'min_iter'); bracket < 1e9; bracket *= eta) ends.add(Math.floor(bracket));
  return [...ends];
}

/**
 * Whether a running trial is to be stopped.
 * @param history its values of the metric, lower is better
 * @param all those of every trial so far, this one included
 */
export function isOutclassed(
  history: readonly number[],
  all: readonly (readonly number[])[],
  rule: EarlyTerminate,
): boolean {
  const bracket = brackets(rule).findLast((candidate) => candidate <= history.length);
  if (bracket === undefined) return false;
  const reached = all.flatMap((values) => (values.length >= bracket ? [item(values, bracket - 1)] : []));
  const threshold = item(
    reached.sort((a, b) => a - b),
    Math.floor(reached.length / (rule.eta ?? 3)),
  );
  const value = (rule.strict ?? true) ? item(history, bracket - 1) : Math.min(...history);
  return value > threshold;
}
