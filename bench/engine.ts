/**
 * One contender of step.ts: times steps on one engine and prints a JSON object.
 *
 *   node --import tsx bench/engine.ts --engine wasm|cpu|tfjs-wasm [--threads 2]
 *     [--model resnet20|resnet18|mobilenet-v2|vit|yolov4-tiny|network.onnx] [--batch 128] [--kind train|search|evaluate] [--weight-bits 4] [--activation-bits 4] [--steps 14]
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
    profile: {type: 'boolean', default: false},
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

/** Milliseconds of each call of a kernel by its operator and shapes, while a profile is wanted. */
const calls = new Map<string, number[]>();

/** Times every kernel of the wasm engine. What runs within another kernel counts there too. */
function profileKernels(): void {
  const shapes = (tensors: object): string =>
    Object.values(tensors as Record<string, tf.TensorInfo | undefined>)
      .filter((tensor) => tensor !== undefined)
      .map(({shape}) => shape.join('×'))
      .join(' ');
  for (const kernel of tf.getKernelsForBackend('sdq-wasm')) {
    tf.unregisterKernel(kernel.kernelName, 'sdq-wasm');
    tf.registerKernel({
      ...kernel,
      kernelFunc: (call) => {
        const before = performance.now();
        const result = kernel.kernelFunc(call);
        const filterShape = (call.attrs as {filterShape?: number[]} | undefined)?.filterShape;
        const key = `${kernel.kernelName} ${shapes(call.inputs)} ${filterShape?.join('×') ?? ''}`;
        const times = calls.get(key);
        const time = performance.now() - before;
        if (times === undefined) calls.set(key, [time]);
        else times.push(time);
        return result;
      },
    });
  }
}

/** Kernels by the time of a step: milliseconds, calls a step, operator and shapes. Times are the steps' median, the step's a sum. */
function printProfile(steps: number): void {
  const operators = new Map<string, number>();
  const rows = [...calls].map(([name, times]) => {
    const perStep = Math.round(times.length / steps);
    const sorted = times.toSorted((a, b) => a - b);
    const ms = perStep * sorted[Math.floor(sorted.length / 4)]!;
    const operator = name.split(' ')[0]!;
    operators.set(operator, (operators.get(operator) ?? 0) + ms);
    return {ms, text: `${ms.toFixed(1).padStart(9)} ms ${String(perStep).padStart(4)} × ${name}`};
  });
  for (const {text} of rows.toSorted((a, b) => b.ms - a.ms).slice(0, 60)) console.error(text);
  for (const [operator, ms] of [...operators].sort((a, b) => b[1] - a[1]).slice(0, 25)) {
    console.error(`${ms.toFixed(1).padStart(9)} ms ${operator}`);
  }
  console.error(`${[...operators.values()].reduce((a, b) => a + b, 0).toFixed(1)} ms in kernels`);
}

const device = await start();
if (values.profile) profileKernels();
const isFile = values.model.endsWith('.onnx');
const model = models.find(({name}) => name === (isFile ? 'onnx' : values.model))!;
const cifar = {classes: 10, inputShape: [3, 32, 32]} as const;
/** MobileNetV2 and ViT-Tiny as they are used on CIFAR-10; the others have their data set's shape by themselves. */
const options: Readonly<Record<string, object>> = {'mobilenet-v2': {stem: 'cifar'}, vit: {patch: 4}};
const chosen = isFile ? {file: values.model} : options[values.model];
const graph = model.build(chosen === undefined || isFile ? model.defaults : cifar, {...chosen});
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
if (values.profile) printProfile(times.length);
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
