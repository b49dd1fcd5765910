/** Dawn and the WebGPU backend of tfjs, from where `sdq engine install webgpu` put them; and what sdq uses of both. */
import {createRequire} from 'node:module';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

import * as tf from '@tensorflow/tfjs-core';

import {sharedTfjs} from '../npm-packages.ts';

export interface Adapter {
  readonly info: {
    readonly vendor: string;
    readonly architecture: string;
    readonly device: string;
    readonly description: string;
    /** Computed by the processor. */
    readonly isFallbackAdapter?: boolean;
  };
  readonly limits: Readonly<Record<string, number>>;
  requestDevice(options: object): Promise<Device>;
}

interface GpuError {
  readonly message: string;
}

export interface GpuBuffer {
  readonly size: number;
}

export interface Device {
  readonly limits: Readonly<Record<string, number>>;
  readonly lost: Promise<{readonly reason: string; readonly message: string}>;
  createBuffer(descriptor: {readonly size: number}): GpuBuffer;
  addEventListener(name: 'uncapturederror', listener: (event: {readonly error: GpuError}) => void): void;
  destroy(): void;
}

/** A kernel in WGSL, in the form that the backend runs. */
export interface Program {
  readonly variableNames: readonly string[];
  readonly outputShape: readonly number[];
  readonly workgroupSize: readonly [number, number, number];
  readonly dispatch: readonly [number, number, number];
  readonly dispatchLayout: {readonly x: readonly number[]};
  readonly shaderKey: string;
  /** `name : type, …` */
  readonly uniforms?: string;
  /** Whether the uniform `size`, the number of elements of the output, is wanted. */
  readonly size?: boolean;
  getUserCode(): string;
}

export interface Uniform {
  readonly type: 'float32' | 'int32' | 'uint32';
  readonly data: readonly number[];
}

export interface Backend extends tf.KernelBackend {
  readonly device: Device;
  runWebGPUProgram(
    program: Program,
    inputs: readonly tf.TensorInfo[],
    dtype: tf.DataType,
    uniforms?: readonly Uniform[],
  ): tf.TensorInfo;
  memory(): {numBytesInGPU: number; numBytesAllocatedInGPU: number; unreliable: boolean};
  disposeData(dataId: tf.DataId, force?: boolean): boolean;
}

/** Dawn's instance: its adapters and devices must not outlive it. */
interface Instance {
  requestAdapter(options: object): Promise<Adapter | null>;
}

interface Dawn {
  readonly create: (options: readonly string[]) => Instance;
  readonly globals: object;
}

export interface Loaded {
  readonly instance: Instance;
  readonly Backend: new (device: Device, info: Adapter['info']) => Backend;
}

/** Once a process. @throws Error where a library of the system is missing */
export async function loadGpu(folder: string): Promise<Loaded> {
  const load = createRequire(path.join(folder, 'node_modules', 'package.json'));
  const {create, globals} = (await import(pathToFileURL(load.resolve('webgpu')).href)) as Dawn;
  (globalThis as Record<symbol, unknown>)[sharedTfjs] = tf;
  // The backend registers itself where navigator.gpu is; sdq makes it with limits of its own, so that is not there yet.
  const {WebGPUBackend} = load('@tensorflow/tfjs-backend-webgpu') as {WebGPUBackend: Loaded['Backend']};
  Object.assign(globalThis, globals);
  return {instance: create([]), Backend: WebGPUBackend};
}

/** An adapter makes one device only. @returns undefined where Dawn finds no GPU that it can use */
export async function requestAdapter({instance}: Loaded): Promise<Adapter | undefined> {
  return (await instance.requestAdapter({powerPreference: 'high-performance'})) ?? undefined;
}

/** The limits that the backend's kernels and large tensors need, as high as the adapter has them. */
const wantedLimits = [
  'maxBufferSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupsPerDimension',
  'maxComputeWorkgroupStorageSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
] as const;

export function requestDevice(adapter: Adapter): Promise<Device> {
  const requiredLimits = Object.fromEntries(wantedLimits.map((name) => [name, adapter.limits[name]]));
  return adapter.requestDevice({requiredLimits});
}
