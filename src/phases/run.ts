/** A run from beginning to end: its folder, its signals, its phases in order, and what `--resume` skips. */
import type {Config} from '../config/config-types.ts';
import {ExitCode, type SdqError} from '../errors.ts';
import {checkWritable, shownPath} from '../files.ts';
import type {Registry} from '../plugin-api/registry.ts';
import type {End, TrackedRun} from '../plugin-api/tracker.ts';
import {createRun, resumeRun, type Run} from '../runs/run-directory.ts';
import {listenForStop, type StopSignal} from '../runs/signals.ts';
import type {PumpOutcome} from '../tracking/pump.ts';
import {trackedRun, trackersOf, type TrackerSettings} from '../tracking/sync.ts';
import {keepConsole} from './console-log.ts';
import {interrupted, type PhaseContext} from './phase.ts';
import {preflight} from './preflight.ts';
import type {Results} from './results.ts';
import {logArtifacts, logSources} from './run-artifacts.ts';
import {endAfter, reasonOf, resumable} from './run-errors.ts';
import {writeReport} from './run-report.ts';
import {openSession, type JobConfig, type Reporter, type Session} from './session.ts';

interface RunSettings {
  readonly config: JobConfig;
  readonly registry: Registry;
}

/** The trackers of a run, at work beside it. */
export interface RunTracking {
  /** Sends the rest, for a short time. Never throws. */
  end(end: End): Promise<readonly PumpOutcome[]>;
}

export interface RunOptions {
  readonly command: 'pretrain' | 'search' | 'train' | 'run';
  /** Folder of the runs. */
  readonly root: string;
  readonly reporter: Reporter;
  readonly versions: Readonly<Record<string, string>>;
  /** The files that a new run reads, absolute. */
  readonly inputs: readonly string[];
  /** Absolute path of `--output`; a resumed run without one keeps its own. */
  readonly output: string | undefined;
  /** Of a new run; by default a fresh one. */
  readonly id?: string | undefined;
  readonly begin:
    | (RunSettings & {
        /** What the command checks beside `preflight`, before the run has a folder; rejects. */
        readonly check?: ((session: Session) => Promise<void>) | undefined;
      })
    | {
        /** Of the run to continue, or `latest`. */
        readonly id: string;
        /** Checks the config that the run stored. @param name how errors name it */
        readonly restore: (
          name: string,
          values: Readonly<Record<string, unknown>>,
        ) => Promise<RunSettings & {readonly isMoved: boolean}>;
      };
  /** Starts the trackers that the config names. @param stop asks the run to stop, as SIGTERM does */
  readonly startTracking: (
    work: {
      readonly run: TrackedRun;
      readonly trackers: readonly TrackerSettings[];
      readonly plugins: readonly string[];
    },
    listeners: {readonly notice: (message: string) => void; readonly onStopRequest: (tracker: string) => void},
  ) => RunTracking;
}

/** What the phases of a run share. */
export interface RunContext {
  readonly session: Session;
  readonly run: Run;
  readonly stop: StopSignal;
  readonly context: (results: Results) => PhaseContext;
  /** The result of a phase: from an earlier try of this run, or by running it now. */
  readonly phase: <K extends keyof Results>(
    name: K,
    body: () => Promise<NonNullable<Results[K]>>,
  ) => Promise<NonNullable<Results[K]>>;
}

/**
 * Opens or resumes a run, gives it to `body`, and ends it with the right status whatever happens.
 * @param body returns its result, and the failed check that the exit code reports
 */
export async function withRun<T>(
  options: RunOptions,
  body: (context: RunContext) => Promise<{readonly result: T; readonly failure?: SdqError | undefined}>,
): Promise<{
  readonly result: T;
  readonly failure?: SdqError | undefined;
  readonly run: Run;
  /** Of each tracker. */
  readonly tracking: readonly PumpOutcome[];
}> {
  const {command, root, versions, output, begin, startTracking} = options;
  const {open: keepOutput, reporter} = keepConsole(options.reporter);
  const notice = reporter.line.bind(reporter);
  // Before the run's folder is there: from then on a signal is one to a run, and has its exit code.
  const stop = listenForStop((asker) =>
    notice(`Stop requested by ${asker}: finishing the step; a second signal stops at once.`),
  );
  let run: Run;
  let opened: Session | undefined;
  try {
    if (!('id' in begin)) {
      opened = await openSession(begin.config, begin.registry, reporter);
      preflight(opened, command);
      await begin.check?.(opened);
    }
    run =
      'id' in begin
        ? resumeRun(root, begin.id, command, new Date(), notice)
        : createRun(
            root,
            {id: options.id, command, config: begin.config, seed: begin.config.seed, versions},
            new Date(),
            notice,
          );
  } catch (error) {
    stop.dispose();
    await opened?.close();
    throw error;
  }
  let trackers: RunTracking | undefined;
  try {
    const {config, registry} = 'id' in begin ? await restoreSettings(run, begin.restore) : begin;
    run.journal.replayAfter(run.record().journal);
    if (output !== undefined) run.update({output});
    const {output: target} = run.record();
    if (target !== null) checkWritable(target);
    keepOutput(run.path('output.log'));
    notice(`Run ${run.id} in ${shownPath(run.directory)}`);
    if (config.tracking.length > 0) {
      trackers = startTracking(
        {run: trackedRun(run.record(), run.directory), trackers: trackersOf({config}), plugins: config.plugins},
        {
          notice,
          onStopRequest: (tracker) => stop.request(`the server of ${tracker}`),
        },
      );
    }
    const session = opened ?? (await openSession(config, registry, reporter));
    opened = session;
    try {
      const {name, device, threads} = session.engine;
      // A resumed run has it: its engine is the one that it began with. `engine` is the config's, e.g. `auto`.
      if (run.record().engine === null) {
        run.journal.log('param', {runtime: {engine: name, device, threads}});
        logSources(run, session, {...options, notice});
      }
      run.update({engine: {name, device, threads}, metric: session.task.metric});
      notice(`Engine ${name}: ${device}`);
      const outcome = await body({
        session,
        run,
        stop,
        context: (results) => ({session, run, stop, stepOffset: stepsOf(results)}),
        async phase(phaseName, runPhase) {
          const results = run.record().results as Results;
          const known = results[phaseName];
          if (known !== undefined) return known;
          const result = await runPhase();
          await logArtifacts(run, phaseName, session, notice);
          run.journal.log('summary', {[phaseName]: result});
          run.update({results: {...run.record().results, [phaseName]: result}, journal: run.journal.position()});
          return result;
        },
      });
      run.checkpoints.clear();
      const {failure} = outcome;
      if (failure === undefined) run.end('finished', ExitCode.done);
      else run.end('failed', failure.oclif.exit, reasonOf(failure));
      report(run, notice);
      return {...outcome, run, tracking: (await trackers?.end(endOf(run))) ?? []};
    } finally {
      await session.close();
    }
  } catch (error) {
    await opened?.close();
    endAfter(error, run);
    await trackers?.end(endOf(run));
    // An evaluation that was stopped has nothing to save: it is done again.
    throw error === stop.signal.reason ? interrupted(run, stop, 'in an evaluation') : resumable(error, run);
  } finally {
    stop.dispose();
  }
}

/** A report that cannot be written does not end the run. */
function report(run: Run, notice: (message: string) => void): void {
  try {
    writeReport({record: run.record(), directory: run.directory});
  } catch (error) {
    notice(`There is no report: ${(error as Error).message}`);
  }
}

/** How the run ended, for its trackers. */
function endOf(run: Run): End {
  const {endedAt, exitCode, status} = run.record();
  return {
    status: status === 'finished' ? 'finished' : status === 'interrupted' ? 'killed' : 'failed',
    exitCode: exitCode ?? ExitCode.bug,
    ts: Date.parse(endedAt ?? '') || Date.now(),
  };
}

/** The settings of a resumed run; where its files are elsewhere now, its record says so from then on. */
async function restoreSettings(
  run: Run,
  restore: Extract<RunOptions['begin'], {readonly id: string}>['restore'],
): Promise<RunSettings> {
  const {config, registry, isMoved} = await restore(`${run.path('run.json')}, config`, resumedConfig(run));
  const {engine} = run.record().config as Config;
  if (isMoved) run.update({config: {...config, engine}});
  return {config, registry};
}

/** The run's own config with the engine and threads that it began with: other ones would give other bits. */
function resumedConfig(run: Run): Readonly<Record<string, unknown>> {
  const {config, engine} = run.record();
  const stored = config as Readonly<Record<string, unknown>>;
  return engine === null
    ? stored
    : {...stored, engine: {name: engine.name, threads: engine.threads} satisfies Config['engine']};
}

/** Optimizer steps of the completed phases. */
function stepsOf({pretrain, search, train}: Results): number {
  return (pretrain?.steps ?? 0) + (search?.steps ?? 0) + (train?.steps ?? 0);
}
