import {describe, expect, test} from '@jest/globals';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

import {startEngine} from '../../../../src/phases/session.ts';
import {cpuEngine} from '../../../../src/plugins/engines/cpu/index.ts';
import {createTensorflowEngine} from '../../../../src/plugins/engines/tensorflow/index.ts';
import {wasmEngine} from '../../../../src/plugins/engines/wasm/index.ts';
import {Registry} from '../../../../src/plugin-api/registry.ts';
import {outOfMemory, standIn, type StandInBackend} from '../../../helpers/tfjs-node.ts';

const notFound = (name: string): Promise<never> =>
  Promise.reject(Object.assign(new Error(`Cannot find package '${name}'`), {code: 'ERR_MODULE_NOT_FOUND'}));
/** Only one of the packages is there. */
const only =
  (there: string, load: () => Promise<unknown>) =>
  (name: string): Promise<unknown> =>
    name === there ? load() : notFound(name);

describe('the engine', () => {
  test('says how to get it where no package is installed, and does not start', async () => {
    const engine = createTensorflowEngine(notFound);
    const reason =
      'Not installed: npm install --save-dev @tensorflow/tfjs-node-gpu@4.22.0 (CUDA) or @tensorflow/tfjs-node@4.22.0, where sdq is installed.';
    expect(await engine.probe({threads: 'auto'})).toEqual({available: false, reason, device: '', rank: 0});
    await expect(engine.start({threads: 'auto'})).rejects.toMatchObject({
      message: `The tensorflow engine is not available. ${reason}`,
      code: 'engine-not-available',
      oclif: {exit: 6},
    });
  });

  test.each([
    [
      'a native part that is missing',
      () => Promise.reject(new Error('The addon tfjs_binding.node can not be found. \nPlease run npm rebuild')),
      '@tensorflow/tfjs-node cannot be used: The addon tfjs_binding.node can not be found.',
    ],
    [
      'another version of tfjs',
      () => Promise.resolve({version: {'tfjs-core': '3.1.0'}}),
      `@tensorflow/tfjs-node cannot be used: it is version 3.1.0, and sdq needs ${tf.version_core}.`,
    ],
  ])('says why an installed package cannot be used: %s', async (_, load, reason) => {
    const engine = createTensorflowEngine(only('@tensorflow/tfjs-node', load));
    expect(await engine.probe({threads: 1})).toMatchObject({available: false, reason});
  });
});

describe('with a stand-in for the package', () => {
  test('uses CUDA where the package does', async () => {
    const engine = createTensorflowEngine(standIn({usesGpu: true}));
    expect(await engine.probe({threads: 3})).toEqual({
      available: true,
      reason: `By @tensorflow/tfjs-node-gpu ${tf.version_core}.`,
      device: 'CUDA',
      rank: 20,
    });
    expect(await engine.start({threads: 3})).toMatchObject({name: 'tensorflow', device: 'CUDA', threads: 3});
    expect(tf.getBackend()).toBe('tensorflow');
    expect(process.env['TF_NUM_INTRAOP_THREADS']).toBe('3');
  });

  test('says when the package for CUDA finds no device', async () => {
    expect(await createTensorflowEngine(standIn()).probe({threads: 1})).toEqual({
      available: true,
      reason: `By @tensorflow/tfjs-node-gpu ${tf.version_core}, which finds no CUDA device.`,
      device: 'processor, 1 thread',
      rank: 5,
    });
  });

  test('falls back to the package without CUDA', async () => {
    const engine = createTensorflowEngine(only('@tensorflow/tfjs-node', standIn()));
    expect(await engine.probe({threads: 2})).toMatchObject({available: true, device: 'processor, 2 threads'});
  });

  test.each([
    ['CUDA is faster than wasm', standIn({usesGpu: true}), 'tensorflow'],
    ['wasm is faster than a processor without our kernels', standIn(), 'wasm'],
    ['where nothing is installed, wasm is the fastest', notFound, 'wasm'],
  ])('engine: auto: %s', async (_, load, fastest) => {
    const registry = new Registry(['engine']);
    for (const engine of [cpuEngine, createTensorflowEngine(load), wasmEngine]) registry.add(engine);
    const engine = await startEngine(registry, {name: 'auto', threads: 1});
    expect(engine.name).toBe(fastest);
    await engine.dispose();
  });

  test('says that memory is short, and leaves other errors as they are', async () => {
    await createTensorflowEngine(standIn()).start({threads: 1});
    const backend = tf.backend() as tf.KernelBackend &
      Pick<StandInBackend, 'executeSingleOutput' | 'executeMultipleOutputs'>;
    expect(() => backend.executeSingleOutput()).toThrow(
      expect.objectContaining({
        message: 'The tensorflow engine is out of memory: it has no room for a tensor of shape [128,32,32,16].',
        code: 'engine-out-of-memory',
        oclif: {exit: 6},
        cause: expect.objectContaining({message: outOfMemory}),
      }),
    );
    expect(() => backend.executeMultipleOutputs()).toThrow(new Error('Invalid TF_Status: 3'));
  });
});
