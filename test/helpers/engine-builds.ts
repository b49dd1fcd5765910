/** The wasm engine in each of its builds and with several thread counts, for tests of its kernels. */
import {readFileSync} from 'node:fs';

import {afterAll, beforeAll, describe} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {backendName, WasmBackend} from '../../src/plugins/engines/wasm/backend.ts';
import {detectFeatures} from '../../src/plugins/engines/wasm/features.ts';
import {registerBackend} from '../../src/plugins/engines/wasm/index.ts';

const builds = detectFeatures().relaxedSimd ? ['relaxed-simd', 'simd'] : ['simd'];

/** Runs `tests` with every build on 2 threads, and with the fastest on 1 and 4. */
export function describeBuilds(tests: () => void): void {
  const cases = [...builds.map((build) => [build, 2] as const), [builds[0]!, 1] as const, [builds[0]!, 4] as const];
  describe.each(cases)('%s build, threads: %i', (build, threads) => {
    let backend: WasmBackend;
    beforeAll(async () => {
      tf.enableProdMode();
      const file = new URL(`../../wasm/engine-${build}.wasm`, import.meta.url);
      backend = await WasmBackend.start({
        module: new WebAssembly.Module(readFileSync(file)),
        threads,
        limitBytes: 2 ** 30,
      });
      registerBackend(backend);
    });
    afterAll(async () => {
      tf.removeBackend(backendName);
      await backend.stop();
    });
    tests();
  });
}
