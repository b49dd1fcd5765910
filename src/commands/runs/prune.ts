import {Flags} from '@oclif/core';

import {DeletionCommand, deletionFlags, reasonToKeep, type DeletionResult} from '../../cli/delete-runs.ts';
import {parseAge} from '../../phases/run-selection.ts';
import {judgeRuns} from '../../runs/remove-run.ts';
import {allRuns} from '../../runs/find-run.ts';
import {tagsOf} from '../../runs/tags.ts';

const statuses = ['failed', 'interrupted', 'finished'] as const;

export default class RunsPrune extends DeletionCommand {
  static override summary = 'Delete the failed runs of this folder, or those of another status.';
  static override description =
    'Runs with a tag, runs that a process works on, and runs with events that a tracker has not got stay.';

  static override examples = [
    '<%= config.bin %> runs prune --dry-run',
    '<%= config.bin %> runs prune --status failed --status interrupted --older-than 30d --yes',
    '<%= config.bin %> runs prune --status finished --keep-last 10 --yes --json',
  ];

  static override flags = {
    ...deletionFlags,
    status: Flags.option({
      summary: 'Delete runs of this status; may be repeated. By default failed.',
      options: statuses,
      multiple: true,
      multipleNonGreedy: true,
    })(),
    'older-than': Flags.string({
      summary: 'Delete only runs that started longer ago, e.g. 12h, 30d, 8w.',
      helpValue: 'AGE',
    }),
    'keep-last': Flags.integer({
      summary: 'Keep the newest N of them.',
      helpValue: 'N',
      min: 0,
      default: 0,
    }),
  };

  async run(): Promise<DeletionResult> {
    const {flags} = await this.parse(RunsPrune);
    const olderThan = flags['older-than'];
    const {config} = await this.settings({kinds: []});
    const runs = allRuns(config.runs.directory, {onBroken: ({message}) => this.notice(message)});
    const judged = judgeRuns(
      runs,
      {
        statuses: flags.status ?? ['failed'],
        olderThanMs: olderThan === undefined ? undefined : parseAge(olderThan),
        keepLast: flags['keep-last'],
      },
      Date.now(),
      (run) => {
        const tags = tagsOf(run.directory);
        return tags.length > 0 ? `tagged ${tags.join(', ')}` : reasonToKeep(run);
      },
    );
    return this.deleteRuns(
      judged.filter(({keptBecause}) => keptBecause === null),
      judged.flatMap(({record: {id}, keptBecause}) => (keptBecause === null ? [] : [{id, reason: keptBecause}])),
      flags,
      ['sdq runs prune', ...this.argv].join(' '),
    );
  }
}
