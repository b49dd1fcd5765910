import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {outputPath} from '../../cli/output.ts';
import {SweepCommand, sweepInvalid} from '../../cli/sweep-command.ts';
import {writeFileAtomic} from '../../files.ts';
import {exportedName, exportSweep, schedulers, type Scheduler} from '../../sweeps/export.ts';
import {localSweep, sweepFolder} from '../../sweeps/local-sweep.ts';
import {readSweepText} from '../../sweeps/sweep-file.ts';
import {trialsOf} from '../../sweeps/trials.ts';

interface Result {
  readonly path: string;
  readonly scheduler: Scheduler;
  /** Folder that all machines share. */
  readonly directory: string;
  /** Null where the scheduler chooses the trials. */
  readonly trials: number | null;
}

export default class SweepExport extends SweepCommand {
  static override summary = 'Write a sweep as the file of a scheduler: SLURM, Kubernetes, Ray Tune or Optuna.';
  static override description = `Each trial has a folder of its own below --folder, which all machines share. A trial that is preempted saves its \
state, and continues from it on whichever machine starts it again. \`sdq sweep status\` collects the trials. \
SLURM and Kubernetes get the trials of a grid or random sweep; Ray Tune and Optuna choose the values themselves, and stop trials by early_terminate.`;
  static override examples = [
    '<%= config.bin %> sweep export sweep.yaml --to slurm',
    '<%= config.bin %> sweep export sweep.yaml --to kubernetes --image registry.example/sdq:1 --folder /shared/bits --job /shared/job',
    '<%= config.bin %> sweep export sweep.yaml --to optuna --output worker.py',
  ];
  static override args = {
    file: Args.string({description: 'The sweep config, YAML or JSON.', required: true}),
  };
  static override flags = {
    to: Flags.option({summary: 'The scheduler.', options: schedulers, required: true})(),
    folder: Flags.string({
      summary: 'Folder of the trials, as every machine sees it. Default: that of `sdq sweep run`.',
      helpValue: 'DIR',
    }),
    job: Flags.string({
      summary: 'Folder with the config, as every machine sees it. Default: the current one.',
      helpValue: 'DIR',
    }),
    program: Flags.string({
      summary: 'Command that starts sdq there.',
      helpValue: 'PATH',
      default: 'node_modules/.bin/sdq',
    }),
    image: Flags.string({summary: 'Container image for Kubernetes.', helpValue: 'NAME', default: 'sdq:latest'}),
    parallel: Flags.integer({summary: 'Trials at the same time.', default: 4, min: 1}),
    seed: Flags.integer({summary: 'Seed of a random sweep.', default: 0, min: 0, max: 4_294_967_295}),
    output: Flags.string({summary: 'Where to write it. Default: e.g. sweep.slurm.sh.', helpValue: 'FILE'}),
  };

  async run(): Promise<Result> {
    const {args, flags} = await this.parse(SweepExport);
    const file = path.resolve(args.file);
    const {sweep, problems} = await this.examine(readSweepText(file), file);
    if (sweep === undefined || problems.length > 0) throw sweepInvalid(file, problems);
    const isChosenHere = flags.to === 'slurm' || flags.to === 'kubernetes';
    const {config} = await this.settings({kinds: []});
    const settings = this.settingFlags();
    const local = {runs: config.runs.directory, seed: flags.seed, settings};
    const total = isChosenHere ? localSweep(sweep, local).total : null;
    const directory = path.resolve(flags.folder ?? sweepFolder(sweep, local));
    const text = exportSweep(flags.to, {
      sweep,
      trials: isChosenHere ? trialsOf(sweep, flags.seed) : new Map(),
      folder: directory,
      job: path.resolve(flags.job ?? '.'),
      program: [flags.program],
      parallel: flags.parallel,
      flags: settings,
      image: flags.image,
    });
    const output = outputPath(flags.output, exportedName(sweep, flags.to));
    writeFileAtomic(output, text);
    const start = {slurm: 'sbatch', kubernetes: 'kubectl create -f', ray: 'python', optuna: 'python'}[flags.to];
    this.log(`${output}\nTrials in ${directory}\nNext: ${start} ${path.relative('', output)}`);
    return {path: output, scheduler: flags.to, directory, trials: total};
  }
}
