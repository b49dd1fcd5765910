/**
 * TensorFlow's native library, by way of the package `@tensorflow/tfjs-node-gpu` (CUDA) or `@tensorflow/tfjs-node`, where the user has
 * installed one of them. The fused operators of sdq run as their composed definitions.
 */
import util from 'node:util';

import * as tf from '@tensorflow/tfjs-core';

import {ExitCode, SdqError} from '../../../errors.ts';
import {item} from '../../../lookup.ts';
import type {EngineDefinition, EngineOptions} from '../../../plugin-api/registry.ts';
import {threadCount, threadsText} from '../threads.ts';
import {padBeforeKernels} from './kernels.ts';

/** In the order in which they are tried. */
const packages = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'] as const;

/** The name under which either registers its backend. */
const backendName = 'tensorflow';

type ImportPackage = (name: string) => Promise<unknown>;

/** What sdq uses of its class. */
interface TfjsNodeBackend extends tf.KernelBackend {
  readonly isUsingGpuDevice: boolean;
  executeSingleOutput: (...call: unknown[]) => tf.Tensor;
  executeMultipleOutputs: (...call: unknown[]) => tf.Tensor[];
}

interface Loaded {
  /** E.g. `@tensorflow/tfjs-node 4.22.0`. */
  readonly name: string;
  readonly usesGpu: boolean;
  /** Of the processor, for one operator. */
  readonly threads: number;
}

/** tfjs-node 4.22 calls these two functions of Node, which version 23 removed. */
function restoreRemovedUtilities(): void {
  const utilities = util as unknown as Record<string, unknown>;
  utilities['isNullOrUndefined'] ??= (value: unknown) => value === null || value === undefined;
  utilities['isArray'] ??= Array.isArray;
}

/** @throws Error when it is not of sdq's version of tfjs, or its native part cannot be loaded */
async function load(name: string, importPackage: ImportPackage, threads: number): Promise<Loaded> {
  const {version} = (await importPackage(name)) as {readonly version: Readonly<Record<string, string>>};
  const found = version['tfjs-core'];
  if (found !== tf.version_core) throw new Error(`it is version ${String(found)}, and sdq needs ${tf.version_core}`);
  await tf.setBackend(backendName);
  const backend = tf.backend() as TfjsNodeBackend;
  padBeforeKernels(backendName);
  tellOutOfMemory(backend);
  return {name: `${name} ${found}`, usesGpu: backend.isUsingGpuDevice, threads};
}

/** TensorFlow's error is recognised by its text only. */
function tellOutOfMemory(backend: TfjsNodeBackend): void {
  const told =
    <Call extends unknown[], Out>(execute: (...call: Call) => Out) =>
    (...call: Call): Out => {
      try {
        return execute.apply(backend, call);
      } catch (cause) {
        const found = /OOM when allocating tensor with shape(\[[\d,]*\])/.exec((cause as Error).message);
        if (found === null) throw cause;
        throw new SdqError(
          `The tensorflow engine is out of memory: it has no room for a tensor of shape ${item(found, 1)}.`,
          {
            code: 'engine-out-of-memory',
            exit: ExitCode.notAvailable,
            suggestions: ['Use a smaller batch size.'],
            cause,
          },
        );
      }
    };
  backend.executeSingleOutput = told(backend.executeSingleOutput);
  backend.executeMultipleOutputs = told(backend.executeMultipleOutputs);
}

/** The first package that can be used; what is wrong with all of them, as one sentence. */
async function loadFirst(importPackage: ImportPackage, options: EngineOptions): Promise<Loaded | string> {
  restoreRemovedUtilities();
  const threads = threadCount(options);
  // TensorFlow reads both when it is loaded. 2: only errors are logged.
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2';
  process.env['TF_NUM_INTRAOP_THREADS'] = String(threads);
  const failures: string[] = [];
  for (const name of packages) {
    try {
      return await load(name, importPackage, threads);
    } catch (error) {
      const {code, message} = error as NodeJS.ErrnoException;
      const [why] = message.split(/\.?\s*\n/);
      if (code !== 'ERR_MODULE_NOT_FOUND') failures.push(`${name} cannot be used: ${why ?? ''}`);
    }
  }
  if (failures.length > 0) return `${failures.join('; ')}.`;
  const wanted = packages.map((name) => `${name}@${tf.version_core}`);
  return `Not installed: npm install --save-dev ${item(wanted, 0)} (CUDA) or ${item(wanted, 1)}, where sdq is installed.`;
}

/** @param importPackage how one of the packages is imported */
export function createTensorflowEngine(importPackage: ImportPackage): EngineDefinition {
  let loaded: Promise<Loaded | string> | undefined;
  const loadOnce = (options: EngineOptions): Promise<Loaded | string> => (loaded ??= loadFirst(importPackage, options));
  const device = ({usesGpu, threads}: Loaded): string => (usesGpu ? 'CUDA' : `processor, ${threadsText(threads)}`);
  return {
    kind: 'engine',
    name: 'tensorflow',
    summary: 'TensorFlow for CUDA or the processor, where tfjs-node is installed.',
    optionsSchema: {
      type: 'object',
      properties: {threads: {oneOf: [{const: 'auto'}, {type: 'integer', minimum: 1, maximum: 256}]}},
      additionalProperties: false,
    },

    async probe(options) {
      const found = await loadOnce(options);
      if (typeof found === 'string') return {available: false, reason: found, device: '', rank: 0};
      const without = found.usesGpu || !found.name.includes('gpu') ? '' : ', which finds no CUDA device';
      // Above wasm on a GPU, below it on the processor.
      return {
        available: true,
        reason: `By ${found.name}${without}.`,
        device: device(found),
        rank: found.usesGpu ? 20 : 5,
      };
    },

    async start(options) {
      const found = await loadOnce(options);
      if (typeof found === 'string') {
        throw new SdqError(`The tensorflow engine is not available. ${found}`, {
          code: 'engine-not-available',
          exit: ExitCode.notAvailable,
          suggestions: ['--set engine.name=auto', 'sdq doctor'],
        });
      }
      await tf.setBackend(backendName);
      const mebibytes = (): number => tf.memory().numBytes / 2 ** 20;
      return {
        name: 'tensorflow',
        device: device(found),
        threads: found.threads,
        memory: () => ({inUseMiB: mebibytes(), reservedMiB: mebibytes()}),
        // TensorFlow cannot be unloaded; it does not keep the process alive.
        dispose: () => Promise.resolve(),
      };
    },
  };
}

export const tensorflowEngine = createTensorflowEngine((name) => import(name));
