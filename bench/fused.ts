/**
 * Speed of the fused and element-wise kernels of the wasm engine at the shapes of ResNet20, next to a copy of memory.
 *
 *   node --import tsx bench/fused.ts [--threads 2] [--batch 128] [--seconds 0.5]
 *
 * GB/s counts every tensor a kernel must read or write, once for each pass it makes; the fastest of many calls is shown.
 */
import {parseArgs} from 'node:util';

import * as tf from '@tensorflow/tfjs-core';

import {wasmEngine} from '../src/plugins/engines/wasm/index.ts';
import {normal, uniform} from '../src/random.ts';

const {values} = parseArgs({
  options: {
    threads: {type: 'string', default: '2'},
    batch: {type: 'string', default: '128'},
    seconds: {type: 'string', default: '0.5'},
  },
});
const batch = Number(values.batch);

tf.enableProdMode();
const engine = await wasmEngine.start({threads: Number(values.threads)});

function fastestMs(run: () => unknown): number {
  let best = Infinity;
  const end = performance.now() + 1000 * Number(values.seconds);
  do {
    const start = performance.now();
    tf.tidy(() => void run());
    best = Math.min(best, performance.now() - start);
  } while (performance.now() < end);
  return best;
}

const draw = uniform(0, 'bench');
const random = (shape: number[]): tf.Tensor =>
  tf.tensor(
    Float32Array.from({length: tf.util.sizeFromShape(shape)}, () => normal(draw)),
    shape,
  );
const run = (kernel: string, inputs: Record<string, tf.Tensor>, attributes: object = {}): void =>
  void tf.engine().runKernel(kernel, inputs, attributes as tf.NamedAttrMap);

const grid = {qmin: 0, qmax: 15, offset: 0};
const rule = {input: 'clipped', scale: 'clip', gradientScale: 1};
const range = {min: 0, max: Infinity};
const norm = {...range, epsilon: 1e-5, grid, rule};

for (const [size, channels] of [
  [32, 16],
  [16, 32],
  [8, 64],
] as const) {
  const shape = [batch, size, size, channels];
  const [x, dy] = [random(shape), random(shape)];
  const [gamma, beta, mean, variance] = [
    tf.ones([channels]),
    tf.zeros([channels]),
    tf.zeros([channels]),
    tf.ones([channels]),
  ];
  const scale = tf.scalar(0.25);
  const tensorBytes = 4 * x.size;
  const source = x.dataSync<'float32'>();
  const target = new Float32Array(source.length);
  // Name, tensors moved, the call.
  const kernels: readonly (readonly [string, number, () => unknown])[] = [
    ['memory copy, 1 thread', 2, () => target.set(source)],
    ['MaxPool 1×1, stride 2', 0.5, () => tf.maxPool(x as tf.Tensor4D, 1, 2, 'valid')],
    ['Add', 3, () => tf.add(x, dy)],
    ['Relu', 2, () => tf.relu(x)],
    ['Sum to channels', 1, () => tf.sum(x, [0, 1, 2])],
    ['Mean over the image', 1, () => tf.mean(x, [1, 2])],
    ['SdqFakeQuantize', 2, () => run('SdqFakeQuantize', {x, scale}, grid)],
    ['SdqFakeQuantizeGrad', 3, () => run('SdqFakeQuantizeGrad', {x, scale, dy}, {grid, rule})],
    ['SdqBatchNormAct', 3, () => run('SdqBatchNormAct', {x, gamma, beta, scale}, norm)],
    ['SdqBatchNormActGrad', 5, () => run('SdqBatchNormActGrad', {x, gamma, beta, mean, variance, scale, dy}, norm)],
    ['SdqAddAct', 3, () => run('SdqAddAct', {a: x, b: dy}, range)],
    ['SdqClipGrad', 3, () => run('SdqClipGrad', {y: x, dy}, range)],
    ['MaxPool 2×2', 1.25, () => tf.maxPool(x as tf.Tensor4D, 2, 2, 'valid')],
  ];
  process.stdout.write(`[${shape.join(', ')}], ${(tensorBytes / 2 ** 20).toFixed(1)} MiB\n`);
  for (const [name, tensors, call] of kernels) {
    const ms = fastestMs(call);
    const rate = (tensors * tensorBytes) / ms / 1e6;
    process.stdout.write(`${name.padEnd(22)}${ms.toFixed(3).padStart(9)} ms${rate.toFixed(1).padStart(8)} GB/s\n`);
  }
}

const parameters = [1, 2, 3, 4].map(() => random([270_000]));
const [param, grad, m, v] = parameters as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
const sgd = {learningRate: 0.1, momentum: 0.9, nesterov: true, weightDecay: 1e-4};
const adam = {learningRate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, decoupled: false, step: 1};
const updates: readonly (readonly [string, () => unknown])[] = [
  ['SdqSgdUpdate', () => run('SdqSgdUpdate', {param, grad, velocity: m}, sgd)],
  ['SdqAdamUpdate', () => run('SdqAdamUpdate', {param, grad, m, v}, adam)],
  [
    'SdqBinRegularizer',
    () => run('SdqBinRegularizer', {w: param, scale: tf.scalar(0.2)}, {qmin: -8, qmax: 7, offset: 0}),
  ],
  ['Tanh', () => tf.tanh(param)],
];
process.stdout.write('270 000 weights\n');
for (const [name, call] of updates)
  process.stdout.write(`${name.padEnd(22)}${fastestMs(call).toFixed(3).padStart(9)} ms\n`);
await engine.dispose();
