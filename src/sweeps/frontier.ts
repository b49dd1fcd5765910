/** A frontier: what search methods reach at budgets, over seeds. Which runs it has, and what they come to. */
import {existsSync} from 'node:fs';
import path from 'node:path';

import {item} from '../lookup.ts';
import {findRun} from '../runs/find-run.ts';
import {metricOfRun, type RunMetric, type RunRecord} from '../runs/run-record.ts';
import type {Trial} from './runner.ts';
import type {Assignment} from './trials.ts';

export interface FrontierPlan {
  /** Key of `search.target`: what is on the axis. */
  readonly budget: string;
  /** The targets of each search method. */
  readonly methods: readonly {readonly name: string; readonly targets: readonly number[]}[];
  readonly seeds: readonly number[];
}

/** One run of a frontier. */
export interface FrontierRun {
  readonly method: string;
  readonly target: number;
  readonly seed: number;
  readonly runId: string;
  readonly status: Trial['status'];
  /** Of the strategy, in the budget's unit; null until the search has ended. */
  readonly cost: number | null;
  /** The task's metric on the test images and, of the best epoch, on the validation images; null until trained. */
  readonly test: number | null;
  readonly validation: number | null;
  /** The same of the full-precision network on the test images. */
  readonly fullPrecision: number | null;
  /** From start to end; null for a run that was resumed or has not ended. */
  readonly seconds: number | null;
}

/** The finished runs of one method at one target. */
export interface FrontierPoint {
  readonly method: string;
  readonly target: number;
  readonly runs: number;
  /** Means over the runs. */
  readonly cost: number;
  readonly test: number;
  /** Sample standard deviation of `test`, and that of its mean; null for one run. */
  readonly deviation: number | null;
  readonly standardError: number | null;
  /** `METHOD@TARGET` of points that cost no more and are better, or are as good and cost less. */
  readonly dominatedBy: readonly string[];
}

/** What each run is given; the whole frontier of the first seed comes first. */
export function frontierAssignments({budget, methods, seeds}: FrontierPlan): Assignment[] {
  return seeds.flatMap((seed) =>
    methods.flatMap(({name, targets}) =>
      targets.map((target) => ({'search.method': name, [`search.target.${budget}`]: target, seed})),
    ),
  );
}

/** Numbers the runs: those of an earlier call keep theirs. */
export function numberTrials(
  earlier: readonly Trial[],
  wanted: readonly Assignment[],
): ReadonlyMap<number, Assignment> {
  const numbers = new Map(earlier.map(({number, parameters}) => [JSON.stringify(parameters), number]));
  let next = 1 + Math.max(0, ...numbers.values());
  return new Map(wanted.map((parameters) => [numbers.get(JSON.stringify(parameters)) ?? next++, parameters]));
}

interface StoredResults {
  readonly fullPrecision?: Readonly<Record<string, number>>;
  readonly search?: {readonly budgets: readonly {readonly name: string; readonly cost: number}[]};
  readonly train?: Readonly<Record<string, {readonly best: number | null; readonly test: number}>>;
}

/** @param runs folder of the runs */
export function frontierRuns(
  {budget}: Pick<FrontierPlan, 'budget'>,
  trials: readonly Trial[],
  runs: string,
): {readonly metric: RunMetric | null; readonly runs: readonly FrontierRun[]} {
  let metric: RunMetric | null = null;
  const rows = trials.map(({parameters, runId, status}): FrontierRun => {
    const directory = path.join(runs, runId);
    const record = existsSync(path.join(directory, 'run.json')) ? findRun(runs, runId).record : undefined;
    if (record !== undefined) metric ??= metricOfRun(record);
    const {fullPrecision, search, train} = (record?.results ?? {}) as StoredResults;
    const name = record === undefined ? '' : metricOfRun(record).name;
    return {
      method: parameters['search.method'] as string,
      target: parameters[`search.target.${budget}`] as number,
      seed: parameters['seed'] as number,
      runId,
      status,
      cost: search?.budgets.find((one) => one.name === budget)?.cost ?? null,
      test: train?.[name]?.test ?? null,
      validation: train?.[name]?.best ?? null,
      fullPrecision: fullPrecision?.[name] ?? null,
      seconds: record === undefined ? null : secondsOf(record),
    };
  });
  return {metric, runs: rows};
}

function secondsOf({endedAt, resumedAt, startedAt}: RunRecord): number | null {
  if (endedAt === null || resumedAt.length > 0) return null;
  return (Date.parse(endedAt) - Date.parse(startedAt)) / 1000;
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** One point for each method and target that has a finished run, by method, then by cost. */
export function frontierPoints(runs: readonly FrontierRun[], better: RunMetric['better']): FrontierPoint[] {
  const groups = new Map<string, (FrontierRun & {readonly cost: number; readonly test: number})[]>();
  for (const {cost, test, ...run} of runs) {
    if (run.status !== 'finished' || cost === null || test === null) continue;
    const name = `${run.method}@${run.target}`;
    groups.set(name, [...(groups.get(name) ?? []), {...run, cost, test}]);
  }
  const points = [...groups].map(([name, group]) => {
    const {method, target} = item(group, 0);
    const tests = group.map(({test}) => test);
    const average = mean(tests);
    const deviation =
      tests.length < 2
        ? null
        : Math.sqrt(tests.reduce((sum, test) => sum + (test - average) ** 2, 0) / (tests.length - 1));
    return {
      name,
      method,
      target,
      runs: group.length,
      cost: mean(group.map(({cost}) => cost)),
      test: average,
      deviation,
      standardError: deviation === null ? null : deviation / Math.sqrt(tests.length),
    };
  });
  const methods = points.map(({method}) => method);
  const sign = better === 'higher' ? 1 : -1;
  return points
    .map(({name: _, ...point}) => ({
      ...point,
      dominatedBy: points
        .filter(({cost, test}) => {
          const gain = sign * (test - point.test);
          return (cost <= point.cost && gain > 0) || (cost < point.cost && gain === 0);
        })
        .map(({name}) => name),
    }))
    .toSorted((a, b) => methods.indexOf(a.method) - methods.indexOf(b.method) || a.cost - b.cost);
}
