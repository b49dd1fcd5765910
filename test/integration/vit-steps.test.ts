/**
 * Training steps of a small vision transformer against PyTorch, from the same weights on the same batches: full precision and W 4 / A 8,
 * attention's products rounded too. Needs `node scripts/python-services.js torch`; skips where it is missing.
 */
import {spawnSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import type {Array32} from '../../src/graph/graph.ts';
import {initialWeights} from '../../src/graph/initialize.ts';
import {hasWeights} from '../../src/graph/layer-table.ts';
import {createNetwork} from '../../src/graph/network.ts';
import {serializeSafetensors} from '../../src/graph/safetensors.ts';
import type {Engine} from '../../src/plugin-api/registry.ts';
import {wasmEngine} from '../../src/plugins/engines/wasm/index.ts';
import {vit} from '../../src/plugins/models/vit.ts';
import {lsq} from '../../src/plugins/quantizers/lsq.ts';
import {pact} from '../../src/plugins/quantizers/pact.ts';
import {symmetric} from '../../src/plugins/quantizers/symmetric.ts';
import {classification} from '../../src/plugins/tasks/classification.ts';
import {normal, uniform} from '../../src/random.ts';
import {registerGradients} from '../../src/tensor/gradients.ts';
import {calibrateInputs, sampleInputs} from '../../src/training/calibration.ts';
import {createOptimizer, disposeState, networkParameters} from '../../src/training/optimizers.ts';
import {quantizationRecord} from '../../src/training/quantization-record.ts';
import {learnedValues, quantize, type Quantization} from '../../src/training/quantized-network.ts';
import {targetTensors} from '../../src/training/task.ts';
import {createTrainStep} from '../../src/training/train-step.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {thorough} from '../helpers/thorough.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const classificationTask = await classification.load({}, {classes: 10, inputShape: [3, 32, 32]});

const folder = temporaryFolder();
const script = path.resolve(import.meta.dirname, '../helpers/vit_steps.py');

const [steps, batch, side, classes] = [20, 16, 16, 5];
const options = {patch: 4, width: 24, depth: 2, heads: 3, mlpRatio: 2};
const [momentum, weightDecay] = [0.9, 1e-3];

/** Images of noise with a bright column at a place of their class, [N, 3, side, side], and their classes. */
function batches(): {images: Float32Array; labels: Int32Array} {
  const draw = uniform(11, 'bench');
  const labels = Int32Array.from({length: steps * batch}, (_, i) => (i * 7) % classes);
  const images = Float32Array.from({length: labels.length * 3 * side * side}, (_, i) => {
    const label = labels[Math.floor(i / (3 * side * side))]!;
    return 0.7 * normal(draw) + (Math.floor((i % side) / 3) === label ? 1.5 : 0);
  });
  return {images, labels};
}

interface Steps {
  /** Losses of sdq. */
  readonly ours: readonly number[];
  /** Losses of PyTorch from the first state on. */
  readonly free: readonly number[];
  /** PyTorch's steps, each from sdq's state before it: losses, and the distance of the changed parameters as a share of the change. */
  readonly same: {readonly losses: readonly number[]; readonly off: readonly number[]};
}

/** The same steps by sdq and by PyTorch. */
async function bothSteps(
  learningRate: number,
  bits: {weights: number; activations: number} | undefined,
): Promise<Steps> {
  const graph = vit.build({classes, inputShape: [3, side, side]}, options);
  // Five times the usual weights: training begins at once.
  const drawn = [...initialWeights(graph, 3)].map(([name, {shape, data}]): [string, Array32] => [
    name,
    {shape, data: name.endsWith('.weight') && shape.length === 2 ? data.map((value) => 5 * value) : data},
  ]);
  const network = createNetwork(graph, new Map(drawn));
  const {images, labels} = batches();
  const inputs = tf.transpose(tf.tensor(images, [labels.length, 3, side, side]), [0, 2, 3, 1]);
  const batchOf = (index: number): tf.Tensor => tf.slice(inputs, index * batch, batch);
  let quantization: Quantization | undefined;
  if (bits !== undefined) {
    quantization = quantize(
      network,
      {weights: symmetric, activations: pact, signedActivations: lsq},
      (layer) => ({weightBits: hasWeights(layer) ? bits.weights : 8, activationBits: bits.activations}),
      {learnSteps: true},
    );
    calibrateInputs(quantization.inputs, await sampleInputs(network, quantization.inputs.keys(), batchOf(0)));
  }
  const data = new Map<string, Array32>([
    ['images', {shape: [labels.length, 3, side, side], data: images}],
    ['labels', {shape: [labels.length], data: Float32Array.from(labels)}],
  ]);
  const keepState = async (step: number): Promise<void> => {
    const learned = quantization === undefined ? [] : await learnedValues(quantization);
    for (const [name, array] of [...(await network.weights()), ...learned]) data.set(`state:${step}:${name}`, array);
  };
  await keepState(0);
  const own = networkParameters(network);
  const trained = [...own, ...(quantization?.parameters ?? [])];
  const optimizer = createOptimizer({
    name: 'sgd',
    nesterov: false,
    beta1: 0,
    beta2: 0,
    learningRate,
    momentum,
    weightDecay,
  });
  const trainStep = createTrainStep({network, optimizer, parameters: trained, seed: 0});
  let optimizerState = optimizer.init(trained);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const x = batchOf(step);
    const targets = targetTensors({labels: labels.subarray(step * batch, (step + 1) * batch)}, batch);
    const {metrics, optimizerState: next} = await trainStep({
      ...{images: x, step, optimizerState, rate: 1},
      ...(quantization === undefined ? {} : {forward: quantization.forward}),
      objective: (outputs) => ({loss: classificationTask.loss(outputs, targets)}),
    });
    optimizerState = next;
    losses.push(metrics['loss']);
    tf.dispose([x, targets]);
    await keepState(step + 1);
  }
  const [jobFile, dataFile] = [path.join(folder, 'job.json'), path.join(folder, 'data.safetensors')];
  const job = {
    ...{...options, steps, batch, learningRate, momentum, weightDecay},
    grids: quantization === undefined ? {} : quantizationRecord(network, quantization).layers,
    decayed: own.filter(({decays}) => decays).map(({name}) => name),
    fixed: graph.parameters.filter(({role}) => role === 'constant').map(({name}) => name),
  };
  writeFileSync(jobFile, JSON.stringify(job));
  writeFileSync(dataFile, serializeSafetensors(data, {}));
  disposeState(optimizerState);
  quantization?.dispose();
  network.dispose();
  inputs.dispose();
  const {status, stderr, stdout} = spawnSync(pythonProgram('torch'), [script, jobFile, dataFile], {encoding: 'utf8'});
  expect({status, stderr: status === 0 ? '' : stderr}).toEqual({status: 0, stderr: ''});
  return {ours: losses, ...(JSON.parse(stdout) as Omit<Steps, 'ours'>)};
}

(thorough ? describeWith('torch') : describe.skip)('training steps of a vision transformer (in the slow suite)', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await wasmEngine.start({threads: 1});
    registerGradients();
  });
  afterAll(() => engine.dispose());

  test.each([
    ['full precision', 0.05, 0.8, undefined],
    ['W 4 / A 8', 0.002, 0.99, {weights: 4, activations: 8}],
  ])(
    '%s: the losses of PyTorch',
    async (_, learningRate, falls, bits) => {
      const {free, ours, same} = await bothSteps(learningRate, bits);
      for (const each of [ours, free, same.losses, same.off]) expect(each).toHaveLength(steps);
      const mean = (losses: readonly number[]): number => losses.reduce((sum, loss) => sum + loss / losses.length, 0);
      // They learn: agreement of what stands still would prove little.
      expect(mean(ours.slice(-5))).toBeLessThan(falls * mean(ours.slice(0, 5)));
      const distance = (theirs: readonly number[]): number[] =>
        ours.map((loss, i) => Math.abs(loss - theirs[i]!) / theirs[i]!);
      // Every step from the same state. At W 4 / A 8 a number in the middle between two levels falls to another side in a few steps.
      // Traced with products of floats: in step 6 one input of blocks.0.mlp.fc2 lies 4.8e-7 levels from the middle (-15.5). With that one number on the
      // other level, PyTorch's loss differs by 8e-8 in place of 2.4e-4.
      const fromSame = distance(same.losses);
      const parted = fromSame.filter((off) => off > 1e-6).length;
      expect(parted).toBeLessThanOrEqual(bits === undefined ? 0 : 3);
      const together = parted === 0 ? steps : fromSame.findIndex((off) => off > 1e-6);
      // In step 3 the changes part by 1e-5 where the losses do not: 2e-6 with products of floats. Against PyTorch in float64 both products
      // part by 1e-4 in step 0, and have losses within 4e-8 in the steps where none of these numbers falls to another side.
      expect(Math.max(...same.off.slice(0, together))).toBeLessThanOrEqual(bits === undefined ? 1e-5 : 2e-5);
      // All steps from the first state. Traced with products of floats: before step 17 all parameters are within 1.7e-5 of their tensor's largest, and no weight
      // is on another level. Three inputs of blocks.1.attn.proj are (-31.49992 for sdq, -31.50021 for PyTorch): losses part by 4e-4.
      const exact = bits === undefined ? steps : 10;
      expect(Math.max(...distance(free).slice(0, exact))).toBeLessThanOrEqual(1e-4);
      expect(Math.max(...distance(free), ...fromSame)).toBeLessThanOrEqual(2e-3);
    },
    120_000,
  );
});
