/** Runs seen from outside: one line each, their latest metrics, what differs between two. */
import {existsSync} from 'node:fs';
import path from 'node:path';

import {readFileBounded} from '../files.ts';
import {readJournal} from '../runs/journal.ts';
import type {FoundRun, RunRecord, RunStatus} from '../runs/run-directory.ts';
import type {Results} from './results.ts';

export interface RunSummary {
  readonly id: string;
  readonly command: string;
  readonly status: RunStatus;
  readonly startedAt: string;
  readonly model: string | null;
  readonly data: string | null;
  readonly meanWeightBits: number | null;
  /** On the test split, a fraction of 1; null before it was measured. */
  readonly accuracy: number | null;
}

export interface Difference {
  /** Dotted path, e.g. `config.search.epochs`. */
  readonly key: string;
  readonly a?: unknown;
  readonly b?: unknown;
}

const strategyLimitBytes = 64 << 20;

export function summarise(run: RunRecord): RunSummary {
  const results = run.results as Results;
  const config = run.config as {readonly model?: {readonly name: string}; readonly data?: {readonly name: string}};
  return {
    id: run.id,
    command: run.command,
    status: run.status,
    startedAt: run.startedAt,
    model: config.model?.name ?? null,
    data: config.data?.name ?? null,
    meanWeightBits: results.train?.meanWeightBits ?? results.search?.meanWeightBits ?? null,
    accuracy:
      results.train?.accuracy.test ?? results.pretrain?.accuracy.test ?? results.fullPrecision?.accuracy ?? null,
  };
}

/** The newest value of every metric in the journal. @param directory of the run */
export function lastMetrics(directory: string): Readonly<Record<string, unknown>> {
  const metrics: Record<string, unknown> = {};
  const file = path.join(directory, 'events.jsonl');
  if (!existsSync(file)) return metrics;
  for (const {kind, data} of readJournal(file)) if (kind === 'metric') Object.assign(metrics, data);
  return metrics;
}

/** Leaves of config, results and bits per layer that are not the same in both runs, in the order of their keys. */
export function differences(a: FoundRun, b: FoundRun): readonly Difference[] {
  const [left, right] = [a, b].map(({record: {config, results}, directory}) =>
    flatten({config, results, bits: bitsOf(directory)}),
  ) as [Map<string, unknown>, Map<string, unknown>];
  return [...new Set([...left.keys(), ...right.keys()])]
    .sort()
    .filter((key) => left.get(key) !== right.get(key))
    .map((key) => ({
      key,
      ...(left.has(key) ? {a: left.get(key)} : {}),
      ...(right.has(key) ? {b: right.get(key)} : {}),
    }));
}

/** Weight bits of each layer of the run's strategy. */
function bitsOf(directory: string): Readonly<Record<string, number>> {
  const file = path.join(directory, 'strategy.json');
  if (!existsSync(file)) return {};
  const text = Buffer.from(readFileBounded(file, strategyLimitBytes)).toString('utf8');
  const {layers} = JSON.parse(text) as {layers: readonly {name: string; weightBits: number}[]};
  return Object.fromEntries(layers.map(({name, weightBits}) => [name, weightBits]));
}

function flatten(value: unknown, prefix = '', into = new Map<string, unknown>()): Map<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const [key, child] of Object.entries(value)) flatten(child, prefix === '' ? key : `${prefix}.${key}`, into);
  } else {
    into.set(prefix, Array.isArray(value) ? JSON.stringify(value) : value);
  }
  return into;
}
