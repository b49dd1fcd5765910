/** What the four commands that make a run share: pretrain, search, train, run. */
import path from 'node:path';

import {Flags} from '@oclif/core';

import {present} from '../lookup.ts';
import type {Source} from '../schema/settings.ts';
import {verdict} from './colours.ts';
import {settingsOfCommand, type GivenSettings, type settingFlags} from './setting-flags.ts';
import {table} from './table.ts';
import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {checkFile, checkWritable} from '../files.ts';
import {trackersFailed} from './trackers-failed.ts';
import type {Results} from '../phases/results.ts';
import {waitForSilentOwner} from '../lock.ts';
import {findRun, newestUnfinished} from '../runs/find-run.ts';
import {resumeCommand} from '../runs/run-commands.ts';
import type {Run} from '../runs/run-directory.ts';
import {checkTrackers} from '../tracking/sync.ts';
import type {RunContext} from '../phases/run.ts';
import type {JobPlan} from '../phases/preflight.ts';
import type {JobConfig, Session} from '../phases/session.ts';
import type {Kind} from '../plugin-api/registry.ts';
import {SdqCommand, sweepFlags, type Settings} from './base-command.ts';

export const runFlags = {
  ...sweepFlags,
  resume: Flags.string({
    summary:
      'Continue a run with its own settings: its folder, its id, a unique beginning of it, or `latest`. --set may only say where its files are now. With `auto` continue the newest unfinished run, or begin one: --set and --sweep-params must be as it has them.',
    helpValue: 'RUN',
  }),
  'preempted-exit': Flags.integer({
    summary:
      'Exit code after SIGTERM or SIGUSR1, when the state is saved, in place of 143: what a scheduler takes for a preempted job.',
    helpValue: 'CODE',
    min: 0,
    max: 255,
  }),
  from: Flags.string({
    summary:
      'Begin a new run with the settings of another and the full-precision weights that it trained; --set changes them.',
    helpValue: 'RUN',
    exclusive: ['resume'],
  }),
  'tracker-strict': Flags.boolean({
    summary: 'Exit with 6 if a tracker has not received everything.',
  }),
};

/** The weights of a teacher that is another network. */
export function teacherFile({teacher}: JobConfig['train']['distillation']): string | undefined {
  return typeof teacher === 'string' ? undefined : teacher.weights;
}

/** What `--dry-run` prints (`schemas/results/dry-run.schema.json`). */
export interface DryRun extends JobPlan {
  readonly dryRun: true;
}

/** Everything a run looks up. */
export const runKinds: readonly Kind[] = [
  'engine',
  'dataset',
  'model',
  'task',
  'weight-quantizer',
  'activation-quantizer',
  'searcher',
  'cost-model',
  'tracker',
  'exporter',
];

export abstract class RunCommand extends SdqCommand {
  /** Of `--preempted-exit`, once a signal asked for it. */
  #preemptedExit: number | undefined;

  /**
   * Makes or resumes a run and gives it to `body`; a failed check sets the exit code and the result is still printed.
   * @param options.flags of `runFlags` and of `settingFlags`, and `--output`
   * @param options.tried settings over all others, that further flags of the command stand for
   * @param options.check what else a new run checks of its open session before it has a folder; throws
   * @param options.reads the files that a new run reads; throws where it lacks one. They and `--output` are looked at before its folder is made
   */
  protected async makeRun<T>({
    command,
    flags,
    tried = [],
    reads = () => [],
    check,
    body,
  }: {
    readonly command: 'pretrain' | 'search' | 'train' | 'run';
    readonly flags: GivenSettings & {
      readonly resume: string | undefined;
      readonly from: string | undefined;
      readonly 'tracker-strict': boolean;
      readonly 'preempted-exit': number | undefined;
      readonly output: string | undefined;
    };
    readonly tried?: readonly Source[];
    readonly reads?: (config: JobConfig) => readonly (string | undefined)[];
    readonly check?: (session: Session) => Promise<void>;
    readonly body: (context: RunContext) => Promise<{readonly result: T; readonly failure?: SdqError | undefined}>;
  }): Promise<
    | {
        readonly plan?: undefined;
        readonly result: T;
        readonly run: Run;
        /** Where the user wants the result: `--output`, or that of the command which began the run. */
        readonly output: string | undefined;
      }
    | {readonly plan: DryRun}
  > {
    const {resume, from, 'preempted-exit': preemptedExit, 'tracker-strict': strict, output} = flags;
    const environment = {env: process.env, cwd: process.cwd()};
    const isAuto = resume === 'auto';
    if (resume !== undefined && !isAuto) await this.refuseOtherSettings();
    if (preemptedExit !== undefined) this.#watchForPreemption(preemptedExit);
    const origin = from === undefined ? undefined : await this.#originOf(from);
    const given =
      resume === undefined || isAuto
        ? await this.settings({
            require: ['model', 'data'],
            kinds: runKinds,
            origin,
            tried: [...settingsOfCommand(command, flags, process.cwd()), ...tried],
          })
        : undefined;
    const begun = isAuto && given !== undefined ? await this.#unfinishedRun(command, given) : undefined;
    const settings = begun === undefined ? given : undefined;
    if (settings !== undefined) checkTrackers(settings.config.tracking, settings.registry, environment);
    const inputs = settings === undefined ? [] : reads(settings.config);
    for (const input of inputs) if (input !== undefined) checkFile(input);
    if (output !== undefined) checkWritable(output);
    if (flags['dry-run'] && settings !== undefined) return {plan: await this.#dryRun(command, settings, check)};
    // A resumed run has its own settings; those at hand only say where the runs are.
    const {config, file} = given ?? (await this.settings({kinds: [], set: []}));
    const base = file === undefined ? process.cwd() : path.dirname(file);
    const [{withRun}, {startTracking}, {knownPlugins}] = await Promise.all([
      import('../phases/run.ts'),
      import('./tracking.ts'),
      import('./load-registry.ts'),
    ]);
    const {result, failure, run, tracking} = await withRun(
      {
        command,
        root: config.runs.directory,
        reporter: this.progress(),
        output: output === undefined ? undefined : path.resolve(output),
        id: process.env['SDQ_RUN_ID'],
        versions: {sdq: this.config.version, node: process.version},
        inputs: inputs.flatMap((input) => (input === undefined ? [] : [path.resolve(input)])),
        begin:
          settings === undefined
            ? {
                id: begun?.directory ?? present(resume, 'run to resume'),
                restore: async (name, values) => {
                  const places = begun ?? {set: this.commonFlags().set ?? []};
                  const stored = await this.storedSettings({name, base, values}, runKinds, places);
                  checkTrackers(stored.config.tracking, stored.registry, environment);
                  return stored;
                },
              }
            : {...settings, check},
        startTracking: ({plugins, ...work}, listeners) =>
          startTracking({...work, base, plugins: [...plugins, ...knownPlugins(this.config)]}, listeners),
      },
      body,
    );
    this.progress().stop();
    const error = failure ?? (strict ? trackersFailed(tracking, run) : undefined);
    if (error !== undefined) this.checkFailed(error);
    return {result, run, output: output ?? run.record().output ?? undefined};
  }

  /** Everything that is checked before a run has a folder, and what would follow. */
  async #dryRun(
    command: keyof typeof settingFlags,
    {config, registry}: Settings<'model' | 'data'>,
    check: ((session: Session) => Promise<void>) | undefined,
  ): Promise<DryRun> {
    const [{openSession}, {planOf, preflight}] = await Promise.all([
      import('../phases/session.ts'),
      import('../phases/preflight.ts'),
    ]);
    const session = await openSession(config, registry, this.progress());
    try {
      preflight(session, command);
      await check?.(session);
      const plan = planOf(session, command);
      const {network, samples, engine, phases} = plan;
      this.progress().stop();
      const columns = [{head: 'phase'}, {head: 'epochs', align: 'right'}, {head: 'steps', align: 'right'}] as const;
      this.log(
        [
          `${network.name}: ${network.layers} layers to quantize, ${network.params.toLocaleString('en-US')} parameters`,
          `${config.data.name}: ${samples.train} to train on, ${samples.validation} held out, ${samples.test} to test on`,
          `Engine ${engine}`,
          '',
          table(
            columns,
            phases.map(({name, epochs, steps}) => [name, epochs, steps]),
          ),
          '',
          verdict(true, 'All checks passed. Nothing was written.'),
        ].join('\n'),
      );
      return {dryRun: true, ...plan};
    } finally {
      await session.close();
    }
  }

  /**
   * The run that `--resume auto` continues, and the settings that say where its files are now; undefined where a new run begins.
   * @throws SdqError (exit 3) naming every setting of the command line that is not the run's
   */
  async #unfinishedRun(
    command: string,
    settings: Settings<'model' | 'data'>,
  ): Promise<{readonly directory: string; readonly places: readonly Source[]} | undefined> {
    const unfinished = newestUnfinished(settings.config.runs.directory, command);
    if (unfinished === undefined) return undefined;
    const {directory, record} = unfinished;
    const {compareWithRun} = await import('../config/load-config.ts');
    const {places, different} = compareWithRun({...settings, stored: record.config});
    if (different.length > 0) {
      throw invalidInput(
        'resume-differs',
        [`${record.id} has begun with other settings:`, ...different.map((line) => `  ${line}`)].join('\n'),
        [
          `To continue it: ${resumeCommand(command, directory)}`,
          'To begin another run: leave out --resume, or set runs.directory to another folder.',
        ],
      );
    }
    await waitForSilentOwner(directory, {onWait: (message) => this.notice(message)});
    return {directory, places};
  }

  /** A run that a scheduler stops has its exit code, and one that its tracker's server stops does not. */
  #watchForPreemption(exit: number): void {
    const note = (): void => void (this.#preemptedExit = exit);
    const signals = process.platform === 'win32' ? ['SIGTERM'] : ['SIGTERM', 'SIGUSR1'];
    for (const signal of signals) process.once(signal, note);
    this.defer(() => {
      for (const signal of signals) process.off(signal, note);
    });
  }

  /** The settings that a new run takes over: those of `which`, and the weights that it pretrained where it named none. */
  async #originOf(which: string): Promise<Source> {
    const {config} = await this.settings({kinds: []});
    const {record, directory} = findRun(config.runs.directory, which);
    const stored = record.config as JobConfig;
    const trained = (record.results as Results).pretrain?.checkpoint;
    const weights = stored.model.weights ?? trained;
    return {
      name: `${path.join(directory, 'run.json')}, config`,
      base: directory,
      values: {...stored, model: {...stored.model, ...(weights === undefined ? {} : {weights})}},
    };
  }

  /**
   * A W&B agent counts every exit code above 0 as a failed run and gives up after a few. A run that it told to stop has
   * not failed, so it ends by the signal itself, when everything is saved; a shell says 143 to both.
   */
  protected override catch(error: Error): Promise<never> {
    const isTerminated = error instanceof SdqError && error.oclif.exit === ExitCode.terminated;
    if (isTerminated && this.#preemptedExit !== undefined) {
      const {code, message, suggestions} = error;
      return super.catch(
        new SdqError(message, {code, exit: this.#preemptedExit as ExitCode, suggestions, cause: error}),
      );
    }
    if (isTerminated && process.env['WANDB_SWEEP_ID'] !== undefined && process.platform !== 'win32') {
      process.once('exit', () => {
        process.removeAllListeners('SIGTERM');
        process.kill(process.pid, 'SIGTERM');
      });
    }
    return super.catch(error);
  }
}
