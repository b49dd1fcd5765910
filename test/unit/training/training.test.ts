import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import type {ForwardOptions, Network} from '../../../src/graph/network.ts';
import {softCrossEntropy} from '../../../src/tensor/cross-entropy.ts';
import {fakeQuantize} from '../../../src/tensor/fake-quantize.ts';
import type {GradientRule, Grid} from '../../../src/tensor/kernels.ts';
import {decodeCheckpoint, encodeCheckpoint} from '../../../src/training/checkpoint.ts';
import {evaluate} from '../../../src/training/evaluate.ts';
import {firstState, parseLoopState, runLoop, type LoopState} from '../../../src/training/loop.ts';
import {
  createOptimizer,
  exportMoments,
  importMoments,
  networkParameters,
  type OptimizerOptions,
} from '../../../src/training/optimizers.ts';
import {learningRateFactor} from '../../../src/training/schedules.ts';
import {createTrainStep} from '../../../src/training/train-step.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {tinyClasses, tinyNetwork, tinySource} from '../../helpers/tiny-network.ts';

useCpuBackend();

const stepsPerEpoch = 10;
const source = tinySource(Array.from({length: stepsPerEpoch}, () => 12));
const held = tinySource([50, 50]);
const schedule = {name: 'cosine', warmupEpochs: 0.5, milestones: [], factor: 1} as const;
const sgd: OptimizerOptions = {
  name: 'sgd',
  learningRate: 0.1,
  momentum: 0.9,
  nesterov: true,
  weightDecay: 1e-4,
  beta1: 0.9,
  beta2: 0.999,
};

type Quantized = Pick<ForwardOptions, 'weight' | 'activation'>;

/** 3-bit weights with a fixed step, and 2-bit PACT inputs of the layers behind a Relu with a learned step. */
function quantizers(steps: ReadonlyMap<string, tf.Variable>): Quantized {
  const weightGrid: Grid = {qmin: -4, qmax: 3, offset: 0};
  const straightThrough: GradientRule = {input: 'clipped', scale: 'none', gradientScale: 1};
  const pact: GradientRule = {input: 'clipped', scale: 'clip', gradientScale: 1};
  return {
    weight: (_, w) => fakeQuantize(w, tf.scalar(0.12), weightGrid, straightThrough),
    activation: ({name}) => {
      const scale = steps.get(name);
      return scale === undefined ? null : {grid: {qmin: 0, qmax: 3, offset: 0}, scale, rule: pact};
    },
  };
}

interface Trial {
  readonly network: Network;
  readonly options: Quantized;
  /** Trains on, from a checkpoint when one is given; stops after so many steps of the phase and gives a checkpoint. */
  readonly train: (stopAfter: number, checkpoint?: Uint8Array) => Promise<Uint8Array>;
}

function trial(quantized: boolean, epochs: number, optimizerOptions = sgd): Trial {
  const network = tinyNetwork();
  const steps = new Map(quantized ? [['conv2', tf.variable(tf.scalar(0.7))]] : []);
  const options = quantized ? quantizers(steps) : {};
  const parameters = [
    ...networkParameters(network),
    ...[...steps].map(([name, variable]) => ({name: `${name}.step`, variable, decays: false, rateFactor: 0.1})),
  ];
  const optimizer = createOptimizer(optimizerOptions);
  const trainStep = createTrainStep({network, optimizer, parameters, seed: 0});
  return {
    network,
    options,
    train: async (stopAfter, checkpoint) => {
      let optimizerState = optimizer.init(parameters);
      let state: LoopState = firstState;
      if (checkpoint !== undefined) {
        const {weights, groups, state: kept} = decodeCheckpoint(checkpoint, 'test.safetensors');
        network.load(weights);
        for (const [name, {data}] of groups['steps'] ?? []) steps.get(name)!.assign(tf.scalar(data[0]!));
        optimizerState = importMoments(
          optimizer,
          parameters,
          kept['optimizerStep'] as number,
          groups['optimizer']!,
          'test.safetensors',
        );
        state = parseLoopState(kept['loop'], 'test.safetensors');
      }
      const result = await runLoop({
        source,
        inputShape: network.graph.input.shape,
        epochs,
        state,
        intervalSteps: 5,
        parameters,
        step: async ({images, labels, state}) => {
          const result = await trainStep({
            images,
            step: state.step,
            optimizerState,
            rate: learningRateFactor(schedule, state.step, epochs * stepsPerEpoch, stepsPerEpoch),
            forward: options,
            objective: (logits) => ({loss: softCrossEntropy(logits, tf.oneHot(labels, tinyClasses, 1, 0, 'float32'))}),
          });
          optimizerState = result.optimizerState;
          return result.metrics;
        },
        onInterval: () => undefined,
        onEpoch: () => Promise.resolve(),
        onState: (next) => {
          state = next;
          return Promise.resolve();
        },
        shouldStop: () => state.step >= stopAfter,
      });
      return encodeCheckpoint({
        weights: network.weights(),
        groups: {
          optimizer: await exportMoments(optimizer, optimizerState),
          steps: new Map(
            [...steps].map(([name, step]) => [name, {shape: [], data: Float32Array.of(...step.dataSync())}]),
          ),
        },
        state: {loop: result.state as never, optimizerStep: optimizerState.step},
      });
    },
  };
}

describe.each([
  ['full precision', false],
  ['3-bit weights and 2-bit activations', true],
])('%s', (_, quantized) => {
  test('the loss falls and held-out images are told apart', async () => {
    const {network, options, train} = trial(quantized, 5);
    const start = await evaluate(network, held, options);
    await train(Infinity);
    const end = await evaluate(network, held, options);
    expect(start.accuracy).toBeLessThan(0.6);
    expect(end.loss).toBeLessThan(start.loss / 2);
    expect(end.accuracy).toBeGreaterThan(0.85);
  });

  test.each<[OptimizerOptions['name'], number]>([
    ['sgd', 7],
    ['adamw', 10],
  ])('%s stopped after step %p and resumed in a new network ends at the same bytes', async (name, stop) => {
    const optimizer = {...sgd, name, learningRate: name === 'sgd' ? 0.1 : 0.01};
    const whole = await trial(quantized, 2, optimizer).train(Infinity);
    const half = await trial(quantized, 2, optimizer).train(stop);
    const resumed = await trial(quantized, 2, optimizer).train(Infinity, half);
    expect(half).not.toEqual(whole);
    expect(Buffer.compare(resumed, whole)).toBe(0);
  });
});

test('a step leaves as many tensors as it found', async () => {
  const {train} = trial(true, 1);
  await train(1);
  const counts: number[] = [];
  for (const steps of [2, 4]) {
    const before = tf.memory().numTensors;
    await train(steps);
    counts.push(tf.memory().numTensors - before);
  }
  // What remains is the optimizer's state, however many steps were done.
  expect(counts[1]).toBe(counts[0]);
});
