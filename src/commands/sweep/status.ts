import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {SweepCommand, sweepInvalid} from '../../cli/sweep-command.ts';
import {table} from '../../cli/table.ts';
import {sweepFolder} from '../../sweeps/local-sweep.ts';
import {isBetter} from '../../sweeps/metric-values.ts';
import {sharedTrials, type SharedTrial} from '../../sweeps/shared-trials.ts';
import {readSweepText, type Metric, type Sweep} from '../../sweeps/sweep-file.ts';

interface Result {
  readonly path: string;
  readonly directory: string;
  readonly metric: Metric | null;
  readonly trials: readonly SharedTrial[];
  /** Name of the best finished trial; null without a metric or a value. */
  readonly best: string | null;
}

export default class SweepStatus extends SweepCommand {
  static override summary = 'Show the trials of a sweep in one table, whichever machine or scheduler ran them.';
  static override description = `Reads the folder that \`sdq sweep run\` and the files of \`sdq sweep export\` write to; nothing is changed.`;
  static override examples = [
    '<%= config.bin %> sweep status sweep.yaml',
    '<%= config.bin %> sweep status sweep.yaml --folder /shared/bits --json',
  ];
  static override args = {
    file: Args.string({description: 'The sweep config, YAML or JSON.', required: true}),
  };
  static override flags = {
    folder: Flags.string({summary: 'Folder of the trials. Default: that of `sdq sweep run`.', helpValue: 'DIR'}),
    seed: Flags.integer({summary: 'Seed of a random sweep.', default: 0, min: 0, max: 4_294_967_295}),
  };

  async run(): Promise<Result> {
    const {args, flags} = await this.parse(SweepStatus);
    const file = path.resolve(args.file);
    const {sweep, problems} = await this.examine(readSweepText(file), file);
    if (sweep === undefined || problems.length > 0) throw sweepInvalid(file, problems);
    const {config} = await this.settings({kinds: []});
    const runs = config.runs.directory;
    const directory = path.resolve(
      flags.folder ?? sweepFolder(sweep, {runs, seed: flags.seed, settings: this.settingFlags()}),
    );
    const trials = sharedTrials(directory, runs, sweep.metric);
    const best = bestOf(trials, sweep.metric);
    this.log(trials.length === 0 ? `No trial has begun in ${directory}.` : tableOf(trials, sweep, best));
    return {path: file, directory, metric: sweep.metric, trials, best: best?.name ?? null};
  }
}

function bestOf(trials: readonly SharedTrial[], metric: Metric | null): SharedTrial | undefined {
  let best: (SharedTrial & {metric: number}) | undefined;
  for (const trial of trials) {
    if (metric === null || trial.status !== 'finished' || trial.metric === null) continue;
    if (best === undefined || isBetter(metric, trial.metric, best.metric)) best = {...trial, metric: trial.metric};
  }
  return trials.find(({name}) => name === best?.name);
}

function tableOf(trials: readonly SharedTrial[], {metric, parameters}: Sweep, best: SharedTrial | undefined): string {
  const text = (value: unknown): string =>
    typeof value === 'number'
      ? String(Number(value.toPrecision(5)))
      : typeof value === 'string'
        ? value
        : JSON.stringify(value ?? null);
  return table(
    [
      {head: 'trial'},
      {head: 'status'},
      {head: 'resumed', align: 'right'},
      ...parameters.map(({name}) => ({head: name, align: 'right' as const})),
      ...(metric === null ? [] : [{head: metric.name, align: 'right' as const}]),
      {head: 'run'},
    ],
    trials.map((trial) => [
      trial === best ? `${trial.name} *` : trial.name,
      trial.status === 'failed' ? `failed (exit ${String(trial.exitCode)})` : trial.status,
      String(trial.resumed),
      ...parameters.map(({name}) => text(trial.parameters[name])),
      ...(metric === null ? [] : [trial.metric === null ? null : text(trial.metric)]),
      trial.run === null ? null : path.basename(trial.run),
    ]),
  );
}
