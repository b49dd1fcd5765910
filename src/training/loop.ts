/**
 * The step loop of every phase: takes batches from a source, hands each to the phase's step, adds up what the steps
 * report, and can be stopped and resumed between any two steps. All that the next step depends on is in `LoopState`.
 */
import {setImmediate} from 'node:timers/promises';

import * as tf from '@tensorflow/tfjs-core';

import type {BatchSource} from '../data/batches.ts';
import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import type {Shape} from '../graph/graph.ts';
import {inputTensor} from '../graph/input-tensor.ts';
import type {TrainedParameter} from './optimizers.ts';
import {targetTensors, type Targets} from './task.ts';

/** Sums of what the steps reported, weighted by images. */
interface Totals {
  readonly steps: number;
  readonly images: number;
  readonly sums: Readonly<Record<string, number>>;
}

/**
 * Where the loop stands: plain data that survives JSON exactly. `batch` is the index of the next batch; when it equals
 * the batches of an epoch, the epoch's end is still to be reported.
 */
export interface LoopState {
  readonly epoch: number;
  readonly batch: number;
  /** Steps done in this phase. */
  readonly step: number;
  readonly interval: Totals;
  readonly epochTotals: Totals;
}

const nothing: Totals = {steps: 0, images: 0, sums: {}};

export const firstState: LoopState = {epoch: 0, batch: 0, step: 0, interval: nothing, epochTotals: nothing};

/** @throws SdqError (exit 3) when the value, read from `file`, is not a `LoopState` */
export function parseLoopState(value: unknown, file: string): LoopState {
  const broken = (pointer: string, found: unknown, expected: string): SdqError =>
    invalidInput(
      'loop-state-broken',
      `${file}: state of the loop: ${pointer} is ${JSON.stringify(found ?? null)}, expected ${expected}.`,
    );
  const object = (entry: unknown, pointer: string): Record<string, unknown> => {
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) throw broken(pointer, entry, 'an object');
    return entry as Record<string, unknown>;
  };
  const count = (entry: unknown, pointer: string): number => {
    if (!Number.isSafeInteger(entry) || (entry as number) < 0) throw broken(pointer, entry, 'a whole number from 0');
    return entry as number;
  };
  const totals = (entry: unknown, pointer: string): Totals => {
    const {steps, images, sums} = object(entry, pointer);
    const numbers = object(sums, `${pointer}/sums`);
    for (const [name, sum] of Object.entries(numbers)) {
      if (typeof sum !== 'number') throw broken(`${pointer}/sums/${name}`, sum, 'a number');
    }
    return {
      steps: count(steps, `${pointer}/steps`),
      images: count(images, `${pointer}/images`),
      sums: numbers as Record<string, number>,
    };
  };
  const {epoch, batch, step, interval, epochTotals} = object(value, '/');
  return {
    epoch: count(epoch, '/epoch'),
    batch: count(batch, '/batch'),
    step: count(step, '/step'),
    interval: totals(interval, '/interval'),
    epochTotals: totals(epochTotals, '/epochTotals'),
  };
}

/** What a step is given. The tensors are the loop's: it disposes them. */
export interface StepInput {
  /** [N, height, width, channels], normalised. */
  readonly images: tf.Tensor;
  readonly targets: Targets;
  /** The state before this step. */
  readonly state: LoopState;
}

export interface Report {
  /** The epoch the steps belong to, from 0. */
  readonly epoch: number;
  /** Steps done in this phase. */
  readonly step: number;
  /** Mean over the images of the interval or epoch, by name; `loss` is always there. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Measured since this process began with the interval or epoch; not part of the state. */
  readonly imagesPerSecond: number;
  readonly stepMs: number;
  /** Share of the time in which the step waited for its batch. */
  readonly waitFraction: number;
}

export interface LoopOptions {
  readonly source: BatchSource;
  /** [channels, height, width] or [features] */
  readonly inputShape: Shape;
  readonly epochs: number;
  /** Where to go on; `firstState` for a new phase. */
  readonly state: LoopState;
  /** A report every so many steps, counted over the phase. */
  readonly intervalSteps: number;
  /** Searched for the first value that is not finite when the loss is not. */
  readonly parameters: readonly TrainedParameter[];
  /** One optimizer step. Returns what is to be reported, `loss` at least; it must have changed nothing if that is not finite. */
  readonly step: (input: StepInput) => Promise<Readonly<Record<string, number>> & {readonly loss: number}>;
  readonly onInterval: (report: Report) => void;
  /** After the last step of an epoch, e.g. to evaluate. Runs again after a resume if it had not ended. */
  readonly onEpoch: (report: Report) => Promise<void>;
  /** After every step, its interval's report included, and after every `onEpoch`: the moments to save a checkpoint. */
  readonly onState: (state: LoopState) => Promise<void>;
  /** Asked before every step and every `onEpoch`. */
  readonly shouldStop: () => boolean;
  /** Milliseconds of a steady clock. */
  readonly now?: () => number;
}

interface Clock {
  readonly steps: number;
  readonly images: number;
  readonly ms: number;
  readonly waitMs: number;
}

const stopped: Clock = {steps: 0, images: 0, ms: 0, waitMs: 0};

/**
 * Runs the phase to its end, or until `shouldStop`.
 * @returns the last state, and whether the phase is complete
 * @throws SdqError (exit 5) when the loss is not finite; the parameters are then those before the step
 */
export async function runLoop(options: LoopOptions): Promise<{state: LoopState; finished: boolean}> {
  const {source, epochs, intervalSteps, shouldStop} = options;
  const now = options.now ?? (() => performance.now());
  let state = options.state;
  let interval = stopped;
  let epoch = stopped;
  while (state.epoch < epochs) {
    // Lets signals, timers and the worker's messages in: everything else in a step may be synchronous.
    await setImmediate();
    if (shouldStop()) return {state, finished: false};
    if (state.batch === source.batchesPerEpoch) {
      await options.onEpoch(report(state, state.epochTotals, epoch));
      state = {...state, epoch: state.epoch + 1, batch: 0, epochTotals: nothing};
      epoch = stopped;
    } else {
      const start = now();
      const {metrics, images, waitMs} = await oneStep(options, state);
      const took = {images, waitMs, ms: now() - start};
      interval = lap(interval, took);
      epoch = lap(epoch, took);
      state = {
        epoch: state.epoch,
        batch: state.batch + 1,
        step: state.step + 1,
        interval: add(state.interval, metrics, images),
        epochTotals: add(state.epochTotals, metrics, images),
      };
      if (state.step % intervalSteps === 0) {
        options.onInterval(report(state, state.interval, interval));
        state = {...state, interval: nothing};
        interval = stopped;
      }
    }
    await options.onState(state);
  }
  return {state, finished: true};
}

async function oneStep(
  {source, inputShape, parameters, step}: LoopOptions,
  state: LoopState,
): Promise<{metrics: Readonly<Record<string, number>>; images: number; waitMs: number}> {
  const batch = await source.batch(state.epoch, state.batch);
  const images = inputTensor(batch.images, batch.size, inputShape);
  const targets = targetTensors(batch, batch.size);
  try {
    const metrics = await step({images, targets, state});
    if (!Number.isFinite(metrics.loss)) throw await notFinite(metrics.loss, state, parameters);
    return {metrics, images: batch.size, waitMs: batch.waitMs};
  } finally {
    tf.dispose([images, targets]);
  }
}

function add(totals: Totals, metrics: Readonly<Record<string, number>>, images: number): Totals {
  const sums = {...totals.sums};
  for (const [name, value] of Object.entries(metrics)) sums[name] = (sums[name] ?? 0) + value * images;
  return {steps: totals.steps + 1, images: totals.images + images, sums};
}

function lap(clock: Clock, {images, ms, waitMs}: Omit<Clock, 'steps'>): Clock {
  return {
    steps: clock.steps + 1,
    images: clock.images + images,
    ms: clock.ms + ms,
    waitMs: clock.waitMs + waitMs,
  };
}

function report(state: LoopState, totals: Totals, clock: Clock): Report {
  const ms = Math.max(clock.ms, Number.MIN_VALUE);
  return {
    epoch: state.epoch,
    step: state.step,
    metrics: Object.fromEntries(Object.entries(totals.sums).map(([name, sum]) => [name, sum / totals.images])),
    imagesPerSecond: (1000 * clock.images) / ms,
    stepMs: clock.ms / Math.max(1, clock.steps),
    waitFraction: clock.waitMs / ms,
  };
}

async function notFinite(loss: number, state: LoopState, parameters: readonly TrainedParameter[]): Promise<SdqError> {
  let place = 'all parameters are finite, so the activations overflowed';
  for (const {name, variable} of parameters) {
    const index = (await variable.data()).findIndex((value) => !Number.isFinite(value));
    if (index === -1) continue;
    place = `"${name}" holds a value that is not finite, at index ${index}`;
    break;
  }
  return new SdqError(
    `The loss is ${loss} at step ${state.step + 1} (epoch ${state.epoch + 1}, batch ${state.batch + 1}): ${place}.`,
    {
      code: 'loss-not-finite',
      exit: ExitCode.targetNotReached,
      suggestions: ["Lower the optimizer's learningRate, or give the schedule warmupEpochs."],
    },
  );
}
