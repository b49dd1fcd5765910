/**
 * The loss of twenty training steps of a small residual network on real CIFAR-10 images, on tfjs' stock cpu backend and on the other
 * engines: `node --import tsx test/helpers/training-curve.ts ENGINE[=FOLDER]...` prints them as JSON. A process of its own, since the cpu backend is ten
 * times slower inside Jest.
 */
import path from 'node:path';

import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

import {openBatches} from '../../src/data/batches.ts';
import {dataCache} from '../../src/data/cache.ts';
import {resolveNormalization} from '../../src/data/normalization.ts';
import {graphBuilder} from '../../src/graph/builder.ts';
import {initialWeights} from '../../src/graph/initialize.ts';
import {createNetwork} from '../../src/graph/network.ts';
import {loadQuantizers} from '../../src/phases/load-quantizers.ts';
import {cifar10} from '../../src/plugins/datasets/cifar10.ts';
import {engines} from '../../src/plugins/engines/index.ts';
import {smallImageResnet} from '../../src/plugins/models/resnet-cifar.ts';
import {activationQuantizers, weightQuantizers} from '../../src/plugins/quantizers/index.ts';
import {classification} from '../../src/plugins/tasks/classification.ts';
import {Registry} from '../../src/plugin-api/registry.ts';
import {registerGradients} from '../../src/tensor/gradients.ts';
import {calibrateInputs, sampleInputs} from '../../src/training/calibration.ts';
import {createOptimizer, networkParameters} from '../../src/training/optimizers.ts';
import {quantize} from '../../src/training/quantized-network.ts';
import {createTrainStep} from '../../src/training/train-step.ts';

const classificationTask = await classification.load({}, {classes: 10, inputShape: [3, 32, 32]});

export interface Curves {
  readonly oracle: readonly number[];
  readonly wasm: readonly number[];
  /** Where TensorFlow is installed. */
  readonly tensorflow?: readonly number[];
  /** Where WebGPU is installed. */
  readonly webgpu?: readonly number[];
}

const steps = 20;
const batchSize = 2;
const directory = path.join(dataCache(), 'cifar10');

/** On the current backend. */
async function lossCurve(bits: number): Promise<number[]> {
  const dataset = await cifar10.open(directory, {});
  const source = openBatches(dataset, {
    part: 'train',
    mode: 'training',
    validation: 5000,
    batchSize,
    augment: true,
    normalization: resolveNormalization('dataset', dataset),
    seed: 0,
  });
  const net = graphBuilder('small', [3, 32, 32]);
  const graph = net.build(smallImageResnet(net, 10, {widths: [8, 8, 16], blocks: 1, stemStride: 2, shortcut: 'A'}));
  const network = createNetwork(graph, initialWeights(graph, 0));
  const registry = new Registry([]);
  for (const quantizer of [...weightQuantizers, ...activationQuantizers]) registry.add(quantizer);
  const quantization = quantize(
    network,
    await loadQuantizers(registry, {weights: 'symmetric', activations: 'pact'}),
    () => ({weightBits: bits, activationBits: bits}),
    {learnSteps: true},
  );
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
  const trainStep = createTrainStep({network, optimizer, parameters: trained, seed: 0});
  let state = optimizer.init(trained);
  const losses: number[] = [];
  try {
    for (let i = 0; i < steps; i++) {
      const {images, labels} = await source.batch(0, i);
      const [x, y] = [tf.tensor4d(images.slice(), [batchSize, 32, 32, 3]), tf.tensor1d(labels.slice(), 'int32')];
      if (i === 0) {
        const {inputs} = quantization;
        calibrateInputs(inputs, await sampleInputs(network, inputs.keys(), x));
      }
      const {metrics, optimizerState} = await trainStep({
        images: x,
        step: i,
        optimizerState: state,
        rate: 1,
        forward: quantization.forward,
        objective: (outputs) => ({loss: classificationTask.loss(outputs, {labels: y})}),
      });
      state = optimizerState;
      losses.push(metrics.loss);
      tf.dispose([x, y]);
    }
  } finally {
    await source.close();
    tf.dispose([...state.moments.values()].flat());
    quantization.dispose();
    network.dispose();
  }
  return losses;
}

tf.enableProdMode();
registerGradients();
const curves: Record<string, Record<string, number[]>> = {};
for (const bits of [32, 4]) {
  await tf.setBackend('cpu');
  curves[bits] = {oracle: await lossCurve(bits)};
  for (const [name, folder] of process.argv.slice(2).map((argument) => argument.split('='))) {
    if (folder !== undefined) process.env['SDQ_ENGINE_DIR'] = folder;
    const engine = engines.find((definition) => definition.name === name)!;
    const started = await engine.start({threads: 2});
    curves[bits][engine.name] = await lossCurve(bits);
    await started.dispose();
  }
}
process.stdout.write(`\n${JSON.stringify(curves)}\n`);
