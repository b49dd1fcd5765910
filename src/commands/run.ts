import {Flags} from '@oclif/core';

import {present} from '../lookup.ts';
import {copyOutput} from '../cli/output.ts';
import {shownPath} from '../files.ts';
import {RunCommand, runFlags, type DryRun, teacherFile} from '../cli/run-command.ts';
import {settingFlags} from '../cli/setting-flags.ts';
import {showBudgets, showStrategy} from '../cli/strategy-view.ts';
import {table} from '../cli/table.ts';
import {metricCell, metricHead, trainingMetric} from '../phases/results.ts';
import {metricOfRun, taskOfRun} from '../runs/run-record.ts';
import type {Evaluation} from '../training/task.ts';

interface Result {
  readonly runId: string;
  readonly task: string;
  /** Null when the search missed its target and nothing was trained. */
  readonly fullPrecision: Evaluation | null;
  /** With the primary metric under its name, a `TrainingMetric`. */
  readonly quantized: {readonly checkpoint: string} | null;
  readonly strategy: string;
  readonly meanWeightBits: number;
  readonly compression: number;
}

export default class Run extends RunCommand {
  static override summary = 'Run the whole job: prepare, search, train and evaluate.';
  static override description = `Without model.weights in the config the network is trained in full precision first. An \
interrupted run continues with --resume, to the same result.`;

  static override examples = [
    '<%= config.bin %> run',
    '<%= config.bin %> run --set search.target.meanWeightBits=3 --set train.epochs=10',
    '<%= config.bin %> run --resume latest',
  ];

  static override flags = {
    ...runFlags,
    ...settingFlags.run,
    output: Flags.file({summary: 'Also write the quantized checkpoint to this file.', helpValue: 'FILE'}),
  };

  async run(): Promise<Result | DryRun> {
    const {flags} = await this.parse(Run);
    const made = await this.makeRun({
      command: 'run',
      flags,
      reads: ({model, train: {distillation}}) => [model.weights, teacherFile(distillation)],
      async body(context) {
        const {runAll} = await import('../phases/run-all.ts');
        return runAll(context);
      },
    });
    if (made.plan !== undefined) return made.plan;
    const {result, run, output} = made;
    const {readStrategy} = await import('../phases/strategy-file.ts');
    const found = present(result.search, 'result of the search');
    const strategy = readStrategy(found.strategy);
    this.log(`${showStrategy(strategy)}\n${showBudgets(found.budgets)}`);
    const {fullPrecision = null, train} = result;
    const metric = metricOfRun(run.record());
    if (fullPrecision !== null && train !== undefined) {
      const params = strategy.layers.reduce((sum, layer) => sum + layer.params, 0);
      const size = (bits: number): string => ((params * bits) / 8 / 1024).toFixed(1);
      this.log(
        table(
          [
            {head: ''},
            {head: `test ${metricHead(metric)}`, align: 'right'},
            {head: 'weight bits', align: 'right'},
            {head: 'weights KiB', align: 'right'},
          ],
          [
            ['full precision', metricCell(metric, fullPrecision[metric.name] ?? null), '32', size(32)],
            [
              'quantized',
              metricCell(metric, trainingMetric(metric, train).test),
              found.meanWeightBits.toFixed(2),
              size(found.meanWeightBits),
            ],
          ],
        ),
      );
      const checkpoint = copyOutput(train.checkpoint, output);
      this.log(
        `\nStrategy:   ${shownPath(found.strategy)}\nCheckpoint: ${shownPath(checkpoint)}\nReport:     ${shownPath(run.path('report.html'))}`,
      );
    }
    return {
      runId: run.id,
      task: taskOfRun(run.record()),
      fullPrecision,
      quantized:
        train === undefined
          ? null
          : {[metric.name]: trainingMetric(metric, train), checkpoint: output ?? train.checkpoint},
      strategy: found.strategy,
      meanWeightBits: found.meanWeightBits,
      compression: found.compression,
    };
  }
}
