import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {SweepCommand, sweepInvalid} from '../../cli/sweep-command.ts';
import {checkFree, writeFileAtomic} from '../../files.ts';
import {newSweep, parameterOf} from '../../sweeps/new-sweep.ts';
import type {Metric} from '../../training/task.ts';

export default class SweepCreate extends SweepCommand {
  static override summary = 'Write a W&B sweep config that calls sdq.';
  static override description = `Start it with \`wandb sweep FILE\` and one \`wandb agent ID\` on each machine; a grid or random one also runs without W&B, \
by \`sdq sweep run FILE\`. Without --parameter it varies search.target.meanWeightBits and, but for a grid, the search's learning rate.`;
  static override examples = [
    '<%= config.bin %> sweep create',
    `<%= config.bin %> sweep create lr.yaml --method random --run-cap 20 --parameter 'train.optimizer.learningRate={distribution: log_uniform_values, min: 0.001, max: 0.1}'`,
    '<%= config.bin %> sweep create bits.yaml --parameter search.target.meanWeightBits=[2,3,4] --parameter search.activationBits=[4,8]',
    '<%= config.bin %> sweep create bayes.yaml --method bayes --metric train/validationAccuracy --hyperband 3',
  ];
  static override args = {
    file: Args.string({description: 'Where to write it.', default: 'sweep.yaml'}),
  };
  static override flags = {
    method: Flags.string({
      summary: 'How trials are chosen; bayes needs the W&B server.',
      options: ['grid', 'random', 'bayes'],
      default: 'grid',
    }),
    metric: Flags.string({
      summary: "What makes a trial good. Default: the task's primary metric, e.g. train/accuracy/best.",
      helpValue: 'NAME',
    }),
    goal: Flags.option({
      summary: 'Whether more or less of the metric is better. Default: the direction of that metric in the task.',
      options: ['maximize', 'minimize'] as const,
    })(),
    parameter: Flags.string({
      summary: 'Vary this key of the config: a list of values, or a distribution of W&B, as YAML. Repeatable.',
      helpValue: 'KEY=SPEC',
      multiple: true,
      multipleNonGreedy: true,
    }),
    'run-cap': Flags.integer({summary: 'Most trials.', min: 1}),
    hyperband: Flags.integer({
      summary:
        'Stop trials early, compared first at this value of the metric (an epoch, if it is logged once an epoch).',
      helpValue: 'MIN_ITER',
      min: 1,
    }),
    name: Flags.string({summary: 'Name of the sweep in W&B.'}),
    project: Flags.string({summary: 'W&B project.'}),
    entity: Flags.string({summary: 'W&B user or team.'}),
  };

  async run(): Promise<{path: string}> {
    const {args, flags} = await this.parse(SweepCreate);
    const file = path.resolve(args.file);
    checkFree(file, 'Write to another file: sdq sweep create FILE.');
    const {config, registry} = await this.settings({kinds: ['task']});
    const {metrics} = registry.get('task', config.task.name);
    const metric = flags.metric ?? `train/${metrics[0].name}/best`;
    const text = newSweep({
      ...flags,
      method: flags.method as 'grid' | 'random' | 'bayes',
      metric,
      goal: flags.goal ?? goalOf(metric, metrics),
      runCap: flags['run-cap'],
      parameters: flags.parameter?.map(parameterOf),
    });
    const {problems} = await this.examine(text, file);
    if (problems.length > 0) throw sweepInvalid(file, problems);
    writeFileAtomic(file, text);
    this.log(`${file}\nNext: ${flags.method === 'bayes' ? 'wandb sweep' : 'sdq sweep run'} ${args.file}`);
    return {path: file};
  }
}

/** The direction of the task's metric that a figure is of, e.g. `train/validationMse` of mse; of any other figure more is better. */
function goalOf(figure: string, metrics: readonly Metric[]): 'maximize' | 'minimize' {
  const parts = figure.split('/').map((part) => part.replace(/^(validation|start)(?=[A-Z])/, '').toLowerCase());
  const metric = metrics.find(({name}) => parts.includes(name.toLowerCase()));
  return metric?.better === 'lower' ? 'minimize' : 'maximize';
}
