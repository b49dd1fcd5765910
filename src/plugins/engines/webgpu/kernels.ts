/** Fused operators (`src/tensor/kernels.ts`) and the filter gradient of convolutions in WGSL. Every sum has a fixed order. */
import * as tf from '@tensorflow/tfjs-core';

import {
  tieShift,
  type ActivationRange,
  type AdamAttributes,
  type BatchNormActAttributes,
  type FusedKernel,
  type GradientRule,
  type Grid,
  type SgdAttributes,
} from '../../../tensor/kernels.ts';
import {item} from '../../../lookup.ts';
import {registerFilterGradient} from './filter-gradient.ts';
import type {Backend} from './gpu.ts';
import {addParts, backendName, float, int, partialSums, runProgram, sizeOf} from './program.ts';

type Inputs = Readonly<Record<string, tf.TensorInfo>>;
type Infos = tf.TensorInfo | tf.TensorInfo[];
type Run<Attributes> = (backend: Backend, inputs: Inputs, attributes: Attributes) => Infos;

const named = (inputs: Inputs, ...names: readonly string[]): Record<string, tf.TensorInfo> =>
  Object.fromEntries(names.map((name) => [name, input(inputs, name)]));

function input(inputs: Inputs, name: string): tf.TensorInfo {
  const tensor = inputs[name];
  if (tensor === undefined) throw new Error(`no input ${name}`);
  return tensor;
}

const lastAxis = ({shape}: tf.TensorInfo): number => shape.at(-1) ?? 1;

// ------------------------------------------------------------------------------------------------------- quantizers

const gridValues = ({qmin, qmax, offset}: Grid): Record<string, ReturnType<typeof float>> => ({
  qmin: float(qmin),
  qmax: float(qmax),
  offset: float(offset),
  shift: float(offset * tieShift),
});

/** WGSL of the grid of `Grid`. */
const grid = `
      fn level(x : f32, s : f32) -> f32 {
        let q = clamp(round(x / s - uniforms.offset + uniforms.shift), uniforms.qmin, uniforms.qmax);
        return s * (q + uniforms.offset);
      }`;

/** WGSL of `GradientRule`: the derivative of the level by the step, and whether the gradient of the input passes. */
const gridGradient = ({input: passes, scale}: GradientRule): string => `
      fn step_gradient(x : f32, s : f32) -> f32 {
        let z = x / s - uniforms.offset;
        if (z > uniforms.qmax) { return ${scale === 'none' ? '0.0' : 'uniforms.qmax + uniforms.offset'}; }
        if (z < uniforms.qmin) { return ${scale === 'none' ? '0.0' : 'uniforms.qmin + uniforms.offset'}; }
        return ${scale === 'lsq' ? 'round(z + uniforms.shift) - z' : '0.0'};
      }
      fn passes(x : f32, s : f32) -> bool {
        let z = x / s - uniforms.offset;
        return ${passes === 'identity' ? 'true' : 'z >= uniforms.qmin && z <= uniforms.qmax'};
      }`;

const perChannel = (scale: tf.TensorInfo): boolean => sizeOf(scale) > 1;
const stepAt = (scale: tf.TensorInfo, index: string): string =>
  perChannel(scale) ? `scale[${index} % uniforms.channels]` : 'scale[0]';

const fakeQuantize: Run<Grid> = (backend, inputs, attributes) => {
  const [x, scale] = [input(inputs, 'x'), input(inputs, 'scale')];
  return runProgram(backend, {
    key: `fake-quantize ${perChannel(scale)}`,
    inputs: {x, scale},
    shape: x.shape,
    values: {...gridValues(attributes), channels: int(lastAxis(x))},
    declarations: grid,
    body: `if (index < size) { result[index] = level(x[index], ${stepAt(scale, 'index')}); }`,
  });
};

const fakeQuantizeGrad: Run<{readonly grid: Grid; readonly rule: GradientRule}> = (backend, inputs, attributes) => {
  const {rule} = attributes;
  const tensors = named(inputs, 'x', 'scale', 'dy');
  const [x, scale] = [input(inputs, 'x'), input(inputs, 'scale')];
  const [channels, values] = [lastAxis(x), gridValues(attributes.grid)];
  const key = `${perChannel(scale)} ${rule.input} ${rule.scale}`;
  const dx = runProgram(backend, {
    key: `fake-quantize gradient ${key}`,
    inputs: tensors,
    shape: x.shape,
    values: {...values, channels: int(channels)},
    declarations: gridGradient(rule),
    body: `
        if (index >= size) { return; }
        result[index] = select(0.0, dy[index], passes(x[index], ${stepAt(scale, 'index')}));`,
  });
  if (rule.scale === 'none') return [dx, zeros(backend, scale.shape)];
  const partial = partialSums(backend, {
    key: `step gradient ${key}`,
    inputs: tensors,
    values,
    declarations: gridGradient(rule),
    rows: channels === 0 ? 0 : sizeOf(x) / channels,
    channels,
    before: '',
    sums: [`dy[i] * step_gradient(x[i], ${perChannel(scale) ? 'scale[c]' : 'scale[0]'})`],
  });
  const dscale = addParts(backend, partial, 0, {whole: !perChannel(scale), factor: rule.gradientScale});
  backend.disposeData(partial.dataId);
  return [dx, {...dscale, shape: scale.shape}];
};

function zeros(backend: Backend, shape: number[]): tf.TensorInfo {
  return runProgram(backend, {key: 'zeros', inputs: {}, shape, body: 'if (index < size) { result[index] = 0.0; }'});
}

// ------------------------------------------------------------------------------------------- batch-norm, activations

const rangeValues = ({min, max}: ActivationRange): Record<string, ReturnType<typeof float>> => ({
  low: float(min),
  high: float(max),
});

const addAct: Run<ActivationRange> = (backend, inputs, range) => {
  const a = input(inputs, 'a');
  return runProgram(backend, {
    key: 'add and clip',
    inputs: named(inputs, 'a', 'b'),
    shape: a.shape,
    values: rangeValues(range),
    body: 'if (index < size) { result[index] = clamp(a[index] + b[index], uniforms.low, uniforms.high); }',
  });
};

const clipGrad: Run<ActivationRange> = (backend, inputs, range) => {
  const y = input(inputs, 'y');
  return runProgram(backend, {
    key: 'clip gradient',
    inputs: named(inputs, 'y', 'dy'),
    shape: y.shape,
    values: rangeValues(range),
    body: `
        if (index >= size) { return; }
        let v = y[index];
        result[index] = select(0.0, dy[index], v > uniforms.low && v < uniforms.high);`,
  });
};

const batchNormAct: Run<BatchNormActAttributes> = (backend, inputs, attributes) => {
  const [x, scale] = [input(inputs, 'x'), input(inputs, 'scale')];
  const channels = lastAxis(x);
  const rows = sizeOf(x) / channels;
  const average = (summand: string, key: string, more: Inputs): tf.TensorInfo => {
    const partial = partialSums(backend, {key, inputs: {x, ...more}, rows, channels, before: '', sums: [summand]});
    const mean = addParts(backend, partial, 0, {factor: 1 / rows});
    backend.disposeData(partial.dataId);
    return mean;
  };
  const mean = average('x[i]', 'mean', {});
  const variance = average('(x[i] - mean[c]) * (x[i] - mean[c])', 'variance', {mean});
  const quantizes = attributes.grid !== null;
  const y = runProgram(backend, {
    key: `batch-norm ${quantizes}`,
    inputs: {...named(inputs, 'x', 'gamma', 'beta'), mean, variance, ...(quantizes ? {scale} : {})},
    shape: x.shape,
    values: {
      ...gridValues(attributes.grid ?? {qmin: 0, qmax: 0, offset: 0}),
      ...rangeValues(attributes),
      epsilon: float(attributes.epsilon),
      channels: int(channels),
    },
    declarations: grid,
    body: `
        if (index >= size) { return; }
        let c = index % uniforms.channels;
        let z = (x[index] - mean[c]) * (gamma[c] * inverseSqrt(variance[c] + uniforms.epsilon)) + beta[c];
        let a = clamp(z, uniforms.low, uniforms.high);
        result[index] = ${quantizes ? 'level(a, scale[0])' : 'a'};`,
  });
  return [y, mean, variance];
};

const batchNormActGrad: Run<BatchNormActAttributes> = (backend, inputs, attributes) => {
  const {rule} = attributes;
  const [x, scale] = [input(inputs, 'x'), input(inputs, 'scale')];
  const channels = lastAxis(x);
  const rows = sizeOf(x) / channels;
  const quantizes = attributes.grid !== null;
  const learnsStep = quantizes && rule.scale !== 'none';
  const tensors = named(inputs, 'x', 'gamma', 'beta', 'mean', 'variance', 'dy', ...(quantizes ? ['scale'] : []));
  const values = {
    ...gridValues(attributes.grid ?? {qmin: 0, qmax: 0, offset: 0}),
    ...rangeValues(attributes),
    epsilon: float(attributes.epsilon),
  };
  /** Of element i of channel c: its normalized value, and the gradient before the batch-norm. */
  const before = `
          let inverse = inverseSqrt(variance[c] + uniforms.epsilon);
          let normal = (x[i] - mean[c]) * inverse;
          let z = normal * gamma[c] + beta[c];
          let a = clamp(z, uniforms.low, uniforms.high);
          let open = z > uniforms.low && z < uniforms.high${quantizes ? ' && passes(a, scale[0])' : ''};
          let dz = select(0.0, dy[i], open);`;
  const key = `${quantizes} ${rule.input} ${rule.scale}`;
  const partial = partialSums(backend, {
    key: `batch-norm sums ${key}`,
    inputs: tensors,
    values,
    declarations: gridGradient(rule),
    rows,
    channels,
    before,
    sums: ['dz', 'dz * normal', ...(learnsStep ? ['dy[i] * step_gradient(a, scale[0])'] : [])],
  });
  const [dbeta, dgamma] = [addParts(backend, partial, 0), addParts(backend, partial, 1)];
  const dscale = learnsStep
    ? {...addParts(backend, partial, 2, {whole: true, factor: rule.gradientScale}), shape: scale.shape}
    : zeros(backend, scale.shape);
  backend.disposeData(partial.dataId);
  const dx = runProgram(backend, {
    key: `batch-norm gradient ${key}`,
    inputs: {...tensors, dbeta, dgamma},
    shape: x.shape,
    values: {...values, channels: int(channels), rows: float(rows)},
    declarations: gridGradient(rule),
    body: `
        if (index >= size) { return; }
        let i = index;
        let c = index % uniforms.channels;
        ${before}
        result[index] = (dz - (dbeta[c] + normal * dgamma[c]) / uniforms.rows) * (gamma[c] * inverse);`,
  });
  return [dx, dgamma, dbeta, dscale];
};

// ----------------------------------------------------------------------------------------------------------- updates

const sgdUpdate: Run<SgdAttributes> = (backend, inputs, {learningRate, momentum, nesterov, weightDecay}) => {
  const param = input(inputs, 'param');
  const values = {momentum: float(momentum), decay: float(weightDecay), rate: float(learningRate)};
  const tensors = named(inputs, 'param', 'grad', 'velocity');
  const gradient = 'let g = grad[index] + param[index] * uniforms.decay;';
  const next = runProgram(backend, {
    key: 'sgd velocity',
    inputs: tensors,
    shape: param.shape,
    values,
    body: `if (index < size) { ${gradient} result[index] = velocity[index] * uniforms.momentum + g; }`,
  });
  const moved = runProgram(backend, {
    key: `sgd ${nesterov}`,
    inputs: {...named(inputs, 'param', 'grad'), next},
    shape: param.shape,
    values,
    body: `
        if (index >= size) { return; }
        ${gradient}
        result[index] = param[index] - uniforms.rate * ${nesterov ? '(g + next[index] * uniforms.momentum)' : 'next[index]'};`,
  });
  return [moved, next];
};

const adamUpdate: Run<AdamAttributes> = (backend, inputs, attributes) => {
  const {learningRate, beta1, beta2, epsilon, weightDecay, decoupled, step} = attributes;
  const param = input(inputs, 'param');
  const coupled = {decay: float(decoupled ? 0 : weightDecay)};
  const moment = (name: 'm' | 'v', beta: number): tf.TensorInfo =>
    runProgram(backend, {
      key: `adam ${name}`,
      inputs: {...named(inputs, 'param', 'grad'), moment: input(inputs, name)},
      shape: param.shape,
      values: {...coupled, beta: float(beta), rest: float(1 - beta)},
      body: `
        if (index >= size) { return; }
        let g = grad[index] + param[index] * uniforms.decay;
        result[index] = moment[index] * uniforms.beta + ${name === 'm' ? 'g' : 'g * g'} * uniforms.rest;`,
    });
  const [m, v] = [moment('m', beta1), moment('v', beta2)];
  const moved = runProgram(backend, {
    key: 'adam',
    inputs: {...named(inputs, 'param'), m, v},
    shape: param.shape,
    values: {
      kept: float(decoupled ? 1 - learningRate * weightDecay : 1),
      rate: float(learningRate),
      epsilon: float(epsilon),
      first: float(1 - beta1 ** step),
      second: float(1 - beta2 ** step),
    },
    body: `
        if (index >= size) { return; }
        let direction = (m[index] / uniforms.first) / (sqrt(v[index] / uniforms.second) + uniforms.epsilon);
        result[index] = param[index] * uniforms.kept - direction * uniforms.rate;`,
  });
  return [moved, m, v];
};

// --------------------------------------------------------------------------------------------------- bin regularizer

/** Of weight e: its bin, its distance to the bin's level in steps, and its weight in sums over bins. */
const binOf = (scale: tf.TensorInfo): string => `
          let s = ${stepAt(scale, 'e')};
          let q = clamp(round(w[e] / s - uniforms.offset + uniforms.shift), uniforms.qmin, uniforms.qmax);
          let b = i32(q - uniforms.qmin);
          let d = w[e] / s - (q + uniforms.offset);
          let weight = s * s;`;

/** WGSL: n_b / n / (n_b − 1) of a bin with at least two weights, else 0; and the mean distance in it. */
const binStatistics = `
      fn share_of(count : f32) -> f32 {
        return select(0.0, count / uniforms.weights / max(count - 1.0, 1.0), count >= 2.0);
      }
      fn mean_of(sum : f32, total : f32) -> f32 { return sum / select(1.0, total, total > 0.0); }`;

/** `composedBinRegularizer` with a thread for every bin and part of the weights, so that sums have a fixed order. */
const binRegularizer: Run<Grid> = (backend, inputs, attributes) => {
  const tensors = named(inputs, 'w', 'scale');
  const [w, scale] = [input(inputs, 'w'), input(inputs, 'scale')];
  const bins = attributes.qmax - attributes.qmin + 1;
  const steps = perChannel(scale) ? {stepChannels: int(lastAxis(w))} : {};
  const values = {...gridValues(attributes), ...steps, weights: float(sizeOf(w))};
  const bin = binOf(scale).replace('uniforms.channels', 'uniforms.stepChannels');
  const sumsByBin = (key: string, more: Inputs, before: string, sums: readonly string[]): tf.TensorInfo[] => {
    const partial = partialSums(backend, {
      key: `${key} ${perChannel(scale)}`,
      inputs: {...tensors, ...more},
      values,
      declarations: binStatistics,
      rows: sizeOf(w),
      channels: bins,
      before: `let e = row; ${bin} ${before}`,
      sums: sums.map((summand) => `select(0.0, ${summand}, b == c)`),
    });
    const added = sums.map((_, n) => addParts(backend, partial, n));
    backend.disposeData(partial.dataId);
    return added;
  };
  const sums = sumsByBin('bin sums', {}, '', ['1.0', 'weight', 'weight * d', 'weight * d * d']);
  const [count, squares] = [item(sums, 0), item(sums, 3)];
  const means = {total: item(sums, 1), distance: item(sums, 2)};
  const deviation = 'let deviation = d - mean_of(distance[c], total[c]);';
  const variances = sumsByBin('bin variances', means, deviation, ['weight * deviation * deviation']);
  const loss = runProgram(backend, {
    key: 'bin loss',
    inputs: {count, squares, variance: item(variances, 0)},
    shape: [],
    values: {bins: int(bins), weights: float(sizeOf(w))},
    declarations: binStatistics,
    body: `
        if (index >= size) { return; }
        var sum = 0.0;
        for (var b = 0; b < uniforms.bins; b = b + 1) {
          sum = sum + squares[b] / uniforms.weights + share_of(count[b]) * variance[b];
        }
        result[index] = sum;`,
  });
  const dw = runProgram(backend, {
    key: `bin gradient ${perChannel(scale)}`,
    inputs: {...tensors, ...means, count},
    shape: w.shape,
    values,
    declarations: binStatistics,
    body: `
        if (index >= size) { return; }
        let e = index; ${bin}
        let pull = (d - mean_of(distance[b], total[b])) * share_of(count[b]);
        result[index] = 2.0 * (pull + d / uniforms.weights) * s;`,
  });
  for (const {dataId} of [...sums, ...variances]) backend.disposeData(dataId);
  return [loss, dw];
};

// ------------------------------------------------------------------------------------------------------ cross-entropy

const softmaxCrossEntropy: Run<object> = (backend, inputs) => {
  const logits = input(inputs, 'logits');
  const [rows = 0, classes = 1] = logits.shape;
  const tensors = named(inputs, 'logits', 'targets');
  const values = {rows: int(rows), classes: int(classes)};
  // [loss and log Σ exp, row, 1]
  const ofRows = runProgram(backend, {
    key: 'cross-entropy of rows',
    inputs: tensors,
    shape: [2, rows, 1],
    groups: Math.ceil(rows / 64),
    values,
    body: `
        if (index >= uniforms.rows) { return; }
        let first = index * uniforms.classes;
        var largest = logits[first];
        for (var c = 1; c < uniforms.classes; c = c + 1) { largest = max(largest, logits[first + c]); }
        var sum = 0.0;
        for (var c = 0; c < uniforms.classes; c = c + 1) { sum = sum + exp(logits[first + c] - largest); }
        let normalizer = log(sum);
        var loss = 0.0;
        for (var c = 0; c < uniforms.classes; c = c + 1) {
          loss = loss + targets[first + c] * (normalizer - (logits[first + c] - largest));
        }
        result[index] = loss;
        result[uniforms.rows + index] = normalizer + largest;`,
  });
  const loss = addParts(backend, ofRows, 0, {whole: true, factor: 1 / rows});
  const dlogits = runProgram(backend, {
    key: 'cross-entropy gradient',
    inputs: {...tensors, ofRows},
    shape: logits.shape,
    values: {...values, count: float(rows)},
    body: `
        if (index >= size) { return; }
        let normalizer = ofRows[uniforms.rows + index / uniforms.classes];
        result[index] = (exp(logits[index] - normalizer) - targets[index]) / uniforms.count;`,
  });
  backend.disposeData(ofRows.dataId);
  return [loss, dlogits];
};

const fused: Partial<Record<FusedKernel, Run<never>>> = {
  SdqFakeQuantize: fakeQuantize,
  SdqFakeQuantizeGrad: fakeQuantizeGrad,
  SdqAddAct: addAct,
  SdqClipGrad: clipGrad,
  SdqBatchNormAct: batchNormAct,
  SdqBatchNormActGrad: batchNormActGrad,
  SdqSgdUpdate: sgdUpdate,
  SdqAdamUpdate: adamUpdate,
  SdqBinRegularizer: binRegularizer,
  SdqSoftmaxCrossEntropy: softmaxCrossEntropy,
};

/** Registers them; a second call changes nothing. */
export function registerKernels(): void {
  registerFilterGradient();
  registerCast();
  for (const [kernelName, run] of Object.entries(fused)) {
    if ((tf.getKernel(kernelName, backendName) as tf.KernelConfig | undefined) !== undefined) continue;
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({attrs, backend, inputs}) =>
        run(backend as unknown as Backend, inputs as Inputs, attrs as unknown as never),
    });
  }
}

/**
 * The backend's own cast to float32 leaves the buffer as it was, of whole numbers: some of its kernels, the sum over an axis for one, then
 * have code that does not compile.
 */
function registerCast(): void {
  const stock = tf.getKernel(tf.Cast, backendName);
  if (stock.kernelFunc.name === 'convertingCast') return;
  tf.unregisterKernel(tf.Cast, backendName);
  tf.registerKernel({
    ...stock,
    kernelFunc: function convertingCast(call) {
      const backend = call.backend as unknown as Backend;
      const {x} = call.inputs as {x: tf.TensorInfo};
      const converts = call.attrs?.['dtype'] === 'float32' && (x.dtype === 'int32' || x.dtype === 'bool');
      if (!converts || sizeOf(x) === 0) return stock.kernelFunc(call);
      const body = 'if (index < size) { result[index] = f32(x[index]); }';
      return runProgram(backend, {key: 'to float', inputs: {x}, shape: x.shape, body});
    },
  });
}
