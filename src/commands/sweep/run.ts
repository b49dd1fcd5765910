import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {present} from '../../lookup.ts';
import {SweepCommand, sweepInvalid, trialFlags} from '../../cli/sweep-command.ts';
import {table} from '../../cli/table.ts';
import {bestOf, localSweep} from '../../sweeps/local-sweep.ts';
import type {Trial} from '../../sweeps/runner.ts';
import {readSweepText, type Method, type Metric, type Sweep} from '../../sweeps/sweep-file.ts';
import {trialsOf} from '../../sweeps/trials.ts';

interface Result {
  readonly path: string;
  /** Folder of the state and of the trials' output. */
  readonly directory: string;
  readonly method: Method;
  readonly metric: Metric | null;
  /** Of the sweep, started or not. */
  readonly total: number;
  readonly trials: readonly Trial[];
  /** Number of the best finished trial; null without a metric or a value. */
  readonly best: number | null;
}

export default class SweepRun extends SweepCommand {
  static override summary = 'Run the trials of a grid or random sweep on this machine, without a server.';
  static override description = `Each trial is a separate \`sdq run\`. Run the same command again to continue, even after kill -9: finished trials \
are not repeated, an interrupted one is resumed. early_terminate (hyperband), run_cap and metric.target are kept to. The exit code is 0 \
when every trial finished, else that of the first one that failed.`;
  static override examples = [
    '<%= config.bin %> sweep run sweep.yaml',
    '<%= config.bin %> sweep run sweep.yaml --parallel 2 --set train.epochs=5',
  ];
  static override args = {
    file: Args.string({description: 'The sweep config, YAML or JSON.', required: true}),
  };
  static override flags = {
    ...trialFlags,
    seed: Flags.integer({summary: 'Seed of a random sweep.', default: 0, min: 0, max: 4_294_967_295}),
  };

  async run(): Promise<Result> {
    const {args, flags} = await this.parse(SweepRun);
    const file = path.resolve(args.file);
    const {sweep, problems} = await this.examine(readSweepText(file), file);
    if (sweep === undefined || problems.length > 0) throw sweepInvalid(file, problems);
    const {config} = await this.settings({kinds: []});
    const {directory, total} = localSweep(sweep, {
      runs: config.runs.directory,
      seed: flags.seed,
      settings: this.settingFlags(),
    });
    this.notice(`Sweep of ${total} trials in ${directory}`);
    const {trials, signal} = await this.runTrials(config, {
      sweep,
      trials: trialsOf(sweep, flags.seed),
      directory,
      parallel: flags.parallel,
      retryFailed: flags['retry-failed'],
    });
    const best = bestOf(trials, sweep.metric);
    this.log(trialTable(trials, sweep, best));
    this.reportEnd(trials, {total, directory, signal});
    return {
      path: file,
      directory,
      method: sweep.method,
      metric: sweep.metric,
      total,
      trials,
      best: best?.number ?? null,
    };
  }
}

function trialTable(trials: readonly Trial[], sweep: Sweep, best: Trial | undefined): string {
  const {metric, parameters} = sweep;
  const text = (value: unknown): string =>
    typeof value === 'number'
      ? String(Number(value.toPrecision(5)))
      : typeof value === 'string'
        ? value
        : JSON.stringify(value);
  const rows = trials.map((trial) => [
    trial === best ? `${trial.number} *` : String(trial.number),
    trial.exitCode === null || trial.exitCode === 0 || trial.status === 'stopped'
      ? trial.status
      : `${trial.status} (exit ${trial.exitCode})`,
    ...parameters.map(({name}) => text(trial.parameters[name])),
    ...(metric === null ? [] : [trial.metric === null ? null : text(trial.metric)]),
    trial.runId,
  ]);
  const heads = [
    {head: 'trial'},
    {head: 'status'},
    ...parameters.map(({name}) => ({head: name, align: 'right' as const})),
    ...(metric === null ? [] : [{head: metric.name, align: 'right' as const}]),
    {head: 'run'},
  ];
  const note =
    best === undefined
      ? ''
      : `\n\n* best: ${present(metric, 'metric').name} ${text(best.metric)}, sdq runs show ${best.runId}`;
  return `${table(heads, rows)}${note}`;
}
