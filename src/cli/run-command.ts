/** What the four commands that make a run share: pretrain, search, train, run. */
import path from 'node:path';

import {Flags} from '@oclif/core';

import type {SdqError} from '../errors.ts';
import type {Run} from '../runs/run-directory.ts';
import type {RunContext} from '../phases/run.ts';
import type {JobConfig} from '../phases/session.ts';
import type {Kind} from '../plugins/registry.ts';
import {SdqCommand, sweepFlags} from './base-command.ts';

export const runFlags = {
  ...sweepFlags,
  resume: Flags.string({
    summary: 'Continue a run with its own settings: an id, a unique beginning of one, or `latest`.',
    helpValue: 'RUN',
    exclusive: ['set', 'sweep-params'],
  }),
};

/** Everything a run looks up. */
const kinds: readonly Kind[] = ['engine', 'dataset', 'model', 'weight-quantizer', 'activation-quantizer', 'searcher'];

export abstract class RunCommand extends SdqCommand {
  /**
   * Makes or resumes a run and gives it to `body`; a failed check sets the exit code and the result is still printed.
   * @param options.resume the flag
   * @param options.check throws where a new run lacks something, before its folder is made
   */
  protected async makeRun<T>({
    command,
    resume,
    check,
    body,
  }: {
    readonly command: 'pretrain' | 'search' | 'train' | 'run';
    readonly resume: string | undefined;
    readonly check?: (config: JobConfig) => void;
    readonly body: (context: RunContext) => Promise<{readonly result: T; readonly failure?: SdqError | undefined}>;
  }): Promise<{readonly result: T; readonly run: Run}> {
    const settings = resume === undefined ? await this.settings({require: ['model', 'data'], kinds}) : undefined;
    if (settings !== undefined) check?.(settings.config);
    // A resumed run has its own settings; those at hand only say where the runs are.
    const {config, file} = settings ?? (await this.settings({kinds: []}));
    const base = file === undefined ? process.cwd() : path.dirname(file);
    const {withRun} = await import('../phases/run.ts');
    const {result, failure, run} = await withRun(
      {
        command,
        root: config.runs.directory,
        reporter: this.progress(),
        id: process.env['SDQ_RUN_ID'],
        versions: {sdq: this.config.version, node: process.version},
        begin: settings ?? {
          id: resume!,
          restore: (name, values) => this.storedSettings({name, base, values}, kinds),
        },
      },
      body,
    );
    this.progress().stop();
    if (failure !== undefined) this.checkFailed(failure);
    return {result, run};
  }
}
