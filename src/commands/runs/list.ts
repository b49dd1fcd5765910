import {SdqCommand} from '../../cli/base-command.ts';
import {table} from '../../cli/table.ts';
import {localTime, shownSeconds, summarise, type RunSummary} from '../../phases/run-summary.ts';
import {listRuns} from '../../runs/run-directory.ts';

export default class RunsList extends SdqCommand {
  static override summary = 'List the runs of this folder.';
  static override examples = ['<%= config.bin %> runs list', '<%= config.bin %> runs list --json'];

  async run(): Promise<{runs: readonly RunSummary[]}> {
    await this.parse(RunsList);
    const {config} = await this.settings({kinds: []});
    const runs = listRuns(config.runs.directory, {
      onBroken: ({message}) => this.notice(message),
      onRenamed: ({record, directory}) => this.notice(`${record.id} stands in ${directory}, which was renamed.`),
    }).map(summarise);
    if (runs.length === 0) {
      this.log(`No runs in ${config.runs.directory}.`);
    } else {
      const percent = (fraction: number | null): string | null =>
        fraction === null ? null : (fraction * 100).toFixed(2);
      const shown = ({accuracy, metric}: RunSummary): string | null =>
        metric === undefined || metric.value === null
          ? percent(accuracy)
          : `${metric.name} ${metric.value.toPrecision(4)}`;
      this.log(
        table(
          [
            {head: 'run', keep: true},
            {head: 'status', keep: true},
            {head: 'model', optional: true},
            {head: 'data', optional: true},
            {head: 'started', keep: true, optional: true},
            {head: 'took', align: 'right', optional: true},
            {head: 'W bits', align: 'right'},
            {head: 'accuracy %', align: 'right'},
          ],
          runs.map((run) => [
            run.id,
            run.status,
            run.model,
            run.data,
            localTime(run.startedAt),
            run.seconds === null ? null : shownSeconds(run.seconds),
            run.meanWeightBits?.toFixed(2) ?? null,
            shown(run),
          ]),
        ),
      );
    }
    return {runs};
  }
}
