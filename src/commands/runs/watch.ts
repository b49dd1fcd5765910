import {Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {runArg} from '../../cli/run-arg.ts';
import {ExitCode} from '../../errors.ts';
import {shownPath} from '../../files.ts';
import {stepOf, watchEvents} from '../../phases/run-watch.ts';
import {findRun} from '../../runs/find-run.ts';
import {resumeCommand} from '../../runs/run-commands.ts';
import type {RunRecord} from '../../runs/run-record.ts';
import {listenForStop} from '../../runs/signals.ts';

export default class RunsWatch extends SdqCommand {
  static override summary = 'Follow a run of another process until it ends.';
  static override description =
    'Reads the files of the run only: Ctrl-C ends the watching, not the run. Prints the epochs that are done, then each as it ends.';

  static override examples = [
    '<%= config.bin %> runs watch',
    '<%= config.bin %> runs watch latest --exit-status --json',
  ];

  static override args = {
    run: runArg({default: 'latest'}),
  };

  static override flags = {
    'exit-status': Flags.boolean({summary: 'End with the exit code of the run.'}),
  };

  async run(): Promise<Pick<RunRecord, 'id' | 'status' | 'exitCode' | 'error'>> {
    const {args, flags} = await this.parse(RunsWatch);
    const {config} = await this.settings({kinds: []});
    const {record, directory} = findRun(config.runs.directory, args.run);
    const stop = listenForStop(() => undefined);
    this.defer(() => stop.dispose());
    this.notice(`Run ${record.id} in ${shownPath(directory)}`);
    try {
      for await (const event of watchEvents({directory}, {signal: stop.signal})) {
        const step = stepOf(event, record);
        if (step === undefined) continue;
        if (step.isEpochEnd) this.notice(`${step.label}: ${step.detail}`);
        else this.progress().update(step.label, step.done, step.total, step.detail);
      }
    } catch (error) {
      // Waiting was cut short: the reason says by which signal.
      throw stop.signal.aborted ? stop.signal.reason : error;
    }
    this.progress().stop();
    const {record: last} = findRun(config.runs.directory, directory);
    const reason = last.error === null ? '' : `: ${last.error.message}`;
    this.log(`${last.id}: ${last.status}${reason}`);
    if (last.status === 'interrupted') this.log(`Next: ${resumeCommand(last.command, directory)}`);
    // A process that died without a word has no exit code.
    const exitCode = last.exitCode ?? (last.status === 'finished' ? ExitCode.done : null);
    if (flags['exit-status']) process.exitCode = exitCode ?? ExitCode.bug;
    return {id: last.id, status: last.status, exitCode, error: last.error};
  }
}
