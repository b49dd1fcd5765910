import {existsSync} from 'node:fs';

import {Flags} from '@oclif/core';

import {present} from '../lookup.ts';
import {copyOutput} from '../cli/output.ts';
import {RunCommand, runFlags, type DryRun, teacherFile} from '../cli/run-command.ts';
import {settingFlags} from '../cli/setting-flags.ts';
import {table} from '../cli/table.ts';
import {trainingRows} from '../cli/training-rows.ts';
import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {checkFile} from '../files.ts';
import {metricHead, trainingMetric} from '../phases/results.ts';
import {metricOfRun, taskOfRun} from '../runs/run-record.ts';

/** The primary metric under its name, a `TrainingMetric`, and: */
interface Result {
  readonly runId: string;
  readonly task: string;
  readonly checkpoint: string;
  readonly meanWeightBits: number;
}

export default class Train extends RunCommand {
  static override summary = 'Train a network at the bitwidths of a strategy (phase 2).';
  static override examples = [
    '<%= config.bin %> train --strategy strategy.json',
    '<%= config.bin %> train --strategy strategy.json --checkpoint searched.safetensors --output quantized.safetensors',
  ];

  static override flags = {
    ...runFlags,
    ...settingFlags.train,
    strategy: Flags.file({summary: 'The strategy to train with.', helpValue: 'FILE'}),
    checkpoint: Flags.file({
      summary: 'Start from these weights, e.g. those the search left, in place of model.weights.',
      helpValue: 'FILE',
    }),
    output: Flags.file({summary: 'Also write the checkpoint to this file.', helpValue: 'FILE'}),
  };

  async run(): Promise<Result | DryRun> {
    const {flags} = await this.parse(Train);
    const made = await this.makeRun({
      command: 'train',
      flags,
      reads({model, train: {distillation}}) {
        if (flags.strategy === undefined) throw noStrategy();
        checkFile(flags.strategy);
        if (model.weights === undefined && flags.checkpoint === undefined) throw noWeights();
        return [flags.strategy, flags.checkpoint, model.weights, teacherFile(distillation)];
      },
      async check(session) {
        const {checkTrain} = await import('../phases/preflight.ts');
        const weights = flags.checkpoint ?? session.config.model.weights;
        if (flags.strategy !== undefined && weights !== undefined) checkTrain(session, flags.strategy, weights);
      },
      async body({session, phase, context, run}) {
        const [{train}, {readStrategy}, {keepWeights, keptFiles}] = await Promise.all([
          import('../phases/train.ts'),
          import('../phases/strategy-file.ts'),
          import('../phases/kept-weights.ts'),
        ]);
        const {model, train: settings} = session.config;
        // The run keeps its own copies, so that it can be resumed whatever becomes of the files.
        const [strategy, weights] = [run.path('strategy.json'), run.path(keptFiles.start)];
        if (flags.strategy !== undefined) {
          readStrategy(flags.strategy);
          copyOutput(flags.strategy, strategy);
          keepWeights(session, run, keptFiles.start, flags.checkpoint ?? present(model.weights, 'model.weights'));
          if (
            flags.checkpoint !== undefined &&
            model.weights !== undefined &&
            settings.distillation.teacher === 'self'
          ) {
            keepWeights(session, run, keptFiles.fullPrecision, model.weights);
          }
        }
        const fullPrecisionFile = run.path(keptFiles.fullPrecision);
        const fullPrecision = existsSync(fullPrecisionFile) ? fullPrecisionFile : weights;
        // An error about the strategy names the file that the user gave.
        const input = {strategy: flags.strategy ?? strategy, weights, fullPrecision};
        return {result: await phase('train', async () => train(context(run.record().results), input))};
      },
    });
    if (made.plan !== undefined) return made.plan;
    const {result, run, output} = made;
    const checkpoint = copyOutput(result.checkpoint, output);
    const metric = metricOfRun(run.record());
    const values = trainingMetric(metric, result);
    this.log(
      table(
        [{head: `W ${result.meanWeightBits.toFixed(2)}`}, {head: metricHead(metric), align: 'right'}],
        trainingRows(metric, values),
      ),
    );
    this.log(`\nCheckpoint: ${checkpoint}`);
    return {
      runId: run.id,
      task: taskOfRun(run.record()),
      checkpoint,
      [metric.name]: values,
      meanWeightBits: result.meanWeightBits,
    };
  }
}

function noStrategy(): SdqError {
  return new SdqError('Phase 2 trains at the bits of a strategy; --strategy FILE is missing.', {
    code: 'train-input-missing',
    exit: ExitCode.usage,
    suggestions: ['sdq search --output strategy.json', 'sdq strategy create --weight-bits 4 --output strategy.json'],
  });
}

function noWeights(): SdqError {
  return invalidInput(
    'no-weights',
    'Phase 2 starts from trained weights, and neither --checkpoint nor model.weights names any.',
    [
      'Name them: --checkpoint FILE, or --set model.weights=FILE.',
      'Or train them: sdq pretrain --output full-precision.safetensors',
    ],
  );
}
