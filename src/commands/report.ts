import path from 'node:path';

import {Flags} from '@oclif/core';

import {SdqCommand} from '../cli/base-command.ts';
import {runArg} from '../cli/run-arg.ts';
import {writeReport} from '../phases/run-report.ts';
import {findRun} from '../runs/run-directory.ts';

export default class Report extends SdqCommand {
  static override summary = 'Write a run as one HTML page: results, bits of each layer, curves.';
  static override description = `The page is one file without scripts, to be opened, mailed or kept by CI. A run that ends well writes it itself, as report.html in its folder; \
this command does so for one that goes on or was stopped.`;

  static override examples = [
    '<%= config.bin %> report',
    '<%= config.bin %> report latest --output report.html --json',
  ];

  static override args = {
    run: runArg({default: 'latest'}),
  };

  static override flags = {
    output: Flags.file({summary: "Where to write it; report.html in the run's folder by default.", helpValue: 'FILE'}),
  };

  async run(): Promise<{readonly path: string; readonly runId: string}> {
    const {args, flags} = await this.parse(Report);
    const {config} = await this.settings({kinds: []});
    const found = findRun(config.runs.directory, args.run);
    const file = writeReport(found, flags.output === undefined ? undefined : path.resolve(flags.output));
    this.log(file);
    return {path: file, runId: found.record.id};
  }
}
