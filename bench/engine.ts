/**
 * One contender of step.ts: times steps on one engine and prints a JSON object.
 *
 *   node --import tsx bench/engine.ts --engine wasm|cpu|tfjs-wasm [--threads 2]
 *     [--model resnet20|resnet18|mobilenet-v2|vit|yolov4-tiny] [--batch 128] [--kind train|search|evaluate] [--weight-bits 4] [--activation-bits 4] [--steps 14]
 */
import {parseArgs} from 'node:util';

import * as tf from '@tensorflow/tfjs-core';

import {cpuEngine} from '../src/plugins/engines/cpu/index.ts';
import {wasmEngine} from '../src/plugins/engines/wasm/index.ts';
import {models} from '../src/plugins/models/index.ts';
import {activationQuantizers, weightQuantizers} from '../src/plugins/quantizers/index.ts';
import {tasks} from '../src/plugins/tasks/index.ts';
import {Registry} from '../src/plugin-api/registry.ts';
import {timeSteps, type StepBenchmark} from '../src/phases/step-benchmark.ts';
import {registerGradients} from '../src/tensor/gradients.ts';

const {values} = parseArgs({
  options: {
    engine: {type: 'string', default: 'wasm'},
    threads: {type: 'string', default: '2'},
    model: {type: 'string', default: 'resnet20'},
    batch: {type: 'string', default: '128'},
    kind: {type: 'string', default: 'train'},
    'weight-bits': {type: 'string', default: '4'},
    'activation-bits': {type: 'string', default: '4'},
    steps: {type: 'string', default: '14'},
  },
});
/** Steps before the timing: compilation, first allocations. */
const warmUp = 2;

tf.enableProdMode();
registerGradients();

/** Stock tfjs wasm has no gradient of the filter: here it is the convolution of x with dy, the batch as the channels. */
function registerFilterGradient(): void {
  tf.registerKernel({
    kernelName: tf.Conv2DBackpropFilter,
    backendName: 'wasm',
    kernelFunc: ({inputs, attrs}) => {
      const {x, dy} = inputs as unknown as {x: tf.Tensor4D; dy: tf.Tensor4D};
      const {strides, pad, filterShape} = attrs as unknown as tf.Conv2DBackpropFilterAttrs;
      const {padInfo, strideHeight, strideWidth} = tf.backend_util.computeConv2DInfo(
        x.shape,
        filterShape,
        strides,
        1,
        pad,
      );
      const {top, bottom, left, right} = padInfo;
      return tf.tidy(() => {
        const padded = tf.pad4d(x, [
          [0, 0],
          [top, bottom],
          [left, right],
          [0, 0],
        ]);
        const channelsFirst = tf.transpose(padded, [3, 1, 2, 0]);
        const filter = tf.transpose(dy, [1, 2, 0, 3]);
        const gradient = tf.conv2d(channelsFirst, filter, 1, 'valid', 'NHWC', [strideHeight, strideWidth]);
        const rows = tf.slice(gradient, [0, 0, 0, 0], [filterShape[2], filterShape[0], filterShape[1], filterShape[3]]);
        return tf.transpose(rows, [1, 2, 0, 3]);
      });
    },
  });
}

async function start(): Promise<string> {
  if (values.engine === 'tfjs-wasm') {
    await import('@tensorflow/tfjs-backend-wasm');
    await tf.setBackend('wasm');
    registerFilterGradient();
    return 'stock tfjs wasm';
  }
  const engine = values.engine === 'cpu' ? cpuEngine : wasmEngine;
  return (await engine.start({threads: Number(values.threads)})).device;
}

const device = await start();
const model = models.find(({name}) => name === values.model)!;
const cifar = {classes: 10, inputShape: [3, 32, 32]} as const;
/** MobileNetV2 and ViT-Tiny as they are used on CIFAR-10; the others have their data set's shape by themselves. */
const options: Readonly<Record<string, object>> = {'mobilenet-v2': {stem: 'cifar'}, vit: {patch: 4}};
const chosen = options[values.model];
const graph = chosen === undefined ? model.build(model.defaults, {}) : model.build(cifar, {...chosen});
const task = tasks.find(({name}) => name === (model.task ?? 'classification'))!;
const registry = new Registry([]);
for (const quantizer of [...weightQuantizers, ...activationQuantizers]) registry.add(quantizer);
const batch = Number(values.batch);
const times = await timeSteps({
  graph,
  registry,
  task: await task.load({}, model.defaults),
  kind: values.kind as StepBenchmark['kind'],
  batch,
  weightBits: Number(values['weight-bits']),
  activationBits: Number(values['activation-bits']),
  steps: Number(values.steps) + warmUp,
});
const sorted = times.slice(warmUp).sort((a, b) => a - b);
const median = sorted[Math.floor(sorted.length / 2)]!;
process.stdout.write(
  `${JSON.stringify({
    peer: `${values.engine}: ${device}`,
    stepMs: {min: sorted[0], median},
    imagesPerSecond: {max: (1000 * batch) / sorted[0]!, median: (1000 * batch) / median},
    peakRssMiB: process.resourceUsage().maxRSS / 1024,
  })}\n`,
);
