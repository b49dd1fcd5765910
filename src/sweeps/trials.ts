/** Which parameters trial number 0, 1, 2 … of a sweep has: a pure function of the sweep, the seed and the number. */
import {present} from '../lookup.ts';
import {uniform} from '../random.ts';
import {drawValue, gridOf} from './distributions.ts';
import type {Sweep} from './sweep-file.ts';

/** By dotted key of the config. */
export type Assignment = Readonly<Record<string, unknown>>;

/** How many trials there are; Infinity for a random search without `run_cap`. */
export function trialCount({method, parameters, runCap}: Sweep): number {
  const points =
    method === 'grid'
      ? parameters.reduce((product, {spec}) => product * present(gridOf(spec), 'grid').count, 1)
      : Infinity;
  return Math.min(points, runCap ?? Infinity);
}

/** @param index from 0; in a grid the last parameter changes fastest */
export function assignment({method, parameters}: Sweep, seed: number, index: number): Assignment {
  if (method !== 'grid') {
    return Object.fromEntries(
      parameters.map(({name, spec}, i) => [name, drawValue(spec, uniform(seed, 'sweep', index, i))]),
    );
  }
  let rest = index;
  const entries = parameters.toReversed().map(({name, spec}): [string, unknown] => {
    const {count, at} = present(gridOf(spec), 'grid');
    const value = at(rest % count);
    rest = Math.floor(rest / count);
    return [name, value];
  });
  return Object.fromEntries(entries.reverse());
}

/** What every trial of a sweep with an end has, by its number from 1. */
export function trialsOf(sweep: Sweep, seed: number): ReadonlyMap<number, Assignment> {
  return new Map(Array.from({length: trialCount(sweep)}, (_, i) => [i + 1, assignment(sweep, seed, i)]));
}
