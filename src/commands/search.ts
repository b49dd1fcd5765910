import path from 'node:path';

import {Flags} from '@oclif/core';

import {present, property} from '../lookup.ts';
import {copyOutput} from '../cli/output.ts';
import {relationships} from '../cli/base-command.ts';
import {RunCommand, runFlags, type DryRun, teacherFile} from '../cli/run-command.ts';
import {settingFlags} from '../cli/setting-flags.ts';
import {showBudgets, showStrategy} from '../cli/strategy-view.ts';
import {table} from '../cli/table.ts';
import {invalidInput, type SdqError} from '../errors.ts';
import {figureOf, metricCell, metricHead, type SearchResult} from '../phases/results.ts';
import {metricOfRun, type RunMetric} from '../runs/run-record.ts';

interface Result extends SearchResult {
  readonly runId: string;
  /** The journal, with every layer's β, bits and cost. */
  readonly history: string;
}

export default class Search extends RunCommand {
  static override summary = 'Learn how many bits each layer needs (phase 1).';
  static override examples = [
    '<%= config.bin %> search',
    '<%= config.bin %> search --set search.target.meanWeightBits=2 --output strategy.json',
    '<%= config.bin %> search --set search.method=interpolation',
    '<%= config.bin %> search --set "search.target={hardware: bitfusion-edge, latencyMs: 0.5}" --set search.activationBits=8',
    '<%= config.bin %> search --pareto 8',
  ];

  static override flags = {
    ...runFlags,
    ...settingFlags.search,
    pareto: Flags.integer({
      summary: 'Also keep N strategies on the way to the target; short for search.pareto.',
      helpValue: 'N',
      min: 1,
      max: 100,
      relationships,
    }),
    output: Flags.file({summary: 'Also write the strategy to this file.', helpValue: 'FILE'}),
  };

  async run(): Promise<Result | DryRun> {
    const {flags} = await this.parse(Search);
    const made = await this.makeRun({
      command: 'search',
      flags,
      tried:
        flags.pareto === undefined
          ? []
          : [{name: `--pareto ${flags.pareto}`, base: process.cwd(), values: {search: {pareto: flags.pareto}}}],
      reads({model, search, train: {distillation}}) {
        if (model.weights === undefined) throw noWeights();
        return [model.weights, search.distillation ? teacherFile(distillation) : undefined];
      },
      async body({session, phase, context, run}) {
        const {weights} = session.config.model;
        const [{search}, {keepTeacher}, {targetMissed}, {keepWeights, keptFiles}] = await Promise.all([
          import('../phases/search.ts'),
          import('../phases/teacher.ts'),
          import('../phases/run-errors.ts'),
          import('../phases/kept-weights.ts'),
        ]);
        const start = keepWeights(session, run, keptFiles.start, present(weights, 'weights'));
        if (session.config.search.distillation) keepTeacher({session, run});
        const result = await phase('search', async () => search(context(run.record().results), start));
        return {result, failure: targetMissed(session, result.budgets, run)};
      },
    });
    if (made.plan !== undefined) return made.plan;
    const {result, run, output} = made;
    const {readStrategy} = await import('../phases/strategy-file.ts');
    this.log(`${showStrategy(readStrategy(result.strategy))}\n${showBudgets(result.budgets)}`);
    if (result.pareto.length > 0) this.log(`${paretoTable(metricOfRun(run.record()), result)}\n`);
    const strategy = copyOutput(result.strategy, output);
    this.log(`Strategy: ${strategy}`);
    return {runId: run.id, ...result, strategy, history: run.path('events.jsonl')};
  }
}

/** The strategies kept on the way. */
function paretoTable(metric: RunMetric, {budgets, pareto}: SearchResult): string {
  const names = budgets.map(({name}) => name).filter((name) => name !== 'meanWeightBits');
  return table(
    [
      {head: 'strategy'},
      {head: 'mean weight bits', align: 'right'},
      ...names.map((head) => ({head, align: 'right' as const})),
      {head: 'validation loss', align: 'right'},
      {head: metricHead(metric), align: 'right'},
      {head: ''},
    ],
    pareto.map((point) => [
      path.basename(point.strategy),
      point.meanWeightBits.toFixed(3),
      ...names.map((name) => Number(property(point.costs, name).toPrecision(4))),
      point.loss.toFixed(4),
      metricCell(metric, figureOf(metric, point)),
      point.dominated ? 'dominated' : '',
    ]),
  );
}

function noWeights(): SdqError {
  return invalidInput(
    'no-weights',
    'The search starts from a trained network, and the config names no model.weights.',
    ['sdq pretrain --output full-precision.safetensors', 'sdq run pretrains by itself.'],
  );
}
