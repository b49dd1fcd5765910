import {Flags} from '@oclif/core';

import {copyOutput} from '../cli/output.ts';
import {RunCommand, runFlags, type DryRun} from '../cli/run-command.ts';
import {settingFlags} from '../cli/setting-flags.ts';
import {table} from '../cli/table.ts';
import {trainingRows} from '../cli/training-rows.ts';
import {metricHead, trainingMetric} from '../phases/results.ts';
import {metricOfRun, taskOfRun} from '../runs/run-record.ts';

interface Result {
  readonly runId: string;
  readonly task: string;
  readonly checkpoint: string;
  /** On the test split stands the primary metric, under its name; this is it on the validation split. */
  readonly validation: {readonly best: number | null; readonly last: number | null};
}

export default class Pretrain extends RunCommand {
  static override summary = 'Train a network in full precision.';
  static override examples = [
    '<%= config.bin %> pretrain',
    '<%= config.bin %> pretrain --set pretrain.epochs=3 --output full-precision.safetensors',
    '<%= config.bin %> pretrain --resume latest',
  ];

  static override flags = {
    ...runFlags,
    ...settingFlags.pretrain,
    output: Flags.file({summary: 'Also write the checkpoint to this file.', helpValue: 'FILE'}),
  };

  async run(): Promise<Result | DryRun> {
    const {flags} = await this.parse(Pretrain);
    const made = await this.makeRun({
      command: 'pretrain',
      flags,
      async body({phase, context, run}) {
        const {pretrain} = await import('../phases/pretrain.ts');
        return {result: await phase('pretrain', async () => pretrain(context(run.record().results)))};
      },
    });
    if (made.plan !== undefined) return made.plan;
    const {result, run, output} = made;
    const checkpoint = copyOutput(result.checkpoint, output);
    const metric = metricOfRun(run.record());
    const {best, last, test} = trainingMetric(metric, result);
    this.log(
      table(
        [{head: 'full precision'}, {head: metricHead(metric), align: 'right'}],
        trainingRows(metric, {best, last, test}),
      ),
    );
    this.log(`\nCheckpoint: ${checkpoint}`);
    return {runId: run.id, task: taskOfRun(run.record()), checkpoint, [metric.name]: test, validation: {best, last}};
  }
}
