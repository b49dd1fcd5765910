import {Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {table} from '../../cli/table.ts';
import {selectRuns, sortNames, type ListedRun} from '../../phases/run-selection.ts';
import {localTime, shownSeconds, summarise} from '../../phases/run-summary.ts';
import {allRuns} from '../../runs/find-run.ts';
import {tagsOf} from '../../runs/tags.ts';

export default class RunsList extends SdqCommand {
  static override summary = 'List the runs of this folder, the newest last.';
  static override description =
    'Filters: command, status, model, data, tag. Several values of one key are alternatives; several keys must all fit.';

  static override examples = [
    '<%= config.bin %> runs list',
    '<%= config.bin %> runs list --last 5 --filter status=finished',
    '<%= config.bin %> runs list --sort metric --reverse --json',
  ];

  static override flags = {
    last: Flags.integer({summary: 'Show only the newest N runs.', helpValue: 'N', min: 1}),
    filter: Flags.string({
      summary: 'Show only runs that fit, e.g. status=failed; may be repeated.',
      helpValue: 'KEY=VALUE',
      multiple: true,
      multipleNonGreedy: true,
    }),
    sort: Flags.option({
      summary: 'Sort by this, ascending; runs without the figure come last.',
      options: sortNames,
      default: 'started' as const,
    })(),
    reverse: Flags.boolean({summary: 'Sort in descending order.'}),
  };

  async run(): Promise<{runs: readonly ListedRun[]}> {
    const {flags} = await this.parse(RunsList);
    const {config} = await this.settings({kinds: []});
    const all = allRuns(config.runs.directory, {
      onBroken: ({message}) => this.notice(message),
      onRenamed: ({record, directory}) => this.notice(`${record.id} stands in ${directory}, which was renamed.`),
    }).map(({record, directory}) => ({...summarise(record), tags: tagsOf(directory)}));
    const runs = selectRuns(all, {...flags, filter: flags.filter ?? [], last: flags.last});
    if (runs.length > 0) this.log(listTable(runs));
    else
      this.log(
        all.length === 0
          ? `No runs in ${config.runs.directory}.`
          : `None of the ${all.length} runs in ${config.runs.directory} fits.`,
      );
    return {runs};
  }
}

function listTable(runs: readonly ListedRun[]): string {
  const hasTags = runs.some(({tags}) => tags.length > 0);
  return table(
    [
      {head: 'run', keep: true},
      {head: 'command', optional: true},
      {head: 'status', keep: true},
      {head: 'model', optional: true},
      {head: 'data', optional: true},
      {head: 'started', keep: true, optional: true},
      {head: 'took', align: 'right', optional: true},
      {head: 'W bits', align: 'right'},
      {head: 'accuracy %', align: 'right'},
      ...(hasTags ? [{head: 'tags', optional: true as const}] : []),
    ],
    runs.map((run) => [
      run.id,
      run.command,
      run.status,
      run.model,
      run.data,
      localTime(run.startedAt),
      run.seconds === null ? null : shownSeconds(run.seconds),
      run.meanWeightBits?.toFixed(2) ?? null,
      shownMetric(run),
      ...(hasTags ? [run.tags.join(', ')] : []),
    ]),
  );
}

function shownMetric({accuracy, metric}: ListedRun): string | null {
  if (metric !== undefined && metric.value !== null) return `${metric.name} ${metric.value.toPrecision(4)}`;
  return accuracy === null ? null : (100 * accuracy).toFixed(2);
}
