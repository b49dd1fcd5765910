import {SdqCommand} from '../../cli/base-command.ts';
import {runArg} from '../../cli/run-arg.ts';
import {table} from '../../cli/table.ts';
import {shownPath} from '../../files.ts';
import {isMapping, leaves} from '../../mapping.ts';
import {durationOf, lastMetrics, localTime, nextCommand} from '../../phases/run-summary.ts';
import {findRun} from '../../runs/find-run.ts';
import type {RunRecord} from '../../runs/run-record.ts';
import {tagsOf} from '../../runs/tags.ts';

export default class RunsShow extends SdqCommand {
  static override summary =
    'Show one run: its status, why it failed and the command that continues it, results, latest metrics.';
  static override examples = ['<%= config.bin %> runs show latest', '<%= config.bin %> runs show latest --json'];
  static override args = {
    run: runArg({default: 'latest'}),
  };

  async run(): Promise<{
    run: RunRecord;
    directory: string;
    tags: readonly string[];
    /** Command line that continues it, or begins anew from it; null while it runs and after it finished. */
    next: string | null;
    metrics: Readonly<Record<string, unknown>>;
  }> {
    const {args} = await this.parse(RunsShow);
    const {config} = await this.settings({kinds: []});
    const found = findRun(config.runs.directory, args.run);
    const {record: run, directory} = found;
    const tags = tagsOf(directory);
    const next = nextCommand(found);
    const metrics = lastMetrics(directory);
    const rows: [string, string][] = [
      ['run', run.id],
      ['status', run.exitCode === null ? run.status : `${run.status} (exit code ${run.exitCode})`],
      ...(run.error === null ? [] : [['why', run.error.message] as [string, string]]),
      ...(next === null ? [] : [['next', next] as [string, string]]),
      ...(tags.length === 0 ? [] : [['tags', tags.join(', ')] as [string, string]]),
      ['started', localTime(run.startedAt)],
      ['ended', run.endedAt === null ? '-' : `${localTime(run.endedAt)}, after ${durationOf(run) ?? '-'}`],
      ['resumed', run.resumedAt.map(localTime).join(', ') || 'never'],
      ['engine', run.engine === null ? '-' : `${run.engine.name}: ${run.engine.device}`],
      ['git commit', run.git === null ? '-' : `${run.git.commit}${run.git.dirty ? ' with changes' : ''}`],
      ['folder', shownPath(directory)],
    ];
    for (const [phase, result] of Object.entries(run.results)) {
      for (const [key, value] of leaves(result as Record<string, unknown>, '.'))
        if (!isEmptyList(value)) rows.push([`${phase}.${key}`, render(value)]);
    }
    for (const [name, value] of Object.entries(metrics)) {
      if (!name.startsWith('dbp/')) rows.push([name, render(value)]);
    }
    this.log(
      table(
        [
          {head: 'what', keep: true},
          {head: 'value', wrap: true},
        ],
        rows,
      ),
    );
    return {run, directory, tags, next, metrics};
  }
}

const isEmptyList = (value: unknown): boolean => Array.isArray(value) && value.length === 0;

/** Numbers to six digits, paths from here, lists of mappings as `name: a, cost: 3; name: b, cost: 4`. */
function render(value: unknown): string {
  if (typeof value === 'number') return String(Number(value.toPrecision(6)));
  if (Array.isArray(value)) return value.map(render).join(value.some(isMapping) ? '; ' : ', ');
  if (isMapping(value)) {
    return Object.entries(value)
      .map(([key, part]) => `${key}: ${render(part)}`)
      .join(', ');
  }
  return typeof value === 'string' ? shownPath(value) : JSON.stringify(value);
}
