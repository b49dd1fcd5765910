/** The wasm engine in each of its builds and with several thread counts, for tests of its kernels. */
import {readFile} from 'node:fs/promises';

import * as tf from '@tensorflow/tfjs-core';

import {backendName, WasmBackend} from '../../src/plugins/engines/wasm/backend.ts';
import {detectFeatures} from '../../src/plugins/engines/wasm/features.ts';
import {registerBackend} from '../../src/plugins/engines/wasm/index.ts';
import {thorough} from './thorough.ts';

const names = detectFeatures().relaxedSimd ? ['relaxed-simd', 'simd'] : ['simd'];

/** [build, threads]: every build, on one thread or two; in the slow suite every build on 2 threads and the fastest on 1 and 4 as well. */
export const builds = thorough
  ? [...names.map((name) => [name, 2] as const), [names[0]!, 1] as const, [names[0]!, 4] as const]
  : [[names[0]!, 2] as const, [names.at(-1)!, 1] as const];

/** Makes this build tfjs' backend; the result stops it. */
export async function startBuild(build: string, threads: number): Promise<() => Promise<void>> {
  tf.enableProdMode();
  const file = new URL(`../../wasm/engine-${build}.wasm`, import.meta.url);
  const module = await WebAssembly.compile(await readFile(file));
  const backend = await WasmBackend.start({module, threads, limitBytes: 2 ** 30});
  registerBackend(backend);
  return async () => {
    tf.removeBackend(backendName);
    await backend.stop();
  };
}
