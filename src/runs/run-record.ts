/** `run.json`: what a run's folder says of the run. */
import path from 'node:path';

import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {readTextBounded} from '../files.ts';
import {isLocked} from '../lock.ts';
import {isMapping} from '../mapping.ts';
import type {GitState} from './git-state.ts';
import {isRunId} from './run-id.ts';

export type RunStatus = 'running' | 'finished' | 'failed' | 'interrupted';

/** The content of `run.json`. */
export interface RunRecord {
  readonly version: 1;
  readonly id: string;
  /** A UUID: tells the run from those of other machines. */
  readonly uid: string;
  /** `run`, `search`, `train` or `pretrain`. */
  readonly command: string;
  readonly status: RunStatus;
  readonly exitCode: number | null;
  /** Why it failed or was stopped; null while it runs and after it finished. */
  readonly error: {readonly code: string; readonly message: string} | null;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly endedAt: string | null;
  /** When it was resumed, each time. */
  readonly resumedAt: readonly string[];
  readonly seed: number;
  /** The resolved config, with absolute paths: what `--resume` uses. */
  readonly config: unknown;
  /** Absolute path of `--output`, which a resumed run writes too. */
  readonly output: string | null;
  readonly versions: Readonly<Record<string, string>>;
  readonly engine: {readonly name: string; readonly device: string; readonly threads: number} | null;
  /** The primary metric of the task; left out: accuracy. */
  readonly metric?: RunMetric;
  readonly git: GitState | null;
  /** Results of completed phases, by phase. */
  readonly results: Readonly<Record<string, unknown>>;
  /** `seq` of the journal when the newest of them completed: where a resumed run starts to repeat itself. */
  readonly journal: number;
}

/** The figure that says how good a run is, under its name in the results. */
export interface RunMetric {
  readonly name: string;
  readonly better: 'higher' | 'lower';
  /** Shown to people in percent: 0 to 1. */
  readonly isFraction: boolean;
}

const accuracy: RunMetric = {name: 'accuracy', better: 'higher', isFraction: true};

/** The name of a run's task. */
export const taskOfRun = ({config}: Pick<RunRecord, 'config'>): string =>
  (config as {readonly task?: {readonly name?: string}}).task?.name ?? 'classification';

/** The primary metric of a run's task. */
export const metricOfRun = ({metric}: Pick<RunRecord, 'metric'>): RunMetric => metric ?? accuracy;

/** `validationAccuracy` for `validation` and accuracy. */
export const prefixedMetric = (prefix: string, {name}: Pick<RunMetric, 'name'>): string =>
  `${prefix}${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;

const recordLimitBytes = 16 << 20;

const isText = (value: unknown): boolean => typeof value === 'string';
const isOptionalText = (value: unknown): boolean => value === null || isText(value);

const restore = 'The file was changed by hand or by another program; restore it or start a new run.';

/** What is relied on in a record that was read back. */
const recordChecks: Readonly<Record<Exclude<keyof RunRecord, 'git' | 'exitCode'>, (value: unknown) => boolean>> = {
  version: (value) => value === 1,
  id: (value) => typeof value === 'string' && isRunId(value),
  uid: isText,
  command: (value) => ['run', 'search', 'train', 'pretrain'].includes(value as string),
  status: (value) => ['running', 'finished', 'failed', 'interrupted'].includes(value as string),
  error: (value) => value === null || (isMapping(value) && isText(value['code']) && isText(value['message'])),
  startedAt: isText,
  endedAt: isOptionalText,
  resumedAt: (value) => Array.isArray(value) && value.every(isText),
  seed: Number.isInteger,
  config: isMapping,
  output: isOptionalText,
  versions: (value) => isMapping(value) && isText(value['sdq']),
  engine: (value) =>
    value === null || (isMapping(value) && isText(value['name']) && Number.isInteger(value['threads'])),
  metric: (value) =>
    value === undefined || (isMapping(value) && isText(value['name']) && typeof value['isFraction'] === 'boolean'),
  results: (value) => isMapping(value) && Object.values(value).every(isMapping),
  journal: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
};

/** @throws SdqError (exit 3) when `run.json` is missing or is not one */
export function readRun(directory: string): RunRecord {
  const file = path.join(directory, 'run.json');
  const text = readTextBounded(file, recordLimitBytes);
  let record: RunRecord;
  try {
    const parsed = JSON.parse(text) as unknown;
    if (!isMapping(parsed)) throw new Error('not a mapping');
    // Records of before 2026-11-24 have no uid, of before 2026-11-28 no output.
    record = {uid: parsed['id'], output: null, error: null, ...parsed} as unknown as RunRecord;
  } catch (error) {
    throw new SdqError(`${file} is not the record of a run: found ${JSON.stringify(text.slice(0, 40))}.`, {
      code: 'run-record-broken',
      exit: ExitCode.invalidInput,
      suggestions: [restore],
      cause: error,
    });
  }
  const fields = record as unknown as Readonly<Record<string, unknown>>;
  const wrong = Object.entries(recordChecks).find(([key, check]) => !check(fields[key]));
  if (wrong !== undefined) {
    const [key] = wrong;
    const value = JSON.stringify(fields[key] ?? null).slice(0, 40);
    throw invalidInput('run-record-broken', `${file}: /${key} is ${value}, which a run cannot have.`, [restore]);
  }
  record = {...record, results: relocated(record.results, directory)};
  return record.status === 'running' && !isLocked(directory) ? {...record, status: 'interrupted'} : record;
}

/** The files that results name stand in the run's folder, wherever it is now. @param results of a record, or a part of them */
function relocated<T>(results: T, directory: string): T {
  if (Array.isArray(results)) return results.map((item: unknown) => relocated(item, directory)) as T;
  if (!isMapping(results)) return results;
  const entries = Object.entries(results).map(([key, value]) => {
    const isFile = (key === 'checkpoint' || key === 'strategy') && typeof value === 'string';
    return [key, isFile ? path.join(directory, path.basename(value)) : relocated(value, directory)];
  });
  return Object.fromEntries(entries) as T;
}
