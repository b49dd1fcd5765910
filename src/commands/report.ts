import path from 'node:path';

import {Flags} from '@oclif/core';

import {SdqCommand} from '../cli/base-command.ts';
import {openPage} from '../cli/open-page.ts';
import {outputPath} from '../cli/output.ts';
import {runArg} from '../cli/run-arg.ts';
import {item} from '../lookup.ts';
import {writeComparison} from '../phases/run-comparison.ts';
import {writeReport} from '../phases/run-report.ts';
import {findRun} from '../runs/find-run.ts';

interface Result {
  readonly path: string;
  /** Of the run, or of the first of several. */
  readonly runId: string;
  readonly runIds: readonly string[];
}

export default class Report extends SdqCommand {
  static override summary = 'Write a run as one HTML page, or several side by side.';
  static override description = `Results, bits of each layer, curves, settings, and why a run failed. The page is one file without scripts, to be \
opened, mailed or kept by CI. A run that ends well writes it itself, as report.html in its folder; this command does so for one that is still running or was \
stopped. Of several runs it writes comparison.html.`;

  static override examples = [
    '<%= config.bin %> report --open',
    '<%= config.bin %> report latest --output report.html --json',
    '<%= config.bin %> report 20260102-030405-run-1a2b latest --output comparison.html',
  ];

  static override args = {
    runs: runArg({default: ['latest'], multiple: true}),
  };

  static override flags = {
    output: Flags.file({
      summary: "Where to write it; by default report.html in the run's folder, of several runs comparison.html here.",
      helpValue: 'FILE',
    }),
    open: Flags.boolean({summary: 'Open the page in the browser.'}),
  };

  async run(): Promise<Result> {
    const {args, flags} = await this.parse(Report);
    const {config} = await this.settings({kinds: []});
    const runs = args.runs.map((which) => findRun(config.runs.directory, which));
    const first = item(runs, 0);
    const given = flags.output === undefined ? undefined : path.resolve(flags.output);
    const file =
      runs.length === 1 ? writeReport(first, given) : writeComparison(runs, outputPath(given, 'comparison.html'));
    this.log(file);
    const trouble = flags.open ? await openPage(file) : undefined;
    if (trouble !== undefined) this.notice(`The page was not opened: ${trouble}`);
    return {path: file, runId: first.record.id, runIds: runs.map(({record}) => record.id)};
  }
}
