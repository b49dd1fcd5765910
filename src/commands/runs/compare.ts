import {Args} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {table} from '../../cli/table.ts';
import {differences, type Difference} from '../../phases/run-summary.ts';
import {findRun} from '../../runs/run-directory.ts';

export default class RunsCompare extends SdqCommand {
  static override summary = 'Compare two runs: what differs in their settings, results and bits.';
  static override examples = ['<%= config.bin %> runs compare 20260102-030405-search-1a2b latest'];
  static override args = {
    a: Args.string({description: "A run's id, a unique beginning of one, or `latest`.", required: true}),
    b: Args.string({description: 'The other run.', required: true}),
  };

  async run(): Promise<{a: string; b: string; differences: readonly Difference[]}> {
    const {args} = await this.parse(RunsCompare);
    const {config} = await this.settings({kinds: []});
    const root = config.runs.directory;
    const [a, b] = [findRun(root, args.a), findRun(root, args.b)];
    const found = differences(root, a, b);
    const rows = found.map(({key, a: left, b: right}) => [
      key,
      left === undefined ? '-' : JSON.stringify(left),
      right === undefined ? '-' : JSON.stringify(right),
    ]);
    this.log(
      rows.length === 0 ? 'The two runs do not differ.' : table([{head: 'key'}, {head: a.id}, {head: b.id}], rows),
    );
    return {a: a.id, b: b.id, differences: found};
  }
}
