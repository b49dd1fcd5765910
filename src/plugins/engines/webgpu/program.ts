/** Writes kernels in WGSL in the form that tfjs' WebGPU backend runs: one program, one output. */
import * as tf from '@tensorflow/tfjs-core';

import type {Backend, Program, Uniform} from './gpu.ts';

export const backendName = 'webgpu';

/** A number of a program that may change from call to call. */
type Value = {readonly float: number} | {readonly int: number};

interface Call {
  /** Names the program among all: one name, one code. */
  readonly key: string;
  /** Each must be read by the code: the layout has no others. */
  readonly inputs: Readonly<Record<string, tf.TensorInfo>>;
  readonly shape: readonly number[];
  readonly values?: Readonly<Record<string, Value>>;
  /** Threads in a group; the body is `fn main(index : i32)`. */
  readonly threads?: number;
  /** Groups to start. Default: a thread for each element of the output. */
  readonly groups?: number;
  /** WGSL before `main`. */
  readonly declarations?: string;
  /** WGSL of `main`; `index` is the thread's number, `size` the number of elements of the output. */
  readonly body: string;
}

export const sizeOf = ({shape}: {readonly shape: readonly number[]}): number => tf.util.sizeFromShape([...shape]);

/** The largest finite number stands for infinity, which WGSL has no literal of. */
export const float = (value: number): Value => ({
  float: Number.isFinite(value) ? value : Math.sign(value) * 3.4028234e38,
});
export const int = (value: number): Value => ({int: value});

/** @returns a tensor of float32 [shape] */
export function runProgram(backend: Backend, call: Call): tf.TensorInfo {
  const {key, inputs, shape, values = {}, threads = 64, declarations = '', body} = call;
  const groups = call.groups ?? Math.ceil(sizeOf(call) / threads);
  const program: Program = {
    variableNames: Object.keys(inputs),
    // Flat, whatever its shape: the backend then has one code for all ranks.
    outputShape: [sizeOf(call)],
    workgroupSize: [threads, 1, 1],
    dispatch: [groups, 1, 1],
    dispatchLayout: {x: [0]},
    shaderKey: `sdq ${key}`,
    uniforms: Object.entries(values)
      .map(([name, value]) => `${name} : ${'float' in value ? 'f32' : 'i32'}, `)
      .join(''),
    size: true,
    getUserCode: () => `${declarations}
      fn main(index : i32) {
        let size = uniforms.size;
        ${body}
      }`,
  };
  const uniforms = Object.values(values).map((value): Uniform =>
    'float' in value ? {type: 'float32', data: [value.float]} : {type: 'int32', data: [value.int]},
  );
  const flat = Object.values(inputs).map((input) => ({...input, shape: [sizeOf(input)]}));
  const output = backend.runWebGPUProgram(program, flat, 'float32', uniforms);
  return {...output, shape: [...shape]};
}

/** Sums of a group's threads, in a fixed order; `total` is defined afterwards for all. */
const groupSum = (threads: number): {readonly declarations: string; readonly sum: (value: string) => string} => ({
  declarations: `var<workgroup> shared_values : array<f32, ${threads}>;`,
  sum: (value) => `
        let lane = i32(localIndex);
        shared_values[lane] = ${value};
        workgroupBarrier();
        for (var half = ${threads / 2}; half > 0; half = half / 2) {
          if (lane < half) { shared_values[lane] = shared_values[lane] + shared_values[lane + half]; }
          workgroupBarrier();
        }
        let total = shared_values[0];`,
});

/** Which group a thread belongs to, also where so many groups are started that they have several dimensions. */
export const groupIndex =
  'i32(workgroupId.z * numWorkgroups.x * numWorkgroups.y + workgroupId.y * numWorkgroups.x + workgroupId.x)';

/** Threads that add up one channel each before the sums of a channel's threads are added: enough for a large GPU. */
const adders = 32_768;

/** How many threads share the rows of one channel. */
const partsOf = (rows: number, channels: number): number =>
  Math.max(1, Math.min(rows, Math.ceil(adders / Math.max(1, channels))));

/**
 * Sums over rows, in a fixed order: every channel's rows are shared among threads, whose sums are then added.
 * @param sums name → WGSL of the summand at element `i` (its channel is `c`)
 * @returns partial sums [sums, parts, channels]; add them with `addParts`
 */
export function partialSums(
  backend: Backend,
  call: Pick<Call, 'key' | 'inputs' | 'declarations'> & {
    readonly values?: Call['values'];
    readonly rows: number;
    readonly channels: number;
    readonly before: string;
    readonly sums: readonly string[];
  },
): tf.TensorInfo {
  const {rows, channels, before, sums, values = {}} = call;
  const parts = partsOf(rows, channels);
  const names = sums.map((_, n) => `sum${n}`);
  return runProgram(backend, {
    ...call,
    shape: [sums.length, parts, channels],
    groups: Math.ceil((parts * channels) / 64),
    values: {...values, rows: int(rows), channels: int(channels), parts: int(parts)},
    body: `
        if (index >= uniforms.parts * uniforms.channels) { return; }
        let c = index % uniforms.channels;
        ${names.map((name) => `var ${name} = 0.0;`).join(' ')}
        for (var row = index / uniforms.channels; row < uniforms.rows; row = row + uniforms.parts) {
          let i = row * uniforms.channels + c;
          ${before}
          ${names.map((name, n) => `${name} = ${name} + (${sums[n] ?? ''});`).join('\n          ')}
        }
        ${names.map((name, n) => `result[${n} * uniforms.parts * uniforms.channels + index] = ${name};`).join(' ')}`,
  });
}

/** @param part which of the sums. @returns [channels], or [] with `whole`, each times `factor` */
export function addParts(
  backend: Backend,
  partial: tf.TensorInfo,
  part: number,
  {whole = false, factor = 1}: {readonly whole?: boolean; readonly factor?: number} = {},
): tf.TensorInfo {
  const [, parts = 1, channels = 1] = partial.shape;
  const {declarations, sum} = groupSum(64);
  const [count, stride, outputs] = whole ? [parts * channels, 1, 1] : [parts, channels, channels];
  return runProgram(backend, {
    key: 'add parts',
    inputs: {partial},
    shape: whole ? [] : [channels],
    groups: outputs,
    values: {
      first: int(part * parts * channels),
      count: int(count),
      stride: int(stride),
      outputs: int(outputs),
      factor: float(factor),
    },
    declarations,
    body: `
        let group = ${groupIndex};
        var own = 0.0;
        if (group < uniforms.outputs) {
          for (var n = i32(localIndex); n < uniforms.count; n = n + 64) {
            own = own + partial[uniforms.first + n * uniforms.stride + group];
          }
        }
        ${sum('own')}
        if (lane == 0 && group < uniforms.outputs) { result[group] = total * uniforms.factor; }`,
  });
}
