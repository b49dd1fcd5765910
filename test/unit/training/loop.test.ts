import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {
  firstState,
  parseLoopState,
  runLoop,
  type LoopOptions,
  type LoopState,
  type Report,
} from '../../../src/training/loop.ts';
import {arraySource} from '../../helpers/array-source.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';

useCpuBackend();

const source = arraySource([4, 4, 2], (epoch, index, size) => ({
  images: new Float32Array(size).fill(10 * epoch + index),
  labels: new Int32Array(size),
}));

/** A step whose loss is the value of the images: epoch · 10 + batch. */
function options(overrides: Partial<LoopOptions> = {}): LoopOptions {
  return {
    source,
    inputShape: [1, 1, 1],
    epochs: 2,
    state: firstState,
    intervalSteps: 2,
    parameters: [],
    step: ({images}) => Promise.resolve({loss: images.dataSync()[0]!, ones: 1}),
    onInterval: () => undefined,
    onEpoch: () => Promise.resolve(),
    onState: () => Promise.resolve(),
    shouldStop: () => false,
    ...overrides,
  };
}

describe('order and reports', () => {
  test('every batch of every epoch once, reports after whole intervals and epochs, weighted by images', async () => {
    const seen: string[] = [];
    const note = (kind: string, {epoch, step, metrics}: Report): number =>
      seen.push(`${kind} epoch ${epoch} step ${step} loss ${metrics['loss']!}`);
    const {finished, state} = await runLoop(
      options({
        step: ({images, targets, state}) => {
          seen.push(`batch ${state.epoch}/${state.batch} of ${images.shape.join('×')}, ${targets.labels.shape.join()}`);
          return Promise.resolve({loss: images.dataSync()[0]!});
        },
        onInterval: (report) => note('interval', report),
        onEpoch: (report) => Promise.resolve(void note('epoch', report)),
      }),
    );
    expect(finished).toBe(true);
    expect(state.epoch).toBe(2);
    expect(seen).toEqual([
      'batch 0/0 of 4×1×1×1, 4',
      'batch 0/1 of 4×1×1×1, 4',
      'interval epoch 0 step 2 loss 0.5',
      'batch 0/2 of 2×1×1×1, 2',
      `epoch epoch 0 step 3 loss ${(0 * 4 + 1 * 4 + 2 * 2) / 10}`,
      'batch 1/0 of 4×1×1×1, 4',
      `interval epoch 1 step 4 loss ${(2 * 2 + 10 * 4) / 6}`,
      'batch 1/1 of 4×1×1×1, 4',
      'batch 1/2 of 2×1×1×1, 2',
      `interval epoch 1 step 6 loss ${(11 * 4 + 12 * 2) / 6}`,
      `epoch epoch 1 step 6 loss ${(10 * 4 + 11 * 4 + 12 * 2) / 10}`,
    ]);
  });

  test('speed, step time and the share of waiting come from the clock', async () => {
    let clock = 0;
    const reports: Report[] = [];
    await runLoop(
      options({
        epochs: 1,
        intervalSteps: 3,
        now: () => (clock += 10),
        onInterval: (report) => reports.push(report),
      }),
    );
    // Three steps of 10 ms, 10 images, 2 ms of waiting each.
    expect(reports[0]).toMatchObject({stepMs: 10, waitFraction: 6 / 30});
    expect(reports[0]!.imagesPerSecond).toBeCloseTo(10 / 0.03, 9);
  });

  test('timers run between steps', async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 0);
    const busy = (): void => {
      const end = performance.now() + 3;
      while (performance.now() < end);
    };
    try {
      await runLoop(
        options({
          epochs: 5,
          step: () => {
            busy();
            return Promise.resolve({loss: 1});
          },
        }),
      );
    } finally {
      clearInterval(timer);
    }
    expect(ticks).toBeGreaterThan(5);
  });
});

describe('stop and resume', () => {
  test('stopped after any step and resumed through JSON, it sees, reports and ends the same', async () => {
    const record = async (stops: readonly number[]): Promise<string[]> => {
      const seen: string[] = [];
      let state: LoopState = firstState;
      let calls = 0;
      for (;;) {
        const result = await runLoop(
          options({
            state,
            epochs: 3,
            step: ({images, state}) => {
              seen.push(`${state.step}: ${images.dataSync()[0]!}`);
              return Promise.resolve({loss: images.dataSync()[0]! / 3});
            },
            onInterval: ({epoch, step, metrics}) => seen.push(JSON.stringify({epoch, step, metrics})),
            onEpoch: ({epoch, metrics}) => Promise.resolve(void seen.push(JSON.stringify({epoch, metrics}))),
            shouldStop: () => stops.includes(calls++),
          }),
        );
        if (result.finished) return seen;
        state = parseLoopState(JSON.parse(JSON.stringify(result.state)), 'test');
      }
    };
    const whole = await record([]);
    expect(whole).toHaveLength(9 + 4 + 3);
    for (let stop = 0; stop < 12; stop++) expect(await record([stop, stop + 2])).toEqual(whole);
  });

  test('an end of an epoch that was not reported before the stop is reported after it', async () => {
    const reported: number[] = [];
    const onEpoch = ({epoch}: Report): Promise<void> => Promise.resolve(void reported.push(epoch));
    let steps = 0;
    const onState = (): Promise<void> => {
      steps++;
      return Promise.resolve();
    };
    const first = await runLoop(options({epochs: 1, onEpoch, onState, shouldStop: () => steps === 3}));
    expect(first).toMatchObject({finished: false, state: {epoch: 0, batch: 3}});
    expect(reported).toEqual([]);
    const second = await runLoop(options({epochs: 1, onEpoch, state: first.state}));
    expect(second.finished).toBe(true);
    expect(reported).toEqual([0]);
  });

  test.each<[string, (state: Record<string, unknown>) => void, string]>([
    ['a negative step', (state) => (state['step'] = -1), '/step is -1'],
    ['a fraction', (state) => (state['batch'] = 0.5), '/batch is 0.5'],
    ['no totals', (state) => delete state['interval'], '/interval is null'],
    ['a sum that is text', (state) => (state['epochTotals'] = {steps: 1, images: 1, sums: {loss: 'x'}}), '/sums/loss'],
  ])('a state with %s is refused', (_, spoil, message) => {
    const state = {...firstState} as Record<string, unknown>;
    spoil(state);
    expect(() => parseLoopState(state, 'file')).toThrow(message);
  });
});

describe('a loss that is not finite', () => {
  test.each([NaN, Infinity])('%p ends the loop with the step, the parameter and what to try', async (loss) => {
    const bad = tf.variable(tf.tensor1d([1, NaN]));
    const good = tf.variable(tf.tensor1d([1]));
    const parameters = [
      {name: 'conv1.weight', variable: good, decays: true, rateFactor: 1},
      {name: 'fc.bias', variable: bad, decays: false, rateFactor: 1},
    ];
    const step: LoopOptions['step'] = ({state}) => Promise.resolve({loss: state.step === 4 ? loss : 1});
    await expect(runLoop(options({parameters, step}))).rejects.toMatchObject({
      code: 'loss-not-finite',
      message: expect.stringMatching(/step 5 \(epoch 2, batch 2\): "fc.bias" .* index 1/) as unknown,
      suggestions: [expect.stringContaining('learningRate')],
    });
  });
});

test('the batches leave no tensor behind, also when a step throws', async () => {
  const before = tf.memory().numTensors;
  await runLoop(options());
  expect(tf.memory().numTensors).toBe(before);
  await expect(runLoop(options({step: () => Promise.reject(new Error('broken'))}))).rejects.toThrow('broken');
  expect(tf.memory().numTensors).toBe(before);
});
