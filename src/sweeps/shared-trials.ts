/** The trials in the folder of a sweep, whichever machine or scheduler ran them: `trial-NAME/` with `params.json` and runs. */
import {existsSync, readdirSync} from 'node:fs';
import path from 'node:path';

import {readTextBounded} from '../files.ts';
import {isMapping} from '../mapping.ts';
import {allRuns, findRun, type FoundRun} from '../runs/find-run.ts';
import type {RunStatus} from '../runs/run-record.ts';
import {lastValue} from './metric-values.ts';
import {readTrials, type Trial} from './runner.ts';
import type {Metric} from './sweep-file.ts';
import type {Assignment} from './trials.ts';

export interface SharedTrial {
  /** `0001` of `trial-0001`, or what the scheduler calls it. */
  readonly name: string;
  /** `waiting`: it has no run yet; `stopped`: by early_terminate. */
  readonly status: RunStatus | Trial['status'] | 'waiting';
  readonly parameters: Assignment;
  /** Folder of its run; null before there is one. */
  readonly run: string | null;
  readonly exitCode: number | null;
  /** Times that it was continued. */
  readonly resumed: number;
  /** The last value of the sweep's metric; null when there is none. */
  readonly metric: number | null;
}

const paramsLimitBytes = 1 << 20;

/**
 * @param folder of the sweep
 * @param runs folder of the runs that `sdq sweep run` started
 * @throws SdqError (exit 3) for a file that is broken
 */
export function sharedTrials(folder: string, runs: string, metric: Metric | null): readonly SharedTrial[] {
  const local = new Map(readTrials(folder).map((trial) => [`trial-${String(trial.number).padStart(4, '0')}`, trial]));
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith('trial-')) : [];
  return names.sort().map((name): SharedTrial => {
    const directory = path.join(folder, name);
    const known = local.get(name);
    const run = known === undefined ? allRuns(directory).at(-1) : runOf(runs, known);
    const status = run?.record.status ?? 'waiting';
    return {
      name: name.slice('trial-'.length),
      status: known?.status === 'stopped' ? 'stopped' : status,
      parameters: known?.parameters ?? parametersIn(directory),
      run: run?.directory ?? null,
      exitCode: run?.record.exitCode ?? null,
      resumed: run?.record.resumedAt.length ?? 0,
      metric: run === undefined || metric === null ? null : lastValue(run.directory, metric.name),
    };
  });
}

const runOf = (runs: string, {runId}: Trial): FoundRun | undefined =>
  existsSync(path.join(runs, runId, 'run.json')) ? findRun(runs, runId) : undefined;

function parametersIn(directory: string): Assignment {
  const file = path.join(directory, 'params.json');
  if (!existsSync(file)) return {};
  try {
    const values = JSON.parse(readTextBounded(file, paramsLimitBytes)) as unknown;
    return isMapping(values) ? values : {};
  } catch {
    // Being written by the machine that starts the trial.
    return {};
  }
}
