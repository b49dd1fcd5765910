import {SdqCommand} from '../../cli/base-command.ts';
import {runArg} from '../../cli/run-arg.ts';
import {table} from '../../cli/table.ts';
import {differences, type Difference} from '../../phases/run-summary.ts';
import {findRun} from '../../runs/find-run.ts';

export default class RunsCompare extends SdqCommand {
  static override summary = 'Compare two runs: what differs in their settings, results and bits.';
  static override examples = ['<%= config.bin %> runs compare 20260102-030405-search-1a2b latest'];
  static override args = {
    a: runArg({required: true}),
    b: runArg({description: 'The other run.', required: true}),
  };

  async run(): Promise<{a: string; b: string; differences: readonly Difference[]}> {
    const {args} = await this.parse(RunsCompare);
    const {config} = await this.settings({kinds: []});
    const [a, b] = [findRun(config.runs.directory, args.a), findRun(config.runs.directory, args.b)];
    const found = differences(a, b);
    const rows = found.map(({key, a: left, b: right}) => [
      key,
      left === undefined ? '-' : JSON.stringify(left),
      right === undefined ? '-' : JSON.stringify(right),
    ]);
    this.log(
      rows.length === 0
        ? 'The two runs do not differ.'
        : table([{head: 'key'}, {head: a.record.id, wrap: true}, {head: b.record.id, wrap: true}], rows),
    );
    return {a: a.record.id, b: b.record.id, differences: found};
  }
}
