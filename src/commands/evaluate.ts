import {Flags} from '@oclif/core';

import {CheckpointCommand} from '../cli/checkpoint-command.ts';
import {table} from '../cli/table.ts';
import type {Evaluation} from '../training/task.ts';

/** The metrics of the task by name, and: */
type Result = Pick<Evaluation, 'loss' | 'samples'> & {
  readonly checkpoint: string;
  readonly task: string;
  readonly split: string;
  /** Null without --target. */
  readonly target: string | null;
  /** Mean over the quantized layers; null in full precision. */
  readonly meanWeightBits: number | null;
};

export default class Evaluate extends CheckpointCommand {
  static override summary = 'Measure the accuracy, or the metrics of another task, of a checkpoint on a split.';
  static override description = `A checkpoint that \`sdq train\` wrote carries its strategy; for other weights --strategy quantizes \
them as they are, without training.`;

  static override examples = [
    '<%= config.bin %> evaluate --checkpoint quantized.safetensors',
    '<%= config.bin %> evaluate --checkpoint full-precision.safetensors --split validation',
    '<%= config.bin %> evaluate --checkpoint full-precision.safetensors --strategy strategy.json --json',
  ];

  static override flags = {
    checkpoint: Flags.file({summary: 'Safetensors file of the weights.', helpValue: 'FILE', required: true}),
    strategy: Flags.file({summary: 'Quantize by this strategy.', helpValue: 'FILE'}),
    target: Flags.string({
      summary: 'Compute what `<%= config.bin %> export --target` makes this runtime compute.',
      helpValue: 'NAME',
    }),
    split: Flags.option({
      summary: 'Which images.',
      options: ['test', 'validation', 'train'] as const,
      default: 'test' as const,
    })(),
  };

  async run(): Promise<Result> {
    const {flags} = await this.parse(Evaluate);
    const session = await this.openSession(flags.checkpoint);
    const {config} = session;
    const {readTarget, noTarget} = await import('../phases/deployment.ts');
    const target = flags.target === noTarget ? undefined : flags.target;
    const targetName = target === undefined ? null : readTarget(target).name;
    const [{evaluateFile}, {metricCell, metricHead}] = await Promise.all([
      import('../phases/evaluate-file.ts'),
      import('../phases/results.ts'),
    ]);
    const {evaluation, meanWeightBits} = await evaluateFile(
      session,
      flags.checkpoint,
      flags.strategy,
      flags.split,
      target,
    );
    this.progress().stop();
    this.log(
      table(
        [{head: `${config.model.name} on ${config.data.name} (${flags.split})`}, {head: '', align: 'right'}],
        [
          ...session.task.metrics
            .filter(({minOutputs = 1}) => session.task.outputs >= minOutputs)
            .map((metric) => [metricHead(metric), metricCell(metric, evaluation[metric.name] ?? null)]),
          ['loss', evaluation.loss.toFixed(4)],
          ['images', evaluation.samples],
          ['mean weight bits', meanWeightBits === null ? '32 (full precision)' : meanWeightBits.toFixed(3)],
        ],
      ),
    );
    return {
      ...evaluation,
      checkpoint: flags.checkpoint,
      task: config.task.name,
      split: flags.split,
      target: targetName,
      meanWeightBits,
    };
  }
}
