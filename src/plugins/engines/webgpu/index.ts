/**
 * Any GPU by WebGPU: Dawn (npm `webgpu`) over Vulkan, Metal or Direct3D 12, tfjs' WebGPU backend, and kernels of ours in WGSL where
 * training spends most. `sdq engine install webgpu` brings the packages.
 */
import * as tf from '@tensorflow/tfjs-core';

import {ExitCode, SdqError} from '../../../errors.ts';
import type {EngineDefinition, EngineOptions, EngineProbe} from '../../../plugin-api/registry.ts';
import {wasmEngine} from '../wasm/index.ts';
import {watchDevice} from './failures.ts';
import {loadGpu, requestAdapter, requestDevice, type Adapter, type Backend, type Loaded} from './gpu.ts';
import {installedFolder, installWebgpu} from './installation.ts';
import {registerKernels} from './kernels.ts';
import {backendName} from './program.ts';
import {trainingMs} from './trial.ts';

/** Above wasm where the trial says that it is faster, else below. */
const ranks = {faster: 15, slower: 4} as const;

const missing = 'Not installed: `sdq engine install webgpu` (30 MB; any GPU with Vulkan, Metal or Direct3D 12).';

let loaded: Promise<Loaded> | undefined;

/** @returns what is missing, as one sentence, where there is no GPU to use */
async function usableGpu(): Promise<(Loaded & {readonly adapter: Adapter}) | string> {
  const folder = installedFolder();
  if (folder === undefined) return missing;
  try {
    const gpu = await (loaded ??= loadGpu(folder));
    const adapter = await requestAdapter(gpu);
    if (adapter !== undefined) return {...gpu, adapter};
    return 'WebGPU finds no GPU: a driver with Vulkan 1.1 (and libvulkan1 on Linux), Metal or Direct3D 12 is needed.';
  } catch (error) {
    loaded = undefined;
    return `The package webgpu cannot be loaded: ${(error as Error).message.split('\n')[0] ?? ''}.`;
  }
}

function deviceName({info}: Adapter): string {
  const parts = [info.description, info.device, info.vendor].filter((part) => part !== '');
  return `${parts[0] ?? 'GPU'}${isSoftware({info}) ? ' (software)' : ''}`;
}

/** Computed by the processor: `auto` never takes it. */
const isSoftware = ({info}: Pick<Adapter, 'info'>): boolean =>
  info.isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe|basic render/i.test(info.description + info.device);

/** @param times of the trial step in ms, undefined for a software adapter. @returns what `probe` says */
export function verdict(
  software: boolean,
  device: string,
  times: {readonly webgpu: number; readonly wasm: number} | undefined,
): EngineProbe {
  if (software || times === undefined) {
    const reason = 'A software adapter, for tests only: auto does not take it.';
    return {available: true, reason, device, rank: 1};
  }
  const {webgpu, wasm} = times;
  const faster = webgpu < wasm;
  const figures = `${webgpu.toFixed(1)} ms a trial step, wasm ${wasm.toFixed(1)}`;
  return {available: true, reason: `${figures}.`, device, rank: faster ? ranks.faster : ranks.slower};
}

/** Makes a device and a backend on it; `dispose` ends both. */
async function open({adapter, Backend}: Loaded & {readonly adapter: Adapter}): Promise<{
  readonly backend: Backend;
  readonly dispose: () => void;
}> {
  const device = await requestDevice(adapter);
  // The backend asks once whether there is WebGPU at all.
  const scope = globalThis as {navigator?: object};
  scope.navigator ??= {};
  Object.defineProperty(scope.navigator, 'gpu', {value: {}, configurable: true});
  let backend: Backend;
  try {
    backend = new Backend(device, adapter.info);
  } finally {
    delete (scope.navigator as {gpu?: object}).gpu;
  }
  // Small operators stay on the GPU: the processor rounds otherwise, and would have to wait for the values.
  tf.env().set('WEBGPU_CPU_FORWARD', false);
  const failures = watchDevice(device, backend);
  registerKernels();
  tf.registerBackend(backendName, () => backend);
  let isOpen = true;
  return {
    backend,
    dispose: () => {
      if (!isOpen) return;
      isOpen = false;
      failures.expectEnd();
      tf.removeBackend(backendName);
      device.destroy();
    },
  };
}

/** Milliseconds of a trial step on this GPU and on the wasm engine. */
async function trial(
  gpu: Loaded & {readonly adapter: Adapter},
  options: EngineOptions,
): Promise<{readonly webgpu: number; readonly wasm: number}> {
  const wasm = await wasmEngine.start(options);
  let wasmMs: number;
  try {
    wasmMs = await trainingMs();
  } finally {
    await wasm.dispose();
  }
  const {dispose} = await open(gpu);
  try {
    await tf.setBackend(backendName);
    return {webgpu: await trainingMs(), wasm: wasmMs};
  } finally {
    dispose();
  }
}

export const webgpuEngine: EngineDefinition = {
  kind: 'engine',
  name: 'webgpu',
  summary: 'Any GPU with Vulkan, Metal or Direct3D 12, where `sdq engine install webgpu` was run.',
  optionsSchema: {
    type: 'object',
    properties: {threads: {oneOf: [{const: 'auto'}, {type: 'integer', minimum: 1, maximum: 256}]}},
    additionalProperties: false,
  },

  async probe(options) {
    const gpu = await usableGpu();
    if (typeof gpu === 'string') return {available: false, reason: gpu, device: '', rank: 0};
    const {adapter} = gpu;
    const software = isSoftware(adapter);
    try {
      return verdict(software, deviceName(adapter), software ? undefined : await trial(gpu, options));
    } catch (error) {
      const reason = `${deviceName(adapter)} cannot be used: ${(error as Error).message.split('\n')[0] ?? ''}.`;
      return {available: false, reason, device: '', rank: 0};
    }
  },

  async start() {
    const gpu = await usableGpu();
    if (typeof gpu === 'string') {
      throw new SdqError(`The webgpu engine is not available. ${gpu}`, {
        code: 'engine-not-available',
        exit: ExitCode.notAvailable,
        suggestions: ['--set engine.name=auto', 'sdq doctor'],
      });
    }
    const {backend, dispose} = await open(gpu);
    await tf.setBackend(backendName);
    return {
      name: 'webgpu',
      device: deviceName(gpu.adapter),
      threads: 1,
      memory: () => {
        const {numBytesInGPU, numBytesAllocatedInGPU} = backend.memory();
        return {inUseMiB: numBytesInGPU / 2 ** 20, reservedMiB: numBytesAllocatedInGPU / 2 ** 20};
      },
      dispose: () => {
        dispose();
        return Promise.resolve();
      },
    };
  },

  install: installWebgpu,
};
