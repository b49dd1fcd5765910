/**
 * What the three trainings (pretrain, search, train) share: the step loop with its journal rows, checkpoints in time,
 * resume to the same bits, validation after each epoch with the best weights kept, and a clean stop.
 */
import {present, property} from '../lookup.ts';
import type {BatchSource} from '../data/batches.ts';
import {invalidInput, SdqError} from '../errors.ts';
import type {Weights} from '../graph/graph.ts';
import type {Network} from '../graph/network.ts';
import {suggestBatchSize} from '../plugin-api/out-of-memory.ts';
import {exitCodeOf, type StopSignal} from '../runs/signals.ts';
import {resumeCommand} from '../runs/run-commands.ts';
import type {Run} from '../runs/run-directory.ts';
import {prefixedMetric} from '../runs/run-record.ts';
import {decodeCheckpoint, encodeCheckpoint, type Checkpoint, type Json} from '../training/checkpoint.ts';
import {firstState, parseLoopState, runLoop, type LoopState, type Report, type StepInput} from '../training/loop.ts';
import {
  disposeState,
  exportMoments,
  importMoments,
  type Optimizer,
  type OptimizerState,
  type TrainedParameter,
} from '../training/optimizers.ts';
import {isBetter, type Figures} from '../training/task.ts';
import {metricValue, shownMetric} from './results.ts';
import {openPart, type Session} from './session.ts';

type PhaseName = 'pretrain' | 'search' | 'train';

/** A run with what its phases need of it. */
export interface PhaseContext {
  readonly session: Session;
  readonly run: Run;
  readonly stop: StopSignal;
  /** Optimizer steps of the run before this phase: journal steps only grow. */
  readonly stepOffset: number;
}

/** The best epoch on the validation split. */
interface Best {
  /** From 1. */
  readonly epoch: number;
  /** Of the task's primary metric. */
  readonly value: number;
}

export interface Phase {
  readonly name: PhaseName;
  readonly network: Network;
  /** Everything that the optimizer moves: the network's parameters and the quantizers'. */
  readonly parameters: readonly TrainedParameter[];
  readonly optimizer: Optimizer;
  readonly epochs: number;
  /** Prepares what a resumed phase finds in its checkpoint: calibration, re-estimation, first evaluation. */
  start(source: BatchSource): Promise<void>;
  /** One step: gradients and update. Returns the next optimizer state and the metrics, `loss` at least. */
  step(
    input: StepInput,
    optimizerState: OptimizerState,
    stepsPerEpoch: number,
  ): Promise<{optimizerState: OptimizerState; metrics: Readonly<Record<string, number>> & {readonly loss: number}}>;
  /** What the progress bar shows beside the loss, e.g. the mean bits so far. */
  status(): readonly string[];
  /** Metrics beside those of the steps, e.g. every layer's β. */
  intervalMetrics(): Readonly<Record<string, unknown>>;
  /**
   * The task's metrics on the validation split after an epoch; null when there is none. The best is remembered by `saveBest`. It may throw
   * the stop signal's reason: after a resume it is called again.
   */
  validate(): Promise<Figures | null>;
  saveBest(): Promise<void>;
  /** State of the method for the checkpoint, and back. */
  exportState(): Promise<{readonly state: Json; readonly arrays: Weights}>;
  importState(state: Json, arrays: Weights, file: string): void;
  /** The phase ends before its epochs are used up, e.g. because the target is reached. */
  isDone(): boolean;
}

export interface PhaseOutcome {
  readonly steps: number;
  readonly best: Best | null;
  /** The primary metric on the validation split after the last epoch. */
  readonly last: number | null;
}

interface Position {
  readonly loop: LoopState;
  readonly best: Best | null;
  readonly last: number | null;
}

/**
 * Runs a phase, from its checkpoint where the run has one.
 * @throws SdqError (exit 130 or 143) after a signal, with the state saved
 */
export async function runPhase({session, run, stop, stepOffset}: PhaseContext, phase: Phase): Promise<PhaseOutcome> {
  const {config, reporter, task} = session;
  const {checkpointSeconds, logEverySteps} = config.runs;
  const source = openPart(session, 'train', 'training', config.seed);
  let optimizerState = phase.optimizer.init(phase.parameters);
  try {
    let position: Position = {loop: firstState, best: null, last: null};
    const save = async (): Promise<void> => {
      const bytes = await encode(phase, optimizerState, position, run.journal.position());
      run.checkpoints.save(`${phase.name}-${String(position.loop.step).padStart(8, '0')}`, bytes);
    };
    const restored = restore(run, phase, (message) => reporter.line(message));
    if (restored === undefined) {
      await phase.start(source);
      await save();
    } else {
      disposeState(optimizerState);
      ({position, optimizerState} = restored);
      checkPosition(position.loop, source.batchesPerEpoch, phase);
      const lost = run.journal.replayAfter(restored.journal);
      if (lost > 0)
        reporter.line(`The journal has lost ${lost} lines before step ${position.loop.step} of ${phase.name}.`);
      reporter.line(`Resuming ${phase.name} after step ${position.loop.step}.`);
    }
    let saved = performance.now();
    const total = phase.epochs * source.batchesPerEpoch;
    const speed = speedometer();
    const label = (epoch: number): string => `${phase.name}, epoch ${epoch + 1}/${phase.epochs}`;
    const log = (report: Report, data: Readonly<Record<string, unknown>>): void =>
      run.journal.log('metric', data, stepOffset + report.step);

    const loop = runLoop({
      source,
      inputShape: phase.network.graph.input.shape,
      epochs: phase.epochs,
      state: position.loop,
      intervalSteps: logEverySteps,
      parameters: phase.parameters,
      async step(input) {
        const result = await phase.step(input, optimizerState, source.batchesPerEpoch).catch((error: unknown) => {
          throw suggestBatchSize(error, input.images.shape[0]);
        });
        optimizerState = result.optimizerState;
        const status = [`loss ${result.metrics.loss.toFixed(3)}`, ...phase.status(), ...speed(input.images.shape[0])];
        reporter.update(label(input.state.epoch), input.state.step + 1, total, status.join(', '));
        return result.metrics;
      },
      onInterval: (report) =>
        log(report, {
          ...prefixed(phase.name, {
            ...report.metrics,
            epoch: report.epoch + 1,
            imagesPerSecond: report.imagesPerSecond,
            dataWaitFraction: report.waitFraction,
          }),
          ...phase.intervalMetrics(),
        }),
      async onEpoch(report) {
        const figures = await phase.validate();
        const value = figures === null ? null : metricValue(task.metric, figures);
        const epoch = report.epoch + 1;
        let best = position.best;
        if (value === null || best === null || isBetter(task.metric, value, best.value)) {
          await phase.saveBest();
          if (value !== null) best = {epoch, value};
        }
        position = {...position, best, last: value};
        log(report, {
          ...prefixed(phase.name, {epochLoss: report.metrics['loss'], epoch}),
          ...(value === null ? {} : {[`${phase.name}/${prefixedMetric('validation', task.metric)}`]: value}),
          ...phase.intervalMetrics(),
        });
        const validation = value === null ? [] : [`validation ${shownMetric(task.metric, value)}`];
        reporter.line([`${label(report.epoch)}: ${lossText(report)}`, ...validation, ...speedText(report)].join(', '));
      },
      async onState(loop) {
        const isEpochEnd = loop.epoch !== position.loop.epoch;
        position = {...position, loop};
        if (!isEpochEnd && performance.now() - saved < 1000 * checkpointSeconds) return;
        await save();
        saved = performance.now();
      },
      shouldStop: () => stop.received() !== undefined || phase.isDone(),
    });
    const isFinished = await loop.then(
      ({finished}) => finished,
      (error: unknown) => {
        // `validate` was stopped: it is done again after a resume.
        if (error === stop.signal.reason) return false;
        throw error;
      },
    );
    if (stop.received() !== undefined && !isFinished && !phase.isDone()) {
      await save();
      throw interrupted(run, stop, `after step ${position.loop.step} of ${phase.name}`);
    }
    return {steps: position.loop.step, best: position.best, last: position.last};
  } finally {
    disposeState(optimizerState);
    await source.close();
  }
}

const lossText = ({metrics}: Report): string => `loss ${property(metrics, 'loss').toFixed(4)}`;

/** A resumed epoch whose last step was done before has no speed. */
const speedText = ({imagesPerSecond}: Report): readonly string[] =>
  imagesPerSecond > 0 ? [`${Math.round(imagesPerSecond)} images/s`] : [];

/** Images a second over the last steps, for the progress bar: nothing before the second step. */
function speedometer(): (images: number) => readonly string[] {
  let last: number | undefined;
  let rate: number | undefined;
  return (images) => {
    const now = performance.now();
    if (last !== undefined && now > last) {
      const current = (1000 * images) / (now - last);
      rate = rate === undefined ? current : 0.9 * rate + 0.1 * current;
    }
    last = now;
    return rate === undefined ? [] : [`${rate < 10 ? rate.toFixed(1) : Math.round(rate)} images/s`];
  };
}

/** @param where what the signal ended: `after step 7 of train` */
export function interrupted(run: Run, stop: StopSignal, where: string): SdqError {
  return new SdqError(`Stopped by ${stop.stoppedBy()} ${where}; the state is saved.`, {
    code: 'interrupted',
    exit: exitCodeOf(present(stop.received(), 'signal')),
    suggestions: [resumeCommand(run.record().command, run.directory)],
  });
}

/** `search/loss` for `loss`. */
function prefixed(phase: PhaseName, metrics: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`${phase}/${name}`, value]));
}

async function encode(
  phase: Phase,
  optimizerState: OptimizerState,
  position: Position,
  journal: number,
): Promise<Uint8Array> {
  const {state, arrays} = await phase.exportState();
  return encodeCheckpoint({
    weights: await phase.network.weights(),
    groups: {optimizer: await exportMoments(phase.optimizer, optimizerState), method: arrays},
    state: {
      phase: phase.name,
      position: position as unknown as Json,
      optimizerStep: optimizerState.step,
      method: state,
      journal,
    },
  });
}

/** The newest usable checkpoint of this phase, loaded; undefined when the phase has not begun. */
function restore(
  run: Run,
  phase: Phase,
  notice: (message: string) => void,
): {position: Position; optimizerState: OptimizerState; journal: number} | undefined {
  const latest = run.checkpoints.latest(notice);
  if (latest === undefined) return undefined;
  const {file, content} = latest;
  const checkpoint = decodeCheckpoint(content, file);
  if (checkpoint.state['phase'] !== phase.name) return undefined;
  const {position, optimizerStep, method, journal} = stateOf(checkpoint, file);
  phase.network.load(checkpoint.weights);
  phase.importState(method, checkpoint.groups['method'] ?? new Map(), file);
  const moments = checkpoint.groups['optimizer'] ?? new Map();
  return {
    position,
    optimizerState: importMoments(phase.optimizer, phase.parameters, optimizerStep, moments, file),
    journal,
  };
}

/** @throws SdqError (exit 3) when the loop does not stand at a batch of this phase: the data or the config changed */
function checkPosition({epoch, batch, step}: LoopState, batchesPerEpoch: number, {name, epochs}: Phase): void {
  if (epoch <= epochs && batch <= batchesPerEpoch && step === epoch * batchesPerEpoch + batch) return;
  throw invalidInput(
    'checkpoint-position',
    `The checkpoint of ${name} stands at epoch ${epoch + 1}, batch ${batch}, step ${step}; an epoch has ${batchesPerEpoch} batches now, and the phase ${epochs} epochs.`,
    ['Resume with the data of the run.'],
  );
}

/** @throws SdqError (exit 3) naming what of the state is not as `encode` writes it */
function stateOf(
  {state}: Checkpoint,
  file: string,
): {position: Position; optimizerStep: number; method: Json; journal: number} {
  const {position, optimizerStep, method = null, journal} = state;
  const {loop, best = null, last = null} = (position ?? {}) as {loop?: unknown; best?: Json; last?: Json};
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  const isValue = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
  const isBest = (value: Json): value is null | {epoch: number; value: number} => {
    const best = (value ?? {epoch: 1, value: 0}) as {epoch?: unknown; value?: unknown};
    return isCount(best.epoch) && isValue(best.value);
  };
  if (isCount(optimizerStep) && isCount(journal) && isBest(best) && (last === null || isValue(last))) {
    return {position: {loop: parseLoopState(loop, file), best, last}, optimizerStep, method, journal};
  }
  throw invalidInput(
    'checkpoint-incomplete',
    `${file}: __metadata__/state: position/best, position/last, optimizerStep or journal is wrong.`,
  );
}
