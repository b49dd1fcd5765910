import {Args, Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {runArg} from '../../cli/run-arg.ts';
import {findRun} from '../../runs/find-run.ts';
import {changeTags} from '../../runs/tags.ts';

interface Result {
  readonly id: string;
  readonly tags: readonly string[];
}

export default class RunsTag extends SdqCommand {
  static override summary = 'Tag a run, e.g. to find it again or to keep it from being pruned.';
  static override description = `Without tags it prints those that the run has. A tag that one run has names that run: \`<%= config.bin %> runs show best\`.`;

  static override examples = [
    '<%= config.bin %> runs tag latest best paper-table-2',
    '<%= config.bin %> runs tag latest --remove best',
  ];

  static override args = {
    run: runArg({required: true}),
    tags: Args.string({description: 'Letters, digits, ".", "_" and "-".', multiple: true}),
  };

  static override flags = {
    remove: Flags.string({
      summary: 'Remove this tag; may be repeated.',
      helpValue: 'TAG',
      multiple: true,
      multipleNonGreedy: true,
    }),
  };

  async run(): Promise<Result> {
    const {args, flags} = await this.parse(RunsTag);
    const {config} = await this.settings({kinds: []});
    const {record, directory} = findRun(config.runs.directory, args.run);
    const tags = changeTags(directory, {add: args.tags ?? [], remove: flags.remove ?? []});
    this.log(`${record.id}: ${tags.length === 0 ? 'no tags' : tags.join(', ')}`);
    return {id: record.id, tags};
  }
}
