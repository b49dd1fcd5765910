/** What every command shares: the common flags, the settings, output, and the way out. */
import {Command, Flags, type Interfaces} from '@oclif/core';

import type {Config} from '../config/config-types.ts';
import type {Source} from '../schema/settings.ts';
import type {SdqError} from '../errors.ts';
import {present} from '../lookup.ts';
import type {Kind, Registry} from '../plugin-api/registry.ts';
import {renderError, showError, ShownError} from './errors.ts';
import {createProgress, type Progress} from './progress.ts';

const helpGroup = 'GLOBAL';

/** With `--resume RUN` a run keeps its settings; `--resume auto` compares them. */
export const relationships = [
  {
    type: 'none' as const,
    flags: [{name: 'resume', when: ({resume}: Record<string, unknown>) => Promise.resolve(resume !== 'auto')}],
  },
];

/** For the commands that a sweep starts: pretrain, search, train, run. */
export const sweepFlags = {
  'sweep-params': Flags.file({
    summary:
      'Read settings from a JSON file of a sweep, or from JSON itself, e.g. {"search.target.meanWeightBits": 2}.',
    helpValue: 'FILE',
    relationships,
  }),
};

/** The settings a command works with; keys named in `require` are there. */
export interface Settings<Required extends keyof Config> {
  readonly config: Config & {readonly [K in Required]-?: NonNullable<Config[K]>};
  /** The definitions of the kinds asked for, built-in and of plugins. */
  readonly registry: Registry;
  /** The config file, absolute; undefined when there is none. */
  readonly file: string | undefined;
  /** Where the settings come from, beside the defaults; the last wins. */
  readonly sources: readonly Source[];
  /** Those of the command line among them. */
  readonly given: readonly Source[];
}

type CommonFlags = Interfaces.InferredFlags<typeof SdqCommand.baseFlags> & {readonly 'sweep-params'?: string};

export abstract class SdqCommand extends Command {
  static override enableJsonFlag = true;

  static override baseFlags = {
    json: Flags.boolean({summary: 'Print the result as one JSON object on stdout.', helpGroup}),
    config: Flags.file({summary: 'Use this config file.', helpValue: 'FILE', helpGroup}),
    set: Flags.string({
      summary: 'Set one key of the config, e.g. search.epochs=2; the value is YAML. Repeatable.',
      helpValue: 'KEY=VALUE',
      helpGroup,
      multiple: true,
      multipleNonGreedy: true,
    }),
    quiet: Flags.boolean({summary: 'Print neither progress nor notices.', helpGroup}),
  };

  readonly #cleanups: (() => Promise<void> | void)[] = [];
  #progress: Progress | undefined;
  #flags: CommonFlags | undefined;
  #failedCheck: SdqError | undefined;
  readonly #noticed = new Set<string>();

  /** Returns the result object, which is what `--json` prints. */
  abstract override run(): Promise<object>;

  /** Runs when the command ends, whether well or not; the last one added runs first. */
  protected defer(cleanup: () => Promise<void> | void): void {
    this.#cleanups.push(cleanup);
  }

  /**
   * The config after files, environment and flags, its defaults filled in, and the definitions of `kinds`.
   *
   * @param options.require top-level keys without a default that the command needs
   * @param options.kinds what the command looks up in the registry
   * @param options.origin settings in place of the config file's
   * @param options.fallback settings below all others
   * @param options.tried settings over all others
   * @param options.set in place of the flags `--set`
   * @throws SdqError (exit 3) that names the file or flag and the place in it
   */
  protected async settings<Required extends 'model' | 'data' = never>(options: {
    readonly require?: readonly Required[];
    readonly kinds: readonly Kind[];
    readonly origin?: Source | undefined;
    readonly fallback?: Source | undefined;
    readonly tried?: readonly Source[] | undefined;
    readonly set?: readonly string[];
  }): Promise<Settings<Required>> {
    const [{loadConfig}, {loadRegistry}] = await Promise.all([
      import('../config/load-config.ts'),
      import('./load-registry.ts'),
    ]);
    const flags = this.#flags;
    const {config, ...settings} = await loadConfig({
      cwd: process.cwd(),
      env: process.env,
      notice: (message) => this.#noticeOnce(message),
      file: flags?.config,
      set: options.set ?? flags?.set ?? [],
      sweepParams: flags?.['sweep-params'],
      origin: options.origin,
      fallback: options.fallback,
      tried: options.tried,
      require: options.require ?? [],
      loadRegistry: (plugins, base) => loadRegistry(this.config, plugins, base, options.kinds),
    });
    return {config: config as Settings<Required>['config'], ...settings};
  }

  /** Refuses what a resumed run cannot be given by `--set`, before the run is opened. @throws SdqError (exit 2) */
  protected async refuseOtherSettings(): Promise<void> {
    const {refuseOtherSettings} = await import('../config/load-config.ts');
    refuseOtherSettings(this.#flags?.set ?? [], process.cwd());
  }

  /**
   * The settings that a resumed run stored, checked as those of a file are.
   * @param stored.name how errors name them
   * @param resumed where the run's files are now may be said by `SDQ_*` variables and by these; by default by none
   * @throws SdqError (exit 3, exit 2 for a `--set` of anything else)
   */
  protected async storedSettings(
    stored: {readonly name: string; readonly base: string; readonly values: Readonly<Record<string, unknown>>},
    kinds: readonly Kind[],
    resumed?: {readonly set?: readonly string[]; readonly places?: readonly Source[]},
  ): Promise<Pick<Settings<'model' | 'data'>, 'config' | 'registry'> & {readonly isMoved: boolean}> {
    const [{loadStoredConfig}, {loadRegistry}] = await Promise.all([
      import('../config/load-config.ts'),
      import('./load-registry.ts'),
    ]);
    const {config, registry, isMoved} = await loadStoredConfig(stored, {
      cwd: process.cwd(),
      env: resumed === undefined ? {} : process.env,
      notice: (message) => this.#noticeOnce(message),
      set: resumed?.set ?? [],
      places: resumed?.places ?? [],
      require: ['model', 'data'],
      loadRegistry: (plugins, base) => loadRegistry(this.config, plugins, base, kinds),
    });
    return {config: config as Settings<'model' | 'data'>['config'], registry, isMoved};
  }

  /** Where a long command shows how far it is: stderr, and nowhere under `--json` and `--quiet`. */
  protected progress(): Progress {
    this.#progress ??= createProgress(process.stderr, {silent: this.#isSilent()});
    return this.#progress;
  }

  /** The flags that every command has. */
  protected commonFlags(): Pick<CommonFlags, 'config' | 'set'> {
    return present(this.#flags, 'flags');
  }

  /** One line on stderr that is not a result. */
  protected notice(message: string): void {
    this.progress().line(message);
  }

  #noticeOnce(message: string): void {
    if (this.#noticed.has(message)) return;
    this.#noticed.add(message);
    this.notice(message);
  }

  /** The check that the command makes has failed: the exit code tells, and the error is printed below the result. */
  protected checkFailed(error: SdqError): void {
    process.exitCode = error.oclif.exit;
    this.#failedCheck ??= error;
  }

  protected override async init(): Promise<void> {
    await super.init();
    // oclif takes a missing argument from a pipe: under `while read` or `bash < script` that would eat the caller's input.
    for (const argument of Object.values(this.ctor.args)) argument.ignoreStdin = true;
    const {flags} = await this.parse(this.ctor as typeof SdqCommand);
    this.#flags = flags;
  }

  protected override async catch(error: Error): Promise<never> {
    this.#progress?.stop();
    throw this.#show(error, await this.#hints(error));
  }

  /** What was meant by flags and words that the command does not take. */
  async #hints(error: Error): Promise<readonly string[]> {
    const {flagHints, isUnknownInput} = await import('./flag-hints.ts');
    if (!isUnknownInput(error)) return [];
    const unknown = [error.flags ?? [], error.args ?? []].flat().filter((word) => typeof word === 'string');
    return flagHints(unknown, this.argv, this.id?.split(':')[0] ?? '');
  }

  protected override async finally(error: Error | undefined): Promise<void> {
    this.#progress?.stop();
    let failure: unknown;
    for (const cleanup of this.#cleanups.reverse()) {
      try {
        await cleanup();
      } catch (thrown) {
        failure ??= thrown;
      }
    }
    await super.finally(error);
    if (this.#failedCheck !== undefined && error === undefined) process.stderr.write(renderError(this.#failedCheck));
    if (failure !== undefined && error === undefined) throw this.#show(failure);
  }

  #show(error: unknown, hints: readonly string[] = []): ShownError {
    if (error instanceof ShownError) return error;
    const flags = Object.keys({...this.ctor.baseFlags, ...this.ctor.flags}).map((name) => `--${name}`);
    return showError(error, {json: this.jsonEnabled(), flags, hints});
  }

  /** oclif's JSON is coloured; ours is what `JSON.stringify` prints. */
  protected override logJson(result: unknown): void {
    process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  }

  #isSilent(): boolean {
    return this.jsonEnabled() || this.#flags?.quiet === true;
  }
}
