/**
 * TensorFlow's native library, for CUDA or the processor: `sdq engine install tensorflow` brings it. The fused operators of sdq run as
 * their composed definitions.
 */
import {existsSync} from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import util from 'node:util';

import * as tf from '@tensorflow/tfjs-core';

import {ExitCode, SdqError} from '../../../errors.ts';
import {OutOfMemoryError} from '../../../plugin-api/out-of-memory.ts';
import {item} from '../../../lookup.ts';
import type {EngineDefinition, EngineOptions} from '../../../plugin-api/registry.ts';
import {sharedTfjs} from '../npm-packages.ts';
import {threadCount, threadsText} from '../threads.ts';
import {installTensorflow} from './install.ts';
import {isComplete, layout, readInstallation, type Variant} from './installation.ts';
import {padBeforeKernels} from './kernels.ts';
import {driverFault, platformFault, thisMachine, type Machine} from './requirements.ts';

/** Under which tfjs-node's kernels are registered. */
const backendName = 'tensorflow';

/** What sdq uses of its class. */
interface TfjsNodeBackend extends tf.KernelBackend {
  readonly isUsingGpuDevice: boolean;
  executeSingleOutput: (...call: unknown[]) => tf.Tensor;
  executeMultipleOutputs: (...call: unknown[]) => tf.Tensor[];
}

interface Binding {
  readonly TF_Version: string;
}

export interface Loaded {
  readonly variant: Variant;
  /** Of TensorFlow. */
  readonly version: string;
  readonly usesGpu: boolean;
  /** Of the processor, for one operator. */
  readonly threads: number;
}

/** tfjs-node 4.22 calls these two functions of Node. Those that version 23 has not removed print a warning. */
function replaceDeprecatedUtilities(): void {
  const utilities = util as unknown as Record<string, unknown>;
  utilities['isNullOrUndefined'] = (value: unknown) => value === null || value === undefined;
  utilities['isArray'] = Array.isArray;
}

/**
 * TensorFlow's error is recognised by its text only, and names no limit: what is in use did fit.
 * @param inUse bytes of all tensors
 */
export function tellOutOfMemory(
  backend: Pick<TfjsNodeBackend, 'executeSingleOutput' | 'executeMultipleOutputs'>,
  inUse: () => number,
): void {
  const withReason =
    <Call extends unknown[], Out>(execute: (...call: Call) => Out) =>
    (...call: Call): Out => {
      try {
        return execute.apply(backend, call);
      } catch (cause) {
        const match = /OOM when allocating tensor with shape\[([\d,]*)\]/.exec((cause as Error).message);
        if (match === null) throw cause;
        const elements = item(match, 1).split(',').map(Number);
        const asked = elements.reduce((product, length) => product * length, Float32Array.BYTES_PER_ELEMENT);
        throw new OutOfMemoryError('tensorflow', asked, inUse(), inUse());
      }
    };
  backend.executeSingleOutput = withReason(backend.executeSingleOutput);
  backend.executeMultipleOutputs = withReason(backend.executeMultipleOutputs);
}

/** What is missing, as one sentence, in place of an installation that can be used. */
function installed(): {readonly variant: Variant} | string {
  const places = layout();
  const installation = readInstallation(places);
  if (installation === undefined || !isComplete(installation)) {
    return notInstalled(thisMachine(), installation !== undefined);
  }
  if (installation.tfjs !== tf.version_core || !existsSync(places.binding)) {
    return `${places.folder} is of another version of sdq, or not whole: run \`sdq engine install tensorflow\` again.`;
  }
  return installation;
}

/** Why not, and what this machine would need. */
export function notInstalled(machine: Machine, isBegun: boolean): string {
  const platform = platformFault(machine);
  if (platform !== undefined) return platform;
  const command = 'sdq engine install tensorflow';
  const driver = driverFault(machine);
  const state = isBegun ? 'Its installation is not finished' : 'Not installed';
  if (driver === undefined) return `${state}. The NVIDIA driver ${machine.driver ?? ''} will do: \`${command}\`.`;
  return `${state}. ${driver} Then \`${command}\`; for the processor \`${command} --cpu\`.`;
}

/** @throws Error when the native part cannot be loaded */
function loadLibrary({variant}: {readonly variant: Variant}, options: EngineOptions): Loaded {
  const places = layout();
  const threads = threadCount(options);
  replaceDeprecatedUtilities();
  // TensorFlow reads both when it is loaded. 2: only errors are logged.
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2';
  process.env['TF_NUM_INTRAOP_THREADS'] = String(threads);
  (globalThis as Record<symbol, unknown>)[sharedTfjs] = tf;
  const load = createRequire(path.join(places.tfjsNode, 'package.json'));
  const binding = load(places.binding) as Binding;
  load('./dist/register_all_kernels.js');
  const {NodeJSKernelBackend} = load('./dist/nodejs_kernel_backend.js') as {
    readonly NodeJSKernelBackend: new (binding: Binding, packageName: string) => TfjsNodeBackend;
  };
  const backend = new NodeJSKernelBackend(binding, '@tensorflow/tfjs-node');
  padBeforeKernels(backendName);
  tellOutOfMemory(backend, () => tf.memory().numBytes);
  tf.registerBackend(backendName, () => backend);
  return {variant, version: binding.TF_Version, usesGpu: backend.isUsingGpuDevice, threads};
}

let loaded: Loaded | string | undefined;

/** Once a process: TensorFlow cannot be unloaded. */
function loadOnce(options: EngineOptions): Loaded | string {
  loaded ??= (() => {
    const installation = installed();
    if (typeof installation === 'string') return installation;
    try {
      return loadLibrary(installation, options);
    } catch (error) {
      const [why] = (error as Error).message.split(/\.?\s*\n/);
      return `TensorFlow cannot be loaded: ${why ?? ''}.`;
    }
  })();
  return loaded;
}

const device = ({usesGpu, threads}: Loaded): string => (usesGpu ? 'CUDA' : `processor, ${threadsText(threads)}`);

/** What a probe says of a library that was loaded. */
export function probeOf(library: Loaded, machine: Machine): {reason: string; device: string; rank: number} {
  const {usesGpu, variant, version} = library;
  const without = `finds no CUDA device. ${driverFault(machine) ?? 'Does nvidia-smi list one?'}`;
  return {
    reason: variant === 'cuda' && !usesGpu ? `TensorFlow ${version} ${without}` : `By TensorFlow ${version}.`,
    device: device(library),
    // Above wasm on a GPU, below it on the processor.
    rank: usesGpu ? 20 : 5,
  };
}

export const tensorflowEngine: EngineDefinition = {
  kind: 'engine',
  name: 'tensorflow',
  summary: 'TensorFlow for CUDA or the processor, where `sdq engine install tensorflow` was run.',
  optionsSchema: {
    type: 'object',
    properties: {threads: {oneOf: [{const: 'auto'}, {type: 'integer', minimum: 1, maximum: 256}]}},
    additionalProperties: false,
  },

  probe(options) {
    const library = loadOnce(options);
    if (typeof library === 'string') return Promise.resolve({available: false, reason: library, device: '', rank: 0});
    return Promise.resolve({available: true, ...probeOf(library, thisMachine())});
  },

  async start(options) {
    const library = loadOnce(options);
    if (typeof library === 'string') {
      throw new SdqError(`The tensorflow engine is not available. ${library}`, {
        code: 'engine-not-available',
        exit: ExitCode.notAvailable,
        suggestions: ['--set engine.name=auto', 'sdq doctor'],
      });
    }
    await tf.setBackend(backendName);
    const mebibytes = (): number => tf.memory().numBytes / 2 ** 20;
    return {
      name: 'tensorflow',
      device: device(library),
      // A GPU leaves the processors to the input pipeline.
      threads: library.usesGpu ? 1 : library.threads,
      memory: () => ({inUseMiB: mebibytes(), reservedMiB: mebibytes()}),
      // TensorFlow does not keep the process alive.
      dispose: () => Promise.resolve(),
    };
  },

  async install(context) {
    const folder = await installTensorflow(context);
    loaded = undefined; // what a probe before said
    return folder;
  },
};
