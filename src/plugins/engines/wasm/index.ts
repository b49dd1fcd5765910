/**
 * The embedded engine: a tfjs backend whose kernels are SIMD WebAssembly on worker threads. Needs nothing installed.
 */
import {readFile} from 'node:fs/promises';
import os from 'node:os';

import * as tf from '@tensorflow/tfjs-core';

import {ExitCode, SdqError} from '../../../errors.ts';
import type {EngineDefinition, EngineOptions} from '../../../plugin-api/registry.ts';
import {threadCount, threadsText} from '../threads.ts';
import {backendName, WasmBackend} from './backend.ts';
import {detectFeatures} from './features.ts';
import {kernels} from './kernels/index.ts';

/** The most a 32-bit WebAssembly memory can hold. */
const addressableBytes = 4 * 2 ** 30;

/** What the process may use: physical memory, a container's limit, 32-bit addresses. */
function memoryLimit(): number {
  const constrained = process.constrainedMemory();
  return Math.min(addressableBytes, os.totalmem(), constrained > 0 ? constrained : Infinity);
}

const kernelFile = (relaxed: boolean): URL =>
  new URL(`../../../../wasm/engine-${relaxed ? 'relaxed-simd' : 'simd'}.wasm`, import.meta.url);

function describe(options: EngineOptions, relaxed: boolean): string {
  return [
    threadsText(threadCount(options)),
    'SIMD',
    ...(relaxed ? ['relaxed SIMD'] : []),
    `memory limit ${Math.floor(memoryLimit() / 2 ** 20)} MiB`,
  ].join(', ');
}

async function compile(relaxed: boolean): Promise<WebAssembly.Module> {
  return WebAssembly.compile(await readFile(kernelFile(relaxed)));
}

const rank = 10;

export const wasmEngine: EngineDefinition = {
  kind: 'engine',
  name: 'wasm',
  summary: 'Embedded SIMD kernels on worker threads; nothing to install.',
  optionsSchema: {
    type: 'object',
    properties: {threads: {oneOf: [{const: 'auto'}, {type: 'integer', minimum: 1, maximum: 64}]}},
    additionalProperties: false,
  },

  async probe(options) {
    const {simd, relaxedSimd} = detectFeatures();
    if (!simd) {
      return {available: false, reason: 'This Node has no WebAssembly SIMD.', device: '', rank};
    }
    try {
      await compile(relaxedSimd);
    } catch (error) {
      return {
        available: false,
        reason: `Its kernels cannot be loaded (${(error as Error).message}); reinstall the package, or \`npm run build\`.`,
        device: '',
        rank,
      };
    }
    return {available: true, reason: 'Part of sdq.', device: describe(options, relaxedSimd), rank};
  },

  async start(options) {
    const {relaxedSimd} = detectFeatures();
    let backend: WasmBackend;
    try {
      backend = await WasmBackend.start({
        module: await compile(relaxedSimd),
        threads: threadCount(options),
        limitBytes: memoryLimit(),
      });
    } catch (cause) {
      throw new SdqError(`The wasm engine cannot start: ${(cause as Error).message}`, {
        code: 'engine-start-failed',
        exit: ExitCode.notAvailable,
        suggestions: ['See `sdq doctor`.'],
        cause,
      });
    }
    registerBackend(backend);
    let disposed: Promise<void> | undefined;
    return {
      name: 'wasm',
      device: describe(options, relaxedSimd),
      threads: backend.threads,
      limitBytes: backend.limitBytes,
      memory: () => backend.usage(),
      dispose: () =>
        (disposed ??= (async () => {
          tf.removeBackend(backendName);
          await backend.stop();
        })()),
    };
  },
};

/** Makes `backend` tfjs' current one, with the cpu backend's kernels where it has none of its own. */
export function registerBackend(backend: WasmBackend): void {
  if (tf.getKernelsForBackend(backendName).length === 0) {
    const ours = new Set(kernels.map(({kernelName}) => kernelName));
    for (const kernel of tf.getKernelsForBackend('cpu')) {
      if (!ours.has(kernel.kernelName)) tf.registerKernel({...kernel, backendName});
    }
    for (const kernel of kernels) tf.registerKernel(kernel);
  }
  if (!tf.registerBackend(backendName, () => backend)) throw new Error('the wasm engine runs already');
  void tf.setBackend(backendName);
}
