/** Runs seen from outside: one line each, their latest metrics, what differs between two. */
import {existsSync} from 'node:fs';
import path from 'node:path';

import {readTextBounded} from '../files.ts';
import {leaves} from '../mapping.ts';
import {journalOf, readJournal} from '../runs/journal.ts';
import type {FoundRun} from '../runs/find-run.ts';
import {fromCommand, resumeCommand} from '../runs/run-commands.ts';
import {metricOfRun, type RunRecord, type RunStatus} from '../runs/run-record.ts';
import {trainingMetric, type Results} from './results.ts';

export interface RunSummary {
  readonly id: string;
  readonly command: string;
  readonly status: RunStatus;
  readonly startedAt: string;
  /** Seconds from the start (or the last resume) to the end; null where it has none. */
  readonly seconds: number | null;
  /** Why it failed or was stopped. */
  readonly error: RunRecord['error'];
  readonly model: string | null;
  readonly data: string | null;
  readonly meanWeightBits: number | null;
  /**
   * On the test split, a fraction of 1: of the quantized network, and of a run that only pretrains in full precision. Null before it
   * was measured, and for tasks that measure something else.
   */
  readonly accuracy: number | null;
  /** The same of the primary metric of another task. */
  readonly metric?: {readonly name: string; readonly value: number | null};
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
  const metric = metricOfRun(run);
  const training = results.train ?? (results.search === undefined ? results.pretrain : undefined);
  const value = training === undefined ? null : trainingMetric(metric, training).test;
  const config = run.config as {readonly model?: {readonly name: string}; readonly data?: {readonly name: string}};
  return {
    id: run.id,
    command: run.command,
    status: run.status,
    startedAt: run.startedAt,
    seconds: secondsOf(run),
    error: run.error,
    model: config.model?.name ?? null,
    data: config.data?.name ?? null,
    meanWeightBits: results.train?.meanWeightBits ?? results.search?.meanWeightBits ?? null,
    // Bits and accuracy of one row are of one network.
    accuracy: metric.name === 'accuracy' ? value : null,
    ...(metric.name === 'accuracy' ? {} : {metric: {name: metric.name, value}}),
  };
}

function secondsOf({startedAt, resumedAt, endedAt}: RunRecord): number | null {
  const ms = Date.parse(endedAt ?? '') - Date.parse(resumedAt.at(-1) ?? startedAt);
  return Number.isFinite(ms) ? Math.max(0, Math.round(ms / 1000)) : null;
}

/** The command that continues a run that was stopped, or begins anew from one that failed, which would fail again; else null. */
export function nextCommand({record: {command, status}, directory}: FoundRun): string | null {
  if (status === 'interrupted') return resumeCommand(command, directory);
  return status === 'failed' ? fromCommand(command, directory) : null;
}

/** `1 h 02 min`, `3 min 05 s`, `12 s`; undefined where the run has not ended. */
export function durationOf(run: RunRecord): string | undefined {
  const seconds = secondsOf(run);
  return seconds === null ? undefined : shownSeconds(seconds);
}

export function shownSeconds(seconds: number): string {
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (value: number): string => String(value).padStart(2, '0');
  if (hours > 0) return `${hours} h ${two(minutes)} min`;
  return minutes > 0 ? `${minutes} min ${two(rest)} s` : `${rest} s`;
}

/** `2026-11-30 14:05` in the zone of this machine. */
export function localTime(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** The newest value of every metric in the journal. @param directory of the run */
export function lastMetrics(directory: string): Readonly<Record<string, unknown>> {
  const metrics: Record<string, unknown> = {};
  const file = journalOf(directory);
  if (!existsSync(file)) return metrics;
  for (const {kind, data} of readJournal(file)) if (kind === 'metric') Object.assign(metrics, data);
  return metrics;
}

/** Leaves of config, results and bits per layer that are not the same in both runs, in the order of their keys. */
export function differences(a: FoundRun, b: FoundRun): readonly Difference[] {
  const [left, right] = [a, b].map(({record: {config, results}, directory}) =>
    shown({config, results, bits: bitsOf(directory)}),
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

const shown = (values: Readonly<Record<string, unknown>>): Map<string, unknown> =>
  new Map([...leaves(values, '.')].map(([key, leaf]) => [key, Array.isArray(leaf) ? JSON.stringify(leaf) : leaf]));

/** Weight bits of each layer of the run's strategy. */
function bitsOf(directory: string): Readonly<Record<string, number>> {
  const file = path.join(directory, 'strategy.json');
  if (!existsSync(file)) return {};
  const text = readTextBounded(file, strategyLimitBytes);
  const {layers} = JSON.parse(text) as {layers: readonly {name: string; weightBits: number}[]};
  return Object.fromEntries(layers.map(({name, weightBits}) => [name, weightBits]));
}
