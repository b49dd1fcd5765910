import {describe, expect, jest, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {runPhase, type Phase, type PhaseContext, type PhaseOutcome} from '../../../src/phases/phase.ts';
import {createOptimizer} from '../../../src/training/optimizers.ts';
import type {Metric} from '../../../src/training/task.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {madeDataset} from '../../helpers/made-dataset.ts';

useCpuBackend();

const accuracy: Metric = {name: 'accuracy', better: 'higher', isFraction: true};
const mse: Metric = {name: 'mse', better: 'lower', isFraction: false};

/** Runs epochs of three batches; the network only counts. @param values of the metric after each epoch. @returns what was saved, by `saveBest` and as checkpoints */
async function runEpochs(
  values: readonly (number | null | undefined)[],
  checkpointSeconds: number,
  metric = accuracy,
): Promise<{outcome: PhaseOutcome; best: number[]; checkpoints: string[]}> {
  const [best, checkpoints]: [number[], string[]] = [[], []];
  let epoch = 0;
  const dataset = madeDataset(6, 1);
  const context = {
    session: {
      config: {
        seed: 1,
        data: {batchSize: 2, validation: 0, augment: false, workers: 1},
        runs: {checkpointSeconds, logEverySteps: 100},
      },
      dataset,
      task: {metric},
      normalization: {mean: dataset.mean, std: dataset.std},
      engine: {threads: 1},
      reporter: {update: () => undefined, line: () => undefined},
    },
    run: {
      journal: {position: () => 0, log: () => undefined},
      checkpoints: {save: (name: string) => checkpoints.push(name), latest: () => undefined},
    },
    stop: {received: () => undefined, signal: new AbortController().signal},
    stepOffset: 0,
  } as unknown as PhaseContext;
  const outcome = await runPhase(context, {
    name: 'train',
    network: {graph: {input: {shape: [3, 3, 5]}}, weights: () => new Map()} as unknown as Phase['network'],
    parameters: [],
    optimizer: createOptimizer({
      name: 'sgd',
      learningRate: 1,
      momentum: 0,
      nesterov: false,
      weightDecay: 0,
      beta1: 0,
      beta2: 0,
    }),
    epochs: values.length,
    start: () => Promise.resolve(),
    step: (_, optimizerState) => Promise.resolve({optimizerState, metrics: {loss: 1}}),
    status: () => [],
    intervalMetrics: () => ({}),
    validate() {
      const value = values[epoch++];
      return Promise.resolve(value === null ? null : {...(value === undefined ? {} : {[metric.name]: value}), loss: 1});
    },
    saveBest: () => {
      best.push(epoch);
      return Promise.resolve();
    },
    exportState: () => Promise.resolve({state: null, arrays: new Map()}),
    importState: () => undefined,
    isDone: () => false,
  });
  return {outcome, best, checkpoints};
}

describe('a phase', () => {
  test('of equally accurate epochs keeps the first', async () => {
    const {outcome, best} = await runEpochs([0.25, 0.5, 0.5, 0.375], 600);
    expect(best).toEqual([1, 2]);
    expect(outcome).toEqual({steps: 12, best: {epoch: 2, value: 0.5}, last: 0.375});
    expect(tf.memory().numTensors).toBe(0);
  });

  test('keeps the epoch of the lowest value where lower is better', async () => {
    const {outcome, best} = await runEpochs([0.5, 0.25, 7, 0.25], 600, mse);
    expect(best).toEqual([1, 2]);
    expect(outcome).toEqual({steps: 12, best: {epoch: 2, value: 0.25}, last: 0.25});
  });

  test('refuses a task that leaves out its primary metric', async () => {
    await expect(runEpochs([undefined], 600, mse)).rejects.toThrow('measures no "mse"');
  });

  test('without validation images keeps the last', async () => {
    const {outcome, best} = await runEpochs([null, null], 600);
    expect(best).toEqual([1, 2]);
    expect(outcome).toEqual({steps: 6, best: null, last: null});
  });

  test('saves checkpoints in time although the wall clock goes back', async () => {
    let wall = Date.UTC(2026, 0, 1);
    const clock = jest.spyOn(Date, 'now').mockImplementation(() => (wall -= 3_600_000));
    try {
      // Due after every step.
      const {checkpoints} = await runEpochs([null], 0);
      expect([...new Set(checkpoints)]).toEqual([
        'train-00000000',
        'train-00000001',
        'train-00000002',
        'train-00000003',
      ]);
    } finally {
      clock.mockRestore();
    }
  });
});
