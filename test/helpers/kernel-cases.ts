/**
 * Every operator that training uses, with its gradients, on any engine beside tfjs' stock cpu backend, the oracle:
 * `node --import tsx test/helpers/kernel-cases.ts ENGINE [PART OF A NAME]` prints the largest difference of each case, relative to the largest value of the
 * oracle's. A process of its own: some engines do not load inside Jest, and read only asynchronously.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

import type {EngineDefinition} from '../../src/plugin-api/registry.ts';
import {engines} from '../../src/plugins/engines/index.ts';
import {normal, uniform} from '../../src/random.ts';
import {addAct} from '../../src/tensor/add-act.ts';
import {batchNormAct} from '../../src/tensor/batch-norm.ts';
import {binRegularizer} from '../../src/tensor/bin-regularizer.ts';
import {softCrossEntropy} from '../../src/tensor/cross-entropy.ts';
import {fakeQuantize} from '../../src/tensor/fake-quantize.ts';
import {gelu} from '../../src/tensor/gelu.ts';
import {registerGradients} from '../../src/tensor/gradients.ts';
import {layerNorm} from '../../src/tensor/layer-norm.ts';
import type {Grid} from '../../src/tensor/kernels.ts';
import {adamUpdate, sgdUpdate} from '../../src/tensor/optimizer-updates.ts';

type Compute = () => tf.Tensor[];

/** Standard normal draws; the same for the same shape and seed. */
function random(shape: readonly number[], seed = 1): tf.Tensor {
  const draw = uniform(seed, 'bench');
  const size = shape.reduce((product, length) => product * length, 1);
  return tf.tensor(
    Float32Array.from({length: size}, () => normal(draw)),
    [...shape],
  );
}
const positive = (shape: readonly number[], seed = 5): tf.Tensor => tf.add(tf.abs(random(shape, seed)), 0.2);

/** f and the gradients of Σ v · f, v random. */
const withGradients =
  (f: (...inputs: tf.Tensor[]) => tf.Tensor, ...inputs: (readonly number[] | (() => tf.Tensor))[]): Compute =>
  () => {
    const x = inputs.map((input, i) => (typeof input === 'function' ? input() : random(input, i + 1)));
    const y = f(...x);
    return [y, ...tf.grads(f)(x, random(y.shape, 99))];
  };

const pads = (top: number, bottom: number, left: number, right: number): tf.backend_util.ExplicitPadding => [
  [0, 0],
  [top, bottom],
  [left, right],
  [0, 0],
];
const conv =
  (stride: number, pad: tf.backend_util.ExplicitPadding) =>
  (x: tf.Tensor, w: tf.Tensor): tf.Tensor =>
    tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, stride, pad);
const depthwise =
  (stride: number, pad: tf.backend_util.ExplicitPadding) =>
  (x: tf.Tensor, w: tf.Tensor): tf.Tensor =>
    tf.depthwiseConv2d(x as tf.Tensor4D, w as tf.Tensor4D, stride, pad);

const grids: Readonly<Record<string, Grid>> = {
  signed: {qmin: -8, qmax: 7, offset: 0},
  unsigned: {qmin: 0, qmax: 15, offset: 0},
  halves: {qmin: -1, qmax: 0, offset: 0.5},
};
const lsq = {input: 'clipped', scale: 'lsq', gradientScale: 0.125} as const;
const pact = {input: 'clipped', scale: 'clip', gradientScale: 1} as const;
const identity = {input: 'identity', scale: 'none', gradientScale: 1} as const;

function quantizerCases(): Record<string, Compute> {
  const cases: Record<string, Compute> = {};
  for (const [name, grid] of Object.entries(grids)) {
    for (const [ruleName, rule] of Object.entries({lsq, pact, identity})) {
      const f = (x: tf.Tensor, s: tf.Tensor): tf.Tensor => fakeQuantize(x, s, grid, rule);
      cases[`fake-quantize ${name} ${ruleName}`] = withGradients(f, [3, 5, 7], () => tf.scalar(0.3));
      cases[`fake-quantize ${name} ${ruleName} per channel`] = withGradients(f, [131, 17], () => positive([17]));
    }
    const regularize = (w: tf.Tensor, s: () => tf.Tensor): Compute =>
      withGradients(
        (x) => binRegularizer(x, s(), grid),
        () => w,
      );
    cases[`bin regularizer ${name}`] = () => regularize(random([3, 3, 5, 7]), () => tf.scalar(0.4))();
    cases[`bin regularizer ${name} per channel`] = () => regularize(random([3, 3, 5, 7]), () => positive([7]))();
  }
  return cases;
}

function normalizationCases(): Record<string, Compute> {
  const ranges = {relu: [0, Infinity], relu6: [0, 6], none: [-Infinity, Infinity]} as const;
  const cases: Record<string, Compute> = {};
  for (const [name, [min, max]] of Object.entries(ranges)) {
    for (const grid of [null, grids['unsigned']!]) {
      const attributes = {epsilon: 1e-5, min, max, grid, rule: pact};
      const f = (x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, s: tf.Tensor): tf.Tensor =>
        batchNormAct(x, gamma, beta, s, attributes).y;
      // A channel that is constant throughout, and a negative gamma.
      const x = (): tf.Tensor => tf.mul(random([3, 5, 5, 6]), tf.tensor1d([1, 2, 0, 0.01, 3, 1]));
      const step = (): tf.Tensor => tf.scalar(0.2);
      cases[`batch-norm ${name}${grid === null ? '' : ' quantized'}`] = withGradients(f, x, [6], [6], step);
      cases[`batch-norm ${name}${grid === null ? '' : ' quantized'} statistics`] = () => {
        const {mean, variance} = batchNormAct(x(), positive([6]), random([6]), step(), attributes);
        return [mean, variance];
      };
    }
    cases[`add ${name}`] = withGradients((a, b) => addAct(a, b, {min, max}), [4, 3, 3, 5], [4, 3, 3, 5]);
  }
  cases['layer norm'] = withGradients((x, gamma, beta) => layerNorm(x, gamma, beta, 1e-5), [7, 19], [19], [19]);
  cases['gelu'] = withGradients((x) => gelu(x, false), [5, 33]);
  cases['gelu by tanh'] = withGradients((x) => gelu(x, true), [5, 33]);
  return cases;
}

function windowCases(): Record<string, Compute> {
  return {
    'conv 3×3 padded': withGradients(conv(1, pads(1, 1, 1, 1)), [2, 9, 8, 5], [3, 3, 5, 7]),
    'conv 3×3 16 channels': withGradients(conv(1, pads(1, 1, 1, 1)), [4, 8, 8, 16], [3, 3, 16, 16]),
    'conv stride 2, uneven padding': withGradients(conv(2, pads(1, 0, 0, 1)), [2, 9, 11, 4], [3, 3, 4, 8]),
    'conv 1×1 stride 2': withGradients(conv(2, pads(0, 0, 0, 0)), [2, 8, 8, 4], [1, 1, 4, 6]),
    'conv 7×7 stem': withGradients(conv(2, pads(3, 3, 3, 3)), [1, 17, 17, 3], [7, 7, 3, 8]),
    'conv 2×3': withGradients(conv(1, pads(0, 1, 1, 1)), [3, 5, 6, 1], [2, 3, 1, 1]),
    'depthwise padded': withGradients(depthwise(1, pads(1, 1, 1, 1)), [2, 8, 9, 6], [3, 3, 6, 1]),
    'depthwise stride 2': withGradients(depthwise(2, pads(1, 1, 1, 1)), [2, 9, 9, 17], [3, 3, 17, 1]),
    'max pooling': withGradients((x) => tf.maxPool(x as tf.Tensor4D, 3, 2, pads(1, 1, 1, 1)), [2, 9, 9, 4]),
    'max pooling 2×2': withGradients((x) => tf.maxPool(x as tf.Tensor4D, 2, 2, pads(0, 0, 0, 0)), [2, 8, 8, 3]),
    'average pooling': withGradients((x) => tf.avgPool(x as tf.Tensor4D, 2, 2, pads(0, 0, 0, 0)), [2, 8, 8, 4]),
    'average pooling padded': withGradients((x) => tf.avgPool(x as tf.Tensor4D, 3, 2, pads(1, 1, 1, 1)), [2, 9, 9, 4]),
    'transposed conv': withGradients(
      (x, w) => tf.conv2dTranspose(x as tf.Tensor4D, w as tf.Tensor4D, [2, 9, 9, 3], 2, pads(1, 1, 1, 1)),
      [2, 5, 5, 4],
      [3, 3, 3, 4],
    ),
  };
}

function plainCases(): Record<string, Compute> {
  const unary = {
    relu: tf.relu,
    relu6: tf.relu6,
    exp: tf.exp,
    tanh: tf.tanh,
    sigmoid: tf.sigmoid,
    erf: tf.erf,
    square: tf.square,
    abs: tf.abs,
    neg: tf.neg,
  };
  const positiveUnary = {log: tf.log, sqrt: tf.sqrt, rsqrt: tf.rsqrt};
  const binary = {add: tf.add, sub: tf.sub, mul: tf.mul, maximum: tf.maximum, minimum: tf.minimum};
  const cases: Record<string, Compute> = {};
  for (const [name, f] of Object.entries(unary)) cases[name] = withGradients((x) => f(x), [5, 13]);
  for (const [name, f] of Object.entries(positiveUnary)) {
    cases[name] = withGradients(
      (x) => f(x),
      () => positive([5, 13]),
    );
  }
  for (const [name, f] of Object.entries(binary)) {
    cases[name] = withGradients((a, b) => f(a, b), [4, 7], [4, 7]);
    cases[`${name} broadcast`] = withGradients((a, b) => f(a, b), [3, 4, 7], [4, 1]);
  }
  cases['div'] = withGradients(
    (a, b) => tf.div(a, b),
    [4, 7],
    () => positive([7]),
  );
  for (const [name, f] of Object.entries({sum: tf.sum, mean: tf.mean, max: tf.max})) {
    cases[name] = withGradients((x) => f(x), [7, 11]);
    cases[`${name} of an axis`] = withGradients((x) => f(x, 1), [3, 7, 11]);
    cases[`${name} of the first axes`] = withGradients((x) => f(x, [0, 1], true), [5, 31, 9]);
  }
  return {
    ...cases,
    round: () => [tf.round(tf.tensor1d([0.5, 1.5, 2.5, -0.5, -1.5, 0.49, 3.2])), tf.sign(random([9]))],
    matMul: withGradients((a, b) => tf.matMul(a, b), [5, 7], [7, 3]),
    'matMul transposed': withGradients((a, b) => tf.matMul(a, b, true, true), [67, 33], [18, 67]),
    'matMul of a batch': withGradients((a, b) => tf.matMul(a, b, false, true), [4, 9, 6], [4, 5, 6]),
    softmax: withGradients((x) => tf.softmax(x), [4, 10]),
    'cross-entropy': withGradients((x) => softCrossEntropy(x, tf.softmax(random([6, 10], 7))), [6, 10]),
    'cross-entropy of classes': withGradients(
      (x) => softCrossEntropy(x, tf.oneHot(tf.tensor1d([1, 2, 3, 0, 5], 'int32'), 10, 1, 0, 'float32')),
      [5, 10],
    ),
    transpose: withGradients((x) => tf.transpose(x, [2, 0, 1]), [3, 4, 5]),
    pad: withGradients((x) => tf.pad(x, [[1, 2], [0, 3]]), [4, 5]), // prettier-ignore
    slice: withGradients((x) => tf.slice(x, [1, 2], [2, 3]), [4, 6]),
    'strided slice': () => [tf.stridedSlice(random([7, 9]), [1, 0], [7, 9], [2, 3])],
    concat: withGradients((a, b) => tf.concat([a, b], 1), [3, 4], [3, 2]),
    'stack, min, reciprocal': () => [
      tf.stack([random([3, 4]), random([3, 4], 2)]),
      tf.min(random([7, 11]), 1),
      tf.reciprocal(positive([9])),
    ],
    gather: withGradients((x) => tf.gather(x, tf.tensor1d([2, 0, 2], 'int32')), [4, 5]),
    tile: withGradients((x) => tf.broadcastTo(x, [3, 4, 5]), [4, 1]),
    where: withGradients((a, b) => tf.where(tf.greater(random([4, 5], 8), 0), a, b), [4, 5], [4, 5]),
    comparisons: () => {
      const [a, b] = [tf.round(random([50])), tf.round(random([50], 2))];
      const found = [tf.greater, tf.greaterEqual, tf.less, tf.lessEqual, tf.equal].map((f) => f(a, b));
      return [...found, tf.logicalAnd(found[1]!, found[3]!)].map((t) => tf.cast(t, 'float32'));
    },
    argMax: () => [tf.cast(tf.argMax(random([6, 11]), 1), 'float32')],
    segments: () => [tf.unsortedSegmentSum(random([6]), tf.tensor1d([0, 2, 2, 1, 0, 2], 'int32'), 4)],
    clip: withGradients((x) => tf.clipByValue(x, -0.5, 1.25), [5, 9]),
    pow: withGradients(
      (x) => tf.pow(x, 3),
      () => positive([5, 9]),
    ),
    addN: () => [tf.addN([random([4, 5]), random([4, 5], 2), random([4, 5], 3)])],
  };
}

function updateCases(): Record<string, Compute> {
  const cases: Record<string, Compute> = {};
  for (const shape of [[], [7], [3, 3, 16, 17]]) {
    const [param, grad, m] = [() => random(shape), () => random(shape, 2), () => random(shape, 3)];
    for (const nesterov of [false, true]) {
      cases[`sgd [${shape.join(', ')}]${nesterov ? ' nesterov' : ''}`] = () =>
        sgdUpdate(param(), grad(), m(), {learningRate: 0.1, momentum: 0.9, nesterov, weightDecay: 1e-3});
    }
    for (const decoupled of [false, true]) {
      const rates = {learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01};
      cases[`adam [${shape.join(', ')}]${decoupled ? ' decoupled' : ''}`] = () =>
        adamUpdate(param(), grad(), m(), positive(shape), {...rates, decoupled, step: 3});
    }
  }
  return cases;
}

/** The error's message where a case does not run. */
export type Differences = Readonly<Record<string, Difference | string>>;

interface Difference {
  /** Largest difference of any output, relative to the largest magnitude of that output on the oracle. */
  readonly relative: number;
  /** Elements that were compared. */
  readonly elements: number;
}

async function valuesOn(backend: string, compute: Compute): Promise<Float32Array[]> {
  await tf.setBackend(backend);
  const out = tf.tidy(compute);
  try {
    return await Promise.all(out.map((tensor) => tensor.data<'float32'>()));
  } finally {
    tf.dispose(out);
  }
}

async function compare(backend: string, compute: Compute): Promise<Difference> {
  const [expected, actual] = [await valuesOn('cpu', compute), await valuesOn(backend, compute)];
  let relative = expected.length === actual.length ? 0 : Infinity;
  let elements = 0;
  for (const [i, values] of expected.entries()) {
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
    if (values.length !== actual[i]?.length) relative = Infinity;
    for (const [k, value] of values.entries()) {
      const difference = Math.abs(value - (actual[i]?.[k] ?? NaN)) / largest;
      relative = Number.isNaN(difference) ? Infinity : Math.max(relative, difference);
    }
    elements += values.length;
  }
  return {relative, elements};
}

const name = process.argv[2] ?? 'wasm';
const engine: EngineDefinition | undefined = engines.find((definition) => definition.name === name);
if (engine === undefined) throw new Error(`No engine ${name}.`);
tf.enableProdMode();
registerGradients();
const started = await engine.start({threads: 2});
const backend = tf.getBackend();
const all = {...quantizerCases(), ...normalizationCases(), ...windowCases(), ...plainCases(), ...updateCases()};
const differences: Record<string, Difference | string> = {};
for (const [title, compute] of Object.entries(all)) {
  if (process.argv[3] !== undefined && !title.includes(process.argv[3])) continue;
  differences[title] = await compare(backend, compute).catch((error: unknown) => (error as Error).message);
}
await started.dispose();
process.stdout.write(`\n${JSON.stringify(differences)}\n`);
