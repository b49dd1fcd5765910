/**
 * How many kernels the webgpu engine starts in a training step of ResNet20 at W 4 / A 4, with the kernels of ours and without them:
 * `node --import tsx bench/webgpu-dispatches.ts` (`sdq engine install webgpu`). Counting needs no fast GPU.
 */
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder} from '../src/graph/builder.ts';
import {timeSteps} from '../src/phases/step-benchmark.ts';
import type {Backend} from '../src/plugins/engines/webgpu/gpu.ts';
import {webgpuEngine} from '../src/plugins/engines/webgpu/index.ts';
import {smallImageResnet} from '../src/plugins/models/resnet-cifar.ts';
import {activationQuantizers, weightQuantizers} from '../src/plugins/quantizers/index.ts';
import {classification} from '../src/plugins/tasks/classification.ts';
import {Registry} from '../src/plugin-api/registry.ts';
import {registerGradients} from '../src/tensor/gradients.ts';

const classificationTask = await classification.load({}, {classes: 10, inputShape: [3, 32, 32]});

const batch = 1;
tf.enableProdMode();
registerGradients();
const registry = new Registry([]);
for (const quantizer of [...weightQuantizers, ...activationQuantizers]) registry.add(quantizer);
const net = graphBuilder('resnet20', [3, 32, 32]);
const graph = net.build(smallImageResnet(net, 10, {widths: [16, 32, 64], blocks: 3, stemStride: 1, shortcut: 'A'}));

/** Kernels started by so many steps, and milliseconds of the last one. */
async function run(steps: number): Promise<{readonly dispatches: number; readonly ms: number}> {
  const backend = tf.backend() as unknown as Backend;
  const start = backend.runWebGPUProgram.bind(backend);
  let dispatches = 0;
  backend.runWebGPUProgram = (...call) => {
    dispatches += 1;
    return start(...call);
  };
  const bits = {weightBits: 4, activationBits: 4};
  const times = await timeSteps({graph, registry, task: classificationTask, kind: 'train', batch, steps, ...bits});
  backend.runWebGPUProgram = start;
  return {dispatches, ms: times.at(-1) ?? NaN};
}

/** What the second step adds to the first. */
async function report(label: string): Promise<void> {
  const [one, two] = [await run(1), await run(2)];
  console.log(`${label}: ${two.dispatches - one.dispatches} dispatches, ${two.ms.toFixed(0)} ms`);
}

const engine = await webgpuEngine.start({threads: 1});
console.log(`${engine.device}, batch ${batch}, the first and the last layer in full precision`);
await report('with our kernels');
for (const {kernelName} of tf.getKernelsForBackend('webgpu')) {
  if (kernelName.startsWith('Sdq')) tf.unregisterKernel(kernelName, 'webgpu');
}
await report('composed');
await engine.dispose();
