/**
 * How many kernels the webgpu engine starts in a training step of ResNet20 at W 4 / A 4, with the kernels of ours and without them:
 * `node --import tsx bench/webgpu-dispatches.ts` (`sdq engine install webgpu`). Counting needs no fast GPU.
 */
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder} from '../src/graph/builder.ts';
import {initialWeights} from '../src/graph/initialize.ts';
import {createNetwork} from '../src/graph/network.ts';
import {loadQuantizers} from '../src/phases/load-quantizers.ts';
import type {Backend} from '../src/plugins/engines/webgpu/gpu.ts';
import {webgpuEngine} from '../src/plugins/engines/webgpu/index.ts';
import {smallImageResnet} from '../src/plugins/models/resnet-cifar.ts';
import {activationQuantizers, weightQuantizers} from '../src/plugins/quantizers/index.ts';
import {classificationTask} from '../src/plugins/tasks/classification-loss.ts';
import {Registry} from '../src/plugin-api/registry.ts';
import {registerGradients} from '../src/tensor/gradients.ts';
import {createOptimizer, networkParameters} from '../src/training/optimizers.ts';
import {quantize} from '../src/training/quantized-network.ts';
import {createTrainStep} from '../src/training/train-step.ts';

const batch = 1;
tf.enableProdMode();
registerGradients();

/** Kernels of one step, and milliseconds of the second one. */
async function count(): Promise<{readonly dispatches: number; readonly ms: number}> {
  const backend = tf.backend() as unknown as Backend;
  let dispatches = 0;
  const run = backend.runWebGPUProgram.bind(backend);
  backend.runWebGPUProgram = (...call) => {
    dispatches += 1;
    return run(...call);
  };
  const net = graphBuilder('resnet20', [3, 32, 32]);
  const graph = net.build(smallImageResnet(net, 10, {widths: [16, 32, 64], blocks: 3, stemStride: 1, shortcut: 'A'}));
  const network = createNetwork(graph, initialWeights(graph, 0));
  const registry = new Registry([]);
  for (const quantizer of [...weightQuantizers, ...activationQuantizers]) registry.add(quantizer);
  const quantization = quantize(
    network,
    await loadQuantizers(registry, {weights: 'symmetric', activations: 'pact'}),
    () => ({weightBits: 4, activationBits: 4}),
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
  const parameters = [...networkParameters(network), ...quantization.parameters];
  const trainStep = createTrainStep({network, optimizer, parameters, seed: 0});
  let optimizerState = optimizer.init(parameters);
  const images = tf.fill<tf.Rank.R4>([batch, 32, 32, 3], 0.5);
  const labels = tf.tensor1d([3], 'int32');
  let ms = 0;
  for (let step = 0; step < 2; step++) {
    dispatches = 0;
    const start = performance.now();
    ({optimizerState} = await trainStep({
      images,
      step,
      optimizerState,
      rate: 1,
      forward: quantization.forward,
      objective: (outputs) => ({loss: classificationTask.loss(outputs, {labels})}),
    }));
    ms = performance.now() - start;
  }
  backend.runWebGPUProgram = run;
  return {dispatches, ms};
}

const engine = await webgpuEngine.start({threads: 1});
console.log(`${engine.device}, batch ${batch}`);
const fused = await count();
console.log(`with our kernels: ${fused.dispatches} dispatches, ${fused.ms.toFixed(0)} ms`);
for (const {kernelName} of tf.getKernelsForBackend('webgpu')) {
  if (kernelName.startsWith('Sdq')) tf.unregisterKernel(kernelName, 'webgpu');
}
const composed = await count();
console.log(`composed: ${composed.dispatches} dispatches, ${composed.ms.toFixed(0)} ms`);
await engine.dispose();
