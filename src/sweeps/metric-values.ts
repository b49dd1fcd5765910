/** A metric of a trial, read from the journal of its run, as a sweep of W&B sees it. */
import {existsSync} from 'node:fs';

import {journalOf, readJournal} from '../runs/journal.ts';
import {flatten} from '../tracking/flatten.ts';
import type {Metric} from './sweep-file.ts';

/** @param directory of the run */
function* values(directory: string, name: string): Generator<number> {
  const file = journalOf(directory);
  if (!existsSync(file)) return;
  for (const {kind, data} of readJournal(file)) {
    const value = kind === 'metric' ? data[name] : kind === 'summary' ? flatten(data, '/').get(name) : undefined;
    if (typeof value === 'number') yield value;
  }
}

/** The last finite value of a metric or of a summary; null when there is none. */
export function lastValue(directory: string, name: string): number | null {
  let last: number | null = null;
  for (const value of values(directory, name)) last = value;
  return last;
}

/** All finite values in their order, turned so that lower is better. */
export function metricHistory(directory: string, {name, goal}: Metric): number[] {
  return Array.from(values(directory, name), (value) => (goal === 'maximize' ? -value : value));
}

export function isBetter({goal}: Metric, a: number, b: number): boolean {
  return goal === 'maximize' ? a > b : a < b;
}

export function isTargetReached(metric: Metric, value: number): boolean {
  return metric.target !== null && !isBetter(metric, metric.target, value);
}
