/** A sweep on this machine alone: its number of trials, the folder of its state, and what became of the trials. */
import {createHash} from 'node:crypto';
import {availableParallelism} from 'node:os';
import path from 'node:path';

import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {present} from '../lookup.ts';
import {isBetter} from './metric-values.ts';
import type {Trial} from './runner.ts';
import type {Metric, Sweep} from './sweep-file.ts';
import {trialCount} from './trials.ts';

const mostTrials = 10_000;

/**
 * @param options the folder of the runs, the seed of the draws, and the flags that every trial gets: with another one, or another
 * content of the file, it is another sweep
 * @returns the number of trials, and the folder of the state
 * @throws SdqError (exit 3) for a sweep that this machine alone cannot go through
 */
export function localSweep(
  sweep: Sweep,
  {runs, seed, settings}: {readonly runs: string; readonly seed: number; readonly settings: readonly string[]},
): {readonly total: number; readonly directory: string} {
  return {total: boundedTrialCount(sweep), directory: sweepFolder(sweep, {runs, seed, settings})};
}

/** The folder of a sweep's state and trials; parameters as for `localSweep`. */
export function sweepFolder(
  sweep: Sweep,
  {runs, seed, settings}: {readonly runs: string; readonly seed: number; readonly settings: readonly string[]},
): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([sweep.digest, seed, settings]))
    .digest('hex');
  const name = path.basename(sweep.file).replace(/\.(ya?ml|json)$/, '');
  return path.join(path.dirname(runs), 'sweeps', `${name}-${digest.slice(0, 8)}`);
}

/** Trials at the same time share the threads, unless the config says how many each has. */
export function trialEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  parallel: number,
  threads: number | 'auto',
): Readonly<Record<string, string | undefined>> {
  if (parallel === 1 || threads !== 'auto') return env;
  return {...env, SDQ_ENGINE_THREADS: String(Math.max(1, Math.floor(availableParallelism() / parallel)))};
}

/** @throws SdqError (exit 3) for a sweep that this machine alone cannot go through */
function boundedTrialCount(sweep: Sweep): number {
  const refuse = (message: string, suggestion: string): SdqError =>
    invalidInput('sweep-not-local', `${sweep.file}: ${message}`, [suggestion]);
  if (sweep.method === 'bayes' || sweep.method === 'custom') {
    throw refuse(
      `/method: ${sweep.method} is chosen by the W&B server; here it is grid or random.`,
      `wandb sweep ${path.basename(sweep.file)}, then wandb agent SWEEP_ID`,
    );
  }
  const total = trialCount(sweep);
  if (total === Infinity) throw refuse('/run_cap is missing: a random sweep has no end.', 'E.g. run_cap: 20.');
  if (total > mostTrials) throw refuse(`${total} trials; at most ${mostTrials} run here.`, 'Set run_cap.');
  return total;
}

/** Trials that neither finished nor failed. @param total of the sweep, started or not */
export const remaining = (trials: readonly Trial[], total: number): number =>
  total - trials.filter(({status}) => status === 'finished' || status === 'stopped' || status === 'failed').length;

/** The finished trial with the best value; undefined without a metric or a value. */
export function bestOf(trials: readonly Trial[], metric: Metric | null): Trial | undefined {
  if (metric === null) return undefined;
  return trials
    .filter((trial) => trial.status === 'finished' && trial.metric !== null)
    .reduce<Trial | undefined>(
      (best, trial) =>
        best === undefined || isBetter(metric, present(trial.metric, 'metric'), present(best.metric, 'metric'))
          ? trial
          : best,
      undefined,
    );
}

/** What the command ends with where trials failed: the exit code of the first one. */
export function failureOf(trials: readonly Trial[], directory: string): SdqError | undefined {
  const failed = trials.filter(({status}) => status === 'failed' || status === 'interrupted');
  const [first] = failed;
  if (first === undefined) return undefined;
  const code = Object.values(ExitCode).find((known) => known === first.exitCode) ?? ExitCode.notAvailable;
  const log = path.join(directory, `trial-${String(first.number).padStart(4, '0')}`, 'output.log');
  return new SdqError(
    `${failed.length} of ${trials.length} trials failed: ${failed.map(({number}) => number).join(', ')}.`,
    {
      code: 'trials-failed',
      exit: code,
      suggestions: [`What the first of them said: ${log}`, 'Start them again with --retry-failed.'],
    },
  );
}
