/** What the commands of sweeps share: everything that can be wrong with a sweep file, found before a trial starts. */
import path from 'node:path';

import {Flags} from '@oclif/core';

import type {Config} from '../config/config-types.ts';
import {invalidInput, SdqError} from '../errors.ts';
import {item} from '../lookup.ts';
import type {Kind, TaskDefinition} from '../plugin-api/registry.ts';
import type {Problem} from '../schema/problem.ts';
import {exitCodeOf, listenForStop} from '../runs/signals.ts';
import {isOfValidation} from '../sweeps/metric-names.ts';
import {failureOf, remaining, trialEnvironment} from '../sweeps/local-sweep.ts';
import {runSweep, type SweepRunOptions, type Trial} from '../sweeps/runner.ts';
import {parseSweep, probeSources, type Sweep} from '../sweeps/sweep-file.ts';
import {SdqCommand, type Settings} from './base-command.ts';

/** For the commands that run trials. */
export const trialFlags = {
  parallel: Flags.integer({
    summary: 'Trials at the same time; they share the threads unless engine.threads says how many each has.',
    default: 1,
    min: 1,
    max: 256,
  }),
  'retry-failed': Flags.boolean({summary: 'Run the failed trials again.'}),
};

type Signal = ReturnType<SweepRunOptions['stop']['received']>;
type Trials = Pick<SweepRunOptions, 'sweep' | 'trials' | 'directory' | 'parallel' | 'retryFailed'>;

export abstract class SweepCommand extends SdqCommand {
  /** The flags `--config` and `--set` of this command, for those that it starts. */
  protected settingFlags(): string[] {
    const {config, set} = this.commonFlags();
    return [
      ...(config === undefined ? [] : ['--config', path.resolve(config)]),
      ...(set ?? []).flatMap((assignment) => ['--set', assignment]),
    ];
  }

  /**
   * Runs the remaining trials, each in its own process.
   * @returns all trials of the folder, and the signal that stopped them
   * @throws SdqError (exit 6) when another process runs them or the folder cannot be written
   */
  protected async runTrials(
    config: Config,
    options: Trials,
  ): Promise<{readonly trials: readonly Trial[]; readonly signal: Signal}> {
    const stop = listenForStop((signal) =>
      this.notice(`${signal}: the trials finish their step; again to stop at once.`),
    );
    try {
      const trials = await runSweep({
        ...options,
        runs: config.runs.directory,
        sdq: [process.execPath, path.join(this.config.root, 'bin/run.js')],
        flags: this.settingFlags(),
        env: trialEnvironment(process.env, options.parallel, config.engine.threads),
        notice: (message) => this.notice(message),
        stop,
      });
      return {trials, signal: stop.received()};
    } finally {
      stop.dispose();
    }
  }

  /** Exits with a code above 0 unless every trial has finished. */
  protected reportEnd(
    trials: readonly Trial[],
    {total, directory, signal}: {total: number; directory: string; signal: Signal},
  ): void {
    const failure =
      signal === undefined
        ? failureOf(trials, directory)
        : new SdqError(`Stopped by ${signal}; ${remaining(trials, total)} of ${total} trials are left.`, {
            code: 'interrupted',
            exit: exitCodeOf(signal),
            suggestions: ['Run the same command again to continue.'],
          });
    if (failure !== undefined) this.checkFailed(failure);
  }

  /**
   * The sweep and all that is wrong with it, each parameter tried on the config that a trial would have.
   * @param text of the file
   * @param file absolute
   */
  protected async examine(
    text: string,
    file: string,
  ): Promise<{readonly sweep: Sweep | undefined; readonly problems: readonly Problem[]}> {
    const kinds: Kind[] = ['model', 'dataset', 'task', 'engine', 'searcher'];
    const settings = await this.settings({kinds});
    const {sweep, problems} = parseSweep(text, file, tasksOf(text, settings));
    if (sweep === undefined) return {sweep, problems};
    // Quantizers bring the tensor library with them.
    if (sweep.parameters.some(({name}) => name.startsWith('quantizers'))) {
      kinds.push('weight-quantizer', 'activation-quantizer');
    }
    const hasValidation = ({config}: Settings<never>): boolean => config.data?.validation !== 0;
    let isMeasurable = hasValidation(settings);
    const unfit = new Map<string, Problem>();
    for (const {place, source} of probeSources(sweep)) {
      if (unfit.has(place)) continue;
      try {
        if (hasValidation(await this.settings({kinds, tried: [source]}))) isMeasurable = true;
      } catch (error) {
        if (!(error instanceof SdqError)) throw error;
        unfit.set(place, {place, message: error.message.replace(`${place}: `, ''), suggestions: error.suggestions});
      }
    }
    const unmeasured = isMeasurable ? [] : validationProblems(sweep);
    return {sweep, problems: [...problems, ...unmeasured, ...unfit.values()]};
  }
}

/** The config's task; all tasks for a sweep whose parameters or command may choose another one. */
function tasksOf(sweep: string, {config, registry}: Settings<never>): readonly TaskDefinition[] {
  return /\btask\b|--config/.test(sweep) ? registry.list('task') : [registry.get('task', config.task.name)];
}

/** Of a sweep whose config has no validation images, with none of its parameters' values. */
function validationProblems({metric, arguments: words}: Sweep): Problem[] {
  if (metric === null || !isOfValidation(metric.name)) return [];
  if (words.some((word) => /data\.validation=|^--config/.test(word))) return [];
  return [
    {
      message: `"${metric.name}" is measured on validation images, and /data/validation of the config is 0.`,
      place: '/metric/name',
      suggestions: ['Set data.validation, e.g. to 5000.'],
    },
  ];
}

/** The error (exit 3) that says all of them. */
export function sweepInvalid(file: string, problems: readonly Problem[]): SdqError {
  const lines = problems.map(({place, message}) => `${place === '' ? '' : `${place}: `}${message}`);
  return invalidInput(
    'invalid-sweep',
    lines.length === 1 ? `${file}: ${item(lines, 0)}` : [`${file}:`, ...lines.map((line) => `  ${line}`)].join('\n'),
    [...new Set(problems.flatMap(({suggestions}) => suggestions))],
  );
}
