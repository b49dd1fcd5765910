/** A run from beginning to end: its folder, its signals, its phases in order, and what `--resume` skips. */
import path from 'node:path';

import type {Config} from '../config/config-types.ts';
import {epochBatches} from '../data/batches.ts';
import {sampleShape} from '../data/dataset.ts';
import {splitDigest} from '../data/split-digest.ts';
import {partRange} from '../data/splits.ts';
import {ExitCode, SdqError} from '../errors.ts';
import {checkWritable, shownPath, writeFileAtomic} from '../files.ts';
import {item, present} from '../lookup.ts';
import {leaves} from '../mapping.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {logArtifact, logDataset, logImage, logTable} from '../runs/artifacts.ts';
import {createRun, fromCommand, resumeCommand, resumeRun, type Run} from '../runs/run-directory.ts';
import {listenForStop, type StopSignal} from '../runs/signals.ts';
import {keepCode, keepDiff} from '../runs/source-files.ts';
import type {PumpOutcome} from '../tracking/pump.ts';
import type {Strategy} from '../sdq/strategy.ts';
import {trackedRun, trackersOf, type TrackerSettings} from '../tracking/sync.ts';
import type {End, TrackedRun} from '../plugin-api/tracker.ts';
import {bitsChart} from './bits-chart.ts';
import {keepConsole} from './console-log.ts';
import {logDetections} from './detection-images.ts';
import {detectionFiles, watchDetections} from './detections-file.ts';
import {evaluateOn} from './evaluate.ts';
import {selectDataset} from './inspect-dataset.ts';
import {keepWeights, keptFiles} from './kept-weights.ts';
import {interrupted, type PhaseContext} from './phase.ts';
import {logModel, wantsModel} from './logged-model.ts';
import {pretrain} from './pretrain.ts';
import {digits, inUnits, type Results, type SearchResult} from './results.ts';
import {epochsToReach, plannedWork, preflight} from './preflight.ts';
import {search} from './search.ts';
import {writeHardwareCosts} from './hardware-costs-file.ts';
import {logInputs, logOwnInput} from './run-inputs.ts';
import {writeReport} from './run-report.ts';
import {
  buildGraph,
  createModel,
  openSession,
  pretrains,
  type JobConfig,
  type Reporter,
  type Session,
} from './session.ts';
import {readStrategy} from './strategy-file.ts';
import {keepTeacher, train} from './train.ts';

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
 * @param body returns its result, and the failed check that the exit code is to tell of
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
    notice(`Stop asked for by ${asker}: finishing the step; a second signal stops at once.`),
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
          if (phaseName === 'train' && wantsModel(session)) await logTrained(session, run, notice);
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

/** The error with the command that goes on from the last checkpoint, or with the one that begins anew where that would fail again. */
function resumable(error: unknown, run: Run): unknown {
  if (error instanceof SdqError && error.code === 'engine-out-of-memory') {
    // A resumed run keeps its batch size.
    const batch = error.suggestions.flatMap((text) => /data\.batchSize=\d+/.exec(text) ?? []);
    const {command} = run.record();
    if (batch.length === 0) return error;
    return new SdqError(error.message, {
      code: error.code,
      exit: error.oclif.exit,
      suggestions: [
        `Begin a new run with a smaller batch: ${fromCommand(command, run.directory)} --set ${item(batch, 0)}`,
      ],
      cause: error,
    });
  }
  if (!(error instanceof SdqError) || error.code === 'checkpoints-damaged' || run.checkpoints.isEmpty()) return error;
  const {exit} = error.oclif;
  if (![ExitCode.invalidInput, ExitCode.notAvailable].some((code) => code === exit)) return error;
  const moved = placeNamed(run.record().config, error.message);
  const command = `${resumeCommand(run.record().command, run.directory)}${moved === undefined ? '' : ` --set ${moved}=PATH`}`;
  return new SdqError(error.message, {
    code: error.code,
    exit,
    suggestions: [...error.suggestions, `Then continue from the last checkpoint: ${command}`],
    cause: error,
  });
}

/** What `run.json` keeps of an error. */
function reasonOf(error: unknown): {readonly code: string; readonly message: string} {
  if (error instanceof SdqError) return {code: error.code, message: error.message};
  return {code: 'bug', message: error instanceof Error ? `${error.name}: ${error.message}` : String(error)};
}

/** The key of the config whose path a message names, the longest of several; the folder of the runs aside. */
function placeNamed(config: unknown, message: string): string | undefined {
  const places = [...leaves(config as Record<string, unknown>, '.')].filter(
    (leaf): leaf is [string, string] =>
      typeof leaf[1] === 'string' &&
      path.isAbsolute(leaf[1]) &&
      message.includes(leaf[1]) &&
      !leaf[0].split('.').includes('runs'),
  );
  return places.toSorted(([, a], [, b]) => b.length - a.length)[0]?.[0];
}

/** Ends the run after an error, without hiding it behind a second one, e.g. of the same full disk. */
function endAfter(error: unknown, run: Run): void {
  const exit = error instanceof SdqError ? error.oclif.exit : ExitCode.bug;
  const isStopped = exit === ExitCode.interrupted || exit === ExitCode.terminated;
  try {
    run.end(isStopped ? 'interrupted' : 'failed', exit, reasonOf(error));
  } catch (second) {
    if (!(second instanceof SdqError)) throw second;
  }
}

const phaseCheckpoints: Readonly<Partial<Record<keyof Results, string>>> = {
  pretrain: 'full-precision.safetensors',
  search: 'searched.safetensors',
  train: 'quantized.safetensors',
};

/** What data the run works on, which files of other runs, and with which code, for its trackers. */
function logSources(
  run: Run,
  {config, dataset, registry}: Session,
  {inputs, notice, root}: Pick<RunOptions, 'inputs' | 'root'> & {readonly notice: (message: string) => void},
): void {
  logInputs(run, root, inputs);
  const asks = (option: string): boolean => trackersOf({config}).some((settings) => settings[option] === true);
  if (asks('gitDiff')) keepDiff(run, process.env, notice);
  if (asks('saveCode')) keepCode(run, process.env, notice);
  const {directory} = selectDataset(registry, config.data.name, config.data);
  for (const split of ['train', 'test'] as const) {
    const samples = dataset[split].labels.length;
    logDataset(run, {
      name: dataset.name,
      split,
      digest: splitDigest(dataset, split, directory),
      samples,
      validation: split === 'test' ? 0 : samples - partRange(dataset, 'train', config.data.validation).end,
      shape: sampleShape(dataset),
      classes: dataset.classes.length,
    });
  }
}

/** What a phase leaves for the trackers: its weights, and the strategy, as table and chart too, where it is made or brought along. */
async function logArtifacts(
  run: Run,
  phase: keyof Results,
  session: Session,
  notice: (message: string) => void,
): Promise<void> {
  // `sdq run` evaluates in full precision after training.
  const isLast = phase === (run.record().command === 'run' ? 'fullPrecision' : 'train');
  if (isLast) await picture('pictures of the boxes', notice, () => logDetections(run));
  const checkpoint = phaseCheckpoints[phase];
  if (checkpoint === undefined) return;
  if (phase === 'search' || run.record().command === 'train') {
    const file = run.path('strategy.json');
    logArtifact(run, 'strategy', file);
    const strategy = readStrategy(file);
    logTable(
      run,
      'bits-per-layer',
      ['layer', 'op', 'weightBits', 'activationBits', 'params', 'macs'],
      strategy.layers.map(({activationBits, macs, name, op, params, weightBits}) => [
        name,
        op,
        weightBits,
        activationBits,
        params,
        macs,
      ]),
    );
    await picture('charts of the bits', notice, () => logChart(run, strategy));
    await picture('costs on the hardware', notice, () => writeHardwareCosts(run.directory, session));
  }
  logArtifact(run, 'checkpoint', run.path(checkpoint));
  // Phase 2 follows.
  if (phase === 'search' && run.record().command === 'run') logOwnInput(run, 'strategy.json');
}

/** A network that cannot be exported is as good as trained. */
async function logTrained(session: Session, run: Run, notice: (message: string) => void): Promise<void> {
  logOwnInput(run, 'quantized.safetensors');
  try {
    await logModel(session, run, run.path(present(phaseCheckpoints.train, 'checkpoint')));
  } catch (error) {
    notice(`There is no model for the trackers: ${(error as Error).message}`);
  }
}

async function logChart(run: Run, strategy: Strategy): Promise<void> {
  const {png, ...size} = await bitsChart(strategy);
  const file = run.path('bits-chart.png');
  writeFileAtomic(file, png);
  logImage(run, file, size);
}

/** What goes wrong with a picture or a table of the report does not end the run. @param what it shows, in the plural */
async function picture(what: string, notice: (message: string) => void, make: () => Promise<void>): Promise<void> {
  try {
    await make();
  } catch (error) {
    notice(`There are no ${what}: ${(error as Error).message}`);
  }
}

/** A picture too. */
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

const resultsOf = (run: Run): Results => run.record().results;

/** prepare → search → train → evaluate. */
export async function runAll({session, run, stop, context, phase}: RunContext): Promise<{
  readonly result: Results;
  readonly failure?: SdqError | undefined;
}> {
  const {config, reporter} = session;
  keepTeacher({session, run});
  const {weights} = config.model;
  reporter.plan?.(plannedWork(session, 'run'));
  const fullPrecisionFile =
    weights === undefined || pretrains(config)
      ? (await phase('pretrain', async () => pretrain(context(resultsOf(run))))).checkpoint
      : keepWeights(session, run, keptFiles.fullPrecision, weights);
  const searched = await phase('search', async () => search(context(resultsOf(run)), fullPrecisionFile));
  const failure = targetMissed(session, searched.budgets, run);
  if (failure !== undefined) return {result: resultsOf(run), failure};
  await phase('train', async () =>
    train(context(resultsOf(run)), {
      strategy: searched.strategy,
      weights: searched.checkpoint,
      fullPrecision: fullPrecisionFile,
    }),
  );
  await phase('fullPrecision', async () => {
    const network = createModel(session, fullPrecisionFile);
    try {
      const detections = watchDetections(session);
      const test = await evaluateOn(session, network, 'test', {}, stop.signal, detections?.observe);
      detections?.write(run.path(detectionFiles.fullPrecision));
      return present(test, 'test result');
    } finally {
      network.dispose();
    }
  });
  return {result: resultsOf(run)};
}

/** The error of a search that ended above a target; undefined when all were reached, or the method does not promise to. */
export function targetMissed(session: Session, budgets: SearchResult['budgets'], run: Run): SdqError | undefined {
  const {config, dataset, registry} = session;
  if (registry.get('searcher', config.search.method).keepsTargets === false) return undefined;
  const missed = budgets.filter(({missedBy}) => missedBy > 0);
  if (missed.length === 0) return undefined;
  const needed = epochsToReach(session, buildGraph(session, config.model), epochBatches(dataset, config.data)) ?? 0;
  const epochs = Math.max(needed, 2 * config.search.epochs);
  return new SdqError(
    missed
      .map(
        ({name, target, cost, missedBy}) =>
          `The search ended at ${inUnits(name, cost)}, ${digits(missedBy)} above the target of ${target}.`,
      )
      .join(' '),
    {
      code: 'target-not-reached',
      exit: ExitCode.targetNotReached,
      suggestions: [
        `Search longer: ${fromCommand(run.record().command, run.directory)} --set search.epochs=${epochs}`,
        'Or give it a higher search.dualRate or a higher target.',
      ],
    },
  );
}
