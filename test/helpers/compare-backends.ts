/** Runs the same tensor code on tfjs' stock cpu backend, the oracle, and on the current one, and compares the results. */
import {expect} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {wasmEngine} from '../../src/plugins/engines/wasm/index.ts';
import type {Engine} from '../../src/plugin-api/registry.ts';

/** Starts the wasm engine next to the cpu backend; the result's `dispose` belongs in `afterAll`. */
export async function startBackends(threads = 2): Promise<Engine> {
  tf.enableProdMode();
  tf.env().set('IS_TEST', true); // tfjs then throws when a kernel leaks a buffer
  return wasmEngine.start({threads});
}

/** A kernel of the current backend with one result. */
export function runKernel(name: string, inputs: Record<string, tf.Tensor>, attributes: object): tf.Tensor {
  return tf.engine().runKernel(name, inputs, attributes as tf.NamedAttrMap);
}

export interface Tolerance {
  /** Of the largest finite magnitude in the result. */
  readonly relative?: number;
  readonly absolute?: number;
}

interface Result {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly values: Float32Array | Int32Array | Uint8Array;
}

function results(backend: string, compute: () => tf.Tensor | readonly tf.Tensor[]): Result[] {
  void tf.setBackend(backend);
  const before = tf.memory().numTensors;
  const found = tf.tidy(() => {
    const out = compute();
    return (Array.isArray(out) ? (out as tf.Tensor[]) : [out as tf.Tensor]).map((t) => ({
      shape: t.shape,
      dtype: t.dtype,
      values: t.dataSync<'float32'>(),
    }));
  });
  expect(tf.memory().numTensors).toBe(before);
  return found;
}

/**
 * `compute` makes its own inputs (from arrays, or `randomTensor` of gradient-check.ts) and returns what is to be compared: shapes, types and
 * values, NaN and infinities in the same places.
 */
export function expectSameOnBothBackends(
  compute: () => tf.Tensor | readonly tf.Tensor[],
  {relative = 1e-5, absolute = 1e-6}: Tolerance = {},
): void {
  const tested = tf.getBackend();
  expect(tested).not.toBe('cpu');
  const oracle = results('cpu', compute);
  const ours = results(tested, compute);
  expect(ours.map(({shape, dtype}) => ({shape, dtype}))).toEqual(oracle.map(({shape, dtype}) => ({shape, dtype})));
  for (const [i, {values}] of oracle.entries()) {
    const found = ours[i]!.values;
    const largest = Array.from(values).reduce(
      (most, v) => (Number.isFinite(v) ? Math.max(most, Math.abs(v)) : most),
      0,
    );
    const allowed = absolute + relative * largest;
    const wrong = values.findIndex(
      (v, k) => !(Object.is(v, found[k]) || v === found[k] || Math.abs(v - found[k]!) <= allowed),
    );
    if (wrong >= 0) {
      const shape = `[${oracle[i]!.shape.join(', ')}]`;
      throw new Error(
        `output ${i} ${shape}: element ${wrong} is ${found[wrong]!}, the oracle's ${values[wrong]!}, allowed ± ${allowed}`,
      );
    }
  }
}
