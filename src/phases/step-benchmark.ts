/**
 * Times steps of the real thing, on random images or those of a data set: `train` is a step of phase 2 without distillation (pretraining when
 * both bitwidths are 32), `search` one of phase 1 between the bitwidth and the next lower one, `evaluate` a forward pass. The stem and the
 * classifier stay in full precision, as in the peer that they are compared with.
 */
import * as tf from '@tensorflow/tfjs-core';

import type {BatchSource} from '../data/batches.ts';
import type {TargetBoxes} from '../detection/boxes.ts';
import type {Graph} from '../graph/graph.ts';
import {initialWeights} from '../graph/initialize.ts';
import {inputTensor} from '../graph/input-tensor.ts';
import {hasWeights, lastLayers, type QuantizedLayer, type WeightLayer} from '../graph/layer-table.ts';
import {createNetwork} from '../graph/network.ts';
import {item, last} from '../lookup.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {normal, uniform, type Uniform} from '../random.ts';
import {searchWeights} from '../sdq/stochastic.ts';
import {unquantized} from '../sdq/strategy.ts';
import {outputChannels} from '../sdq/weight-quantizer.ts';
import {calibrateInputs, sampleInputs} from '../training/calibration.ts';
import {createOptimizer, networkParameters} from '../training/optimizers.ts';
import {quantize} from '../training/quantized-network.ts';
import {targetTensors, type Targets, type Task} from '../training/task.ts';
import {createTrainStep} from '../training/train-step.ts';
import {loadQuantizers} from './load-quantizers.ts';

export interface StepBenchmark {
  readonly graph: Graph;
  /** Looked up for the quantizers `narrow`, `pact` and `lsq`. */
  readonly registry: Registry;
  readonly task: Pick<Task, 'loss' | 'heads'>;
  readonly kind: 'train' | 'search' | 'evaluate';
  /** Images a step. */
  readonly batch: number;
  /** 1 to 8, or 32 for full precision, which a search step cannot have. */
  readonly weightBits: number;
  readonly activationBits: number;
  readonly steps: number;
  /** Real images of the graph's input shape in place of random ones: a step then begins with waiting for its batch. */
  readonly source?: BatchSource | undefined;
  /** Told in each step how many of its milliseconds went into that waiting. */
  readonly onWait?: (milliseconds: number) => void;
}

/** All layers but the first and the last of each output. */
function quantizedLayers(graph: Graph, layers: readonly QuantizedLayer[]): (layer: QuantizedLayer) => boolean {
  const names = layers.map(({name}) => name);
  const full = new Set([...names.slice(0, 1), ...lastLayers(graph, names)]);
  return ({name}) => !full.has(name);
}

/** Milliseconds of each step on the current backend, the slow first ones included. */
export async function timeSteps(benchmark: StepBenchmark): Promise<number[]> {
  const {graph, registry, task, kind, batch, weightBits, activationBits, steps, source} = benchmark;
  const network = createNetwork(graph, initialWeights(graph, 0));
  const {layers} = network;
  const quantized = quantizedLayers(graph, layers);
  const quantization = quantize(
    network,
    await loadQuantizers(registry, {weights: 'narrow', activations: 'pact'}),
    (layer) => {
      if (!quantized(layer)) return unquantized;
      return {weightBits: hasWeights(layer) ? weightBits : activationBits, activationBits};
    },
    {learnSteps: kind === 'train'},
  );
  const indicators = tf.tidy(() => layers.map(() => tf.variable(tf.scalar(1))));
  const optimizer = createOptimizer({
    name: 'sgd',
    learningRate: 0.01,
    momentum: 0.9,
    nesterov: false,
    weightDecay: 1e-4,
    beta1: 0,
    beta2: 0,
  });
  const trained = [...networkParameters(network), ...quantization.parameters];
  const trainStep = createTrainStep({
    network,
    optimizer,
    parameters: trained,
    followed: kind === 'search' ? indicators : [],
    seed: 0,
  });
  let state = optimizer.init(trained);
  const draw = uniform(0, 'bench');
  const {shape} = graph.input;
  const length = shape.reduce((product, size) => product * size, batch);
  const images = inputTensor(
    Float32Array.from({length}, () => normal(draw)),
    batch,
    shape,
  );
  const classes = item(last(layers).outputShape, 0);
  const targets = targetTensors(
    {
      labels: Int32Array.from({length: batch}, () => Math.floor(classes * draw())),
      values: Float32Array.from({length: batch * classes}, () => normal(draw)),
      boxes: randomBoxes(batch, task.heads?.classes ?? 1, draw),
    },
    batch,
  );
  const sample = await sampleInputs(network, quantization.inputs.keys(), images);
  calibrateInputs(quantization.inputs, sample);

  const weight = (layer: WeightLayer, w: tf.Tensor): tf.Tensor => {
    if (kind !== 'search') return quantization.forward.weight(layer, w);
    if (!quantized(layer)) return w;
    const index = layers.indexOf(layer);
    const low = weightBits === 1 ? null : weightBits - 1;
    const choice = {high: weightBits, low, share: index % 2};
    return searchWeights(w, quantization.weights, choice, item(indicators, index), outputChannels(layer));
  };
  const step = async (images: tf.Tensor, targets: Targets, index: number): Promise<void> => {
    if (kind === 'evaluate') {
      const logits = network.forward(images, {training: false, ...quantization.forward});
      await logits.data();
      logits.dispose();
      return;
    }
    const result = await trainStep({
      images,
      step: index,
      optimizerState: state,
      rate: 1,
      forward: {weight, activation: quantization.forward.activation},
      objective: (outputs) => ({loss: task.loss(outputs, targets)}),
    });
    state = result.optimizerState;
  };
  try {
    const times: number[] = [];
    for (let i = 0; i < steps; i++) {
      const start = performance.now();
      if (source === undefined) {
        await step(images, targets, i);
      } else {
        const next = await source.batch(Math.floor(i / source.batchesPerEpoch), i % source.batchesPerEpoch);
        benchmark.onWait?.(next.waitMs);
        const [x, y] = [inputTensor(next.images, next.size, shape), targetTensors(next, next.size)];
        await step(x, y, i);
        tf.dispose([x, y]);
      }
      times.push(performance.now() - start);
    }
    return times;
  } finally {
    tf.dispose([images, targets, ...indicators, ...[...state.moments.values()].flat()]);
    quantization.dispose();
    network.dispose();
  }
}

/** Eight objects an image, of about the mean size in COCO. */
function randomBoxes(batch: number, classes: number, draw: Uniform): TargetBoxes {
  const most = 8;
  const box = (): number[] => [
    Math.floor(classes * draw()),
    draw(),
    draw(),
    0.4 * draw() + 0.02,
    0.4 * draw() + 0.02,
    0,
  ];
  return {most, values: Float32Array.from(Array.from({length: batch * most}, box).flat())};
}
