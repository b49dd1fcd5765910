import {once} from 'node:events';
import {spawn} from 'node:child_process';
import {readFile} from 'node:fs/promises';
import path from 'node:path';

import {afterEach, beforeAll, describe, expect, jest, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {ExitCode, SdqError} from '../../../../../src/errors.ts';
import {suggestBatchSize} from '../../../../../src/plugin-api/out-of-memory.ts';
import {WasmBackend, type WasmBackendOptions} from '../../../../../src/plugins/engines/wasm/backend.ts';
import {detectFeatures} from '../../../../../src/plugins/engines/wasm/features.ts';
import {registerBackend, wasmEngine} from '../../../../../src/plugins/engines/wasm/index.ts';
import type {Engine} from '../../../../../src/plugin-api/registry.ts';
import {addAct} from '../../../../../src/tensor/add-act.ts';
import {batchNormAct} from '../../../../../src/tensor/batch-norm.ts';
import {softCrossEntropy} from '../../../../../src/tensor/cross-entropy.ts';
import {fakeQuantize} from '../../../../../src/tensor/fake-quantize.ts';
import {registerGradients} from '../../../../../src/tensor/gradients.ts';
import {sgdUpdate} from '../../../../../src/tensor/optimizer-updates.ts';
import {randomTensor} from '../../../../helpers/gradient-check.ts';
import {thorough} from '../../../../helpers/thorough.ts';

const root = path.resolve(import.meta.dirname, '../../../../..');
const mebibyte = 2 ** 20;
const closing: (() => Promise<void>)[] = [];

beforeAll(() => {
  tf.enableProdMode();
  registerGradients();
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function started(threads: number): Promise<Engine> {
  const engine = await wasmEngine.start({threads});
  closing.push(() => engine.dispose());
  return engine;
}

/** A backend outside tfjs' registry, with its workers. */
async function bare(options: Partial<WasmBackendOptions>): Promise<WasmBackend> {
  const relaxed = detectFeatures().relaxedSimd ? 'relaxed-simd' : 'simd';
  const module = await WebAssembly.compile(await readFile(path.join(root, `wasm/engine-${relaxed}.wasm`)));
  const backend = await WasmBackend.start({module, threads: 2, limitBytes: 64 * mebibyte, ...options});
  closing.push(() => backend.stop());
  return backend;
}

function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

const relu = {min: 0, max: Infinity};
const grid = {qmin: 0, qmax: 15, offset: 0} as const;
const rule = {input: 'clipped', scale: 'lsq', gradientScale: 0.1} as const;

interface Trained {
  readonly losses: readonly number[];
  readonly weights: Float32Array;
}

/** A small residual network, trained for `steps` steps, quantized unless told otherwise. */
function trained(steps: number, {quantized = true, onStep = (): void => undefined} = {}): Trained {
  let weights = [
    randomTensor([3, 3, 3, 16], 1),
    randomTensor([3, 3, 16, 16], 2),
    tf.fill([16], 1),
    tf.fill([16], 0.1),
    tf.scalar(0.2),
    randomTensor([16, 10], 3),
  ];
  let velocities = weights.map((w) => tf.zerosLike(w));
  const x = randomTensor([4, 8, 8, 3], 4) as tf.Tensor4D;
  const targets = tf.softmax(randomTensor([4, 10], 5));
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const updated = tf.tidy(() => {
      const {value, grads} = tf.valueAndGrads((...w: tf.Tensor[]) => {
        const [w1, w2, gamma, beta, scale, w3] = w as [tf.Tensor4D, tf.Tensor4D, ...tf.Tensor[]];
        const attributes = {...relu, epsilon: 1e-5, grid: quantized ? grid : null, rule};
        const a = batchNormAct(tf.conv2d(x, w1, 1, 'same'), gamma!, beta!, scale!, attributes).y as tf.Tensor4D;
        const q = (quantized ? fakeQuantize(w2, scale!, {...grid, qmin: -8, qmax: 7}, rule) : w2) as tf.Tensor4D;
        const b = addAct(tf.conv2d(a, q, 1, 'same'), a, relu);
        return softCrossEntropy(tf.matMul(tf.mean<tf.Tensor2D>(b, [1, 2]), w3 as tf.Tensor2D), targets);
      })(weights);
      losses.push(value.dataSync()[0]!);
      return grads.map((grad, i) =>
        sgdUpdate(weights[i]!, grad, velocities[i]!, {
          learningRate: 0.01,
          momentum: 0.9,
          nesterov: true,
          weightDecay: 1e-4,
        }),
      );
    });
    tf.dispose([weights, velocities]);
    weights = updated.map(([w]) => w);
    velocities = updated.map(([, v]) => v);
    onStep();
  }
  const values = Float32Array.from(weights.flatMap((w) => [...w.dataSync()]));
  tf.dispose([weights, velocities, x, targets]);
  return {losses, weights: values};
}

describe('training steps', () => {
  const steps = thorough ? 500 : 100;
  test(`take no more memory after ${steps} steps than after 50`, async () => {
    const engine = await started(2);
    const reserved: number[] = [];
    trained(steps, {onStep: () => void reserved.push(engine.memory().reservedMiB)});
    expect(reserved[steps - 1]).toBe(reserved[49]);
    expect(engine.memory().inUseMiB).toBeLessThan(0.1);
  });

  test('give the same bits for the same thread count', async () => {
    await started(2);
    expect(trained(5)).toEqual(trained(5));
  });

  test.each([1, 2, 4])('agree with the cpu oracle within float tolerance on %i threads', async (threads) => {
    await tf.setBackend('cpu');
    const oracle = trained(5, {quantized: false});
    await started(threads);
    const found = trained(5, {quantized: false});
    const errors = found.weights.map((value, i) => Math.abs(value - oracle.weights[i]!));
    expect(Math.max(...errors)).toBeLessThan(1e-3);
  });

  test('agree with the cpu oracle when quantized, as far as values that fall between two levels allow', async () => {
    await tf.setBackend('cpu');
    const oracle = trained(5).losses;
    await started(2);
    const ratios = trained(5).losses.map((loss, i) => loss / oracle[i]!);
    for (const ratio of ratios) expect(ratio).toBeCloseTo(1, 1);
    expect(ratios[0]).toBeCloseTo(1, 4);
  });
});

describe('out of memory', () => {
  test('is an SdqError that names what was asked, what is in use and the limit; the backend goes on', async () => {
    const backend = await bare({});
    const kept = backend.output([(10 * mebibyte) / 4]);
    const error = thrown(() => backend.output([(100 * mebibyte) / 4])) as SdqError;
    expect(error).toBeInstanceOf(SdqError);
    expect(error.message).toBe(
      'The wasm engine is out of memory: 100.0 MiB were asked for while 10.0 MiB of 64.0 MiB are in use.',
    );
    expect(error.oclif.exit).toBe(ExitCode.notAvailable);
    backend.disposeData(kept.dataId);
    backend.output([(30 * mebibyte) / 4]);
    expect(backend.usage().inUseMiB).toBeCloseTo(30, 0);
  });

  test('in a step names the largest batch that can fit, and no other error is touched', async () => {
    const backend = await bare({});
    backend.output([(10 * mebibyte) / 4]);
    const error = thrown(() => backend.output([(118 * mebibyte) / 4]));
    const named = suggestBatchSize(error, 128) as SdqError;
    expect(named.message).toContain('A step of 128 images does not fit; at most 63 do.');
    expect(named.suggestions).toEqual(['Use a smaller batch: --set data.batchSize=63.']);
    expect(named.oclif.exit).toBe(ExitCode.notAvailable);
    const other = new Error('other');
    expect(suggestBatchSize(other, 128)).toBe(other);
  });
});

describe('a worker', () => {
  const size = [1, 1, 1, 1, 2, 1000];
  const ints = (backend: WasmBackend, distance: number): number[] => {
    const block = backend.allocate(8000);
    return [block, block, ...size, 0, 0, 0, 0, 1000, 1, 0, 0, 0, 0, distance, 1];
  };

  test('that fails in a kernel ends the run with its error', async () => {
    const backend = await bare({});
    const error = thrown(() => backend.run('copyStrided', ints(backend, 2 ** 28), [], 2)) as SdqError;
    expect(error.message).toContain(
      'Thread 1 of the wasm engine is lost: copyStrided: RuntimeError: memory access out of bounds',
    );
    expect(error.oclif.exit).toBe(ExitCode.notAvailable);
  });

  test('that dies between kernels is noticed before the next one starts; tensors can still be read', async () => {
    const backend = await bare({});
    const tensor = backend.makeTensorInfo([2], 'float32', Float32Array.of(1, 2));
    await backend.workers[0]!.terminate();
    const error = thrown(() => backend.run('copyStrided', ints(backend, 1000), [], 2)) as SdqError;
    expect(error.code).toBe('engine-worker-lost');
    expect(backend.readSync(tensor.dataId)).toEqual(Float32Array.of(1, 2));
  });

  test('that dies unnoticed does not hang the run', async () => {
    const backend = await bare({graceMs: 300});
    const block = ints(backend, 1000);
    void backend.workers[0]!.terminate();
    const until = performance.now() + 100;
    while (performance.now() < until); // the event loop must not hear of it
    expect((thrown(() => backend.run('copyStrided', block, [], 2)) as SdqError).message).toContain(
      'no answer for 0.3 s',
    );
  });

  test('that lives but is slow is waited for', async () => {
    const backend = await bare({graceMs: -1});
    const [from, to] = [backend.allocate(64), backend.allocate(64)];
    // One row of 10^8 copies of one element: all of it is the worker's share.
    const row = (value: number): number[] => [...Array<number>(5).fill(0), value];
    const slow = [from, to, 1, 1, 1, 1, 1, 1e8, ...row(0), ...row(0)];
    expect(() => backend.run('copyStrided', slow, [], 2)).not.toThrow();
  });

  test('is given twenty times what the share of the main thread took, beside the grace', async () => {
    const backend = await bare({graceMs: 100});
    const block = ints(backend, 1000);
    void backend.workers[0]!.terminate();
    // The main thread's share takes 50 ms by this clock.
    let now = 0;
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => (now += 50));
    try {
      const error = thrown(() => backend.run('copyStrided', block, [], 2)) as SdqError;
      expect(error.message).toContain('no answer for 1.1 s');
    } finally {
      clock.mockRestore();
    }
  });
});

describe('the engine', () => {
  test('starts, stops and starts again, and refuses to run twice at a time', async () => {
    const engine = await started(2);
    await expect(wasmEngine.start({threads: 1})).rejects.toThrow('runs already');
    await engine.dispose();
    await engine.dispose();
    await started(1);
    expect(tf.add(1, 2).dataSync()).toEqual(Float32Array.of(3));
  });

  test('keeps strings and complex numbers as the cpu backend does', async () => {
    const backend = await bare({});
    registerBackend(backend);
    closing.unshift(async () => {
      tf.removeBackend('sdq-wasm');
      await Promise.resolve();
    });
    expect(tf.tensor1d(['a', 'bc']).dataSync<'string'>()).toEqual(['a', 'bc']);
    expect([...tf.complex([1, 2], [3, 4]).dataSync()]).toEqual([1, 3, 2, 4]);
  });

  test('reports threads, SIMD and the memory limit', async () => {
    const probe = await wasmEngine.probe({threads: 3});
    expect(probe).toMatchObject({available: true, reason: 'Part of sdq.'});
    expect(probe.device).toMatch(/^3 threads, SIMD(, relaxed SIMD)?, memory limit \d+ MiB$/);
  });

  test('does not keep a process alive that forgets to dispose it', async () => {
    const script = `
      import {wasmEngine} from ${JSON.stringify(path.join(root, 'src/plugins/engines/wasm/index.ts'))};
      await wasmEngine.start({threads: 2});`;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {cwd: root});
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(0);
  });
});
