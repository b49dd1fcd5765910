import {Flags} from '@oclif/core';

import {copyOutput, percent} from '../cli/output.ts';
import {RunCommand, runFlags} from '../cli/run-command.ts';
import {table} from '../cli/table.ts';

interface Result {
  readonly runId: string;
  readonly checkpoint: string;
  /** On the test split. */
  readonly accuracy: number;
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
    output: Flags.file({summary: 'Also write the checkpoint to this file.', helpValue: 'FILE'}),
  };

  async run(): Promise<Result> {
    const {flags} = await this.parse(Pretrain);
    const {result, run, output} = await this.makeRun({
      command: 'pretrain',
      flags,
      async body({phase, context, run}) {
        const {pretrain} = await import('../phases/pretrain.ts');
        return {result: await phase('pretrain', async () => pretrain(context(run.record().results)))};
      },
    });
    const checkpoint = copyOutput(result.checkpoint, output);
    const {best, last, test} = result.accuracy;
    this.log(
      table(
        [{head: 'full precision'}, {head: 'accuracy %', align: 'right'}],
        [
          ['validation, best epoch', percent(best)],
          ['validation, last epoch', percent(last)],
          ['test', percent(test)],
        ],
      ),
    );
    this.log(`\nCheckpoint: ${checkpoint}`);
    return {runId: run.id, checkpoint, accuracy: test, validation: {best, last}};
  }
}
