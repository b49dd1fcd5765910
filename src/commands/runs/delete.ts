import {Flags} from '@oclif/core';

import {DeletionCommand, deletionFlags, reasonToKeep, type DeletionResult} from '../../cli/delete-runs.ts';
import {runArg} from '../../cli/run-arg.ts';
import {ExitCode, SdqError} from '../../errors.ts';
import {findRun} from '../../runs/find-run.ts';

export default class RunsDelete extends DeletionCommand {
  static override summary = 'Delete runs with all their files.';
  static override description = `A run that a process works on is never deleted. One with events that a tracker has not got is deleted with --force only; \
\`<%= config.bin %> track sync\` sends them.`;

  static override examples = [
    '<%= config.bin %> runs delete 20260102-030405-search-1a2b --dry-run',
    '<%= config.bin %> runs delete 20260102-030405-search-1a2b --yes',
  ];

  static override args = {
    runs: runArg({required: true, multiple: true}),
  };

  static override flags = {
    ...deletionFlags,
    force: Flags.boolean({summary: 'Also delete runs with events that a tracker has not received.'}),
  };

  async run(): Promise<DeletionResult> {
    const {args, flags} = await this.parse(RunsDelete);
    const {config} = await this.settings({kinds: []});
    const found = new Map(
      args.runs.map((which) => findRun(config.runs.directory, which)).map((run) => [run.directory, run]),
    );
    const runs = [...found.values()];
    for (const run of runs) {
      const {status, id} = run.record;
      const reason = reasonToKeep(run);
      if (reason === null || (flags.force && status !== 'running')) continue;
      throw new SdqError(`${id} was not deleted: ${reason}.`, {
        code: status === 'running' ? 'directory-locked' : 'run-not-sent',
        exit: ExitCode.notAvailable,
        suggestions:
          status === 'running'
            ? ['Wait for it to end, or stop it first.']
            : [`Send them: sdq track sync ${id}`, `Or lose them: sdq runs delete ${id} --force`],
      });
    }
    return this.deleteRuns(runs, [], flags, `sdq runs delete ${args.runs.join(' ')}`);
  }
}
