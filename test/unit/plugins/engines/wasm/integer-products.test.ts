import {afterAll, afterEach, beforeAll, describe, expect, jest, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {WasmBackend} from '../../../../../src/plugins/engines/wasm/backend.ts';
import {weightQuantizers} from '../../../../../src/plugins/quantizers/index.ts';
import {lsq} from '../../../../../src/plugins/quantizers/lsq.ts';
import {pact} from '../../../../../src/plugins/quantizers/pact.ts';
import {batchNormAct} from '../../../../../src/tensor/batch-norm.ts';
import {fakeQuantize} from '../../../../../src/tensor/fake-quantize.ts';
import {registerGradients} from '../../../../../src/tensor/gradients.ts';
import type {GradientRule, Grid} from '../../../../../src/tensor/kernels.ts';
import {builds, startBuild} from '../../../../helpers/engine-builds.ts';
import {expectClose, randomTensor} from '../../../../helpers/gradient-check.ts';

const rule: GradientRule = {input: 'identity', scale: 'none', gradientScale: 1};
const allBits = [1, 2, 3, 4, 5, 6, 7, 8];
const distinct = (grids: readonly Grid[]): Grid[] => [...new Map(grids.map((g) => [JSON.stringify(g), g])).values()];
const inputGrids = distinct(
  allBits.flatMap((bits) => [lsq.grid(bits, true), lsq.grid(bits, false), pact.grid(bits, false)]),
);
const weightGrids = distinct(weightQuantizers.flatMap((quantizer) => allBits.map((bits) => quantizer.grid(bits))));
const six = 63;

/** Σ x · w in double precision. */
function product(x: ArrayLike<number>, w: ArrayLike<number>, length: number, columns: number): number[] {
  return Array.from({length: (x.length / length) * columns}, (_, i) => {
    let sum = 0;
    for (let k = 0; k < length; k++) {
      sum += x[Math.floor(i / columns) * length + k]! * w[k * columns + (i % columns)]!;
    }
    return sum;
  });
}

/** Steps that are powers of two: products are then whole numbers of some power of two. */
const steps = (count: number): tf.Tensor1D => tf.tensor1d(Array.from({length: count}, (_, j) => 2 ** ((j % 5) - 4)));

describe.each(builds)('%s build, threads: %i', (build, threads) => {
  let stop: () => Promise<void>;
  beforeAll(async () => {
    registerGradients();
    stop = await startBuild(build, threads);
  });
  afterAll(() => stop());
  afterEach(() => void jest.restoreAllMocks());

  /** The kernels that ran. */
  function watched(compute: () => void): string[] {
    const run = jest.spyOn(WasmBackend.prototype, 'run');
    tf.tidy(compute);
    const names = run.mock.calls.map(([name]) => name);
    run.mockRestore();
    return names;
  }

  test.each(inputGrids.map((grid) => [JSON.stringify(grid), grid] as const))(
    'inputs %s and the grids of all weight quantizers: exact sums, at the ends of the grids too',
    (_, grid) => {
      for (const [i, weightGrid] of weightGrids.entries()) {
        const [rows, length, columns] = [16 + (i % 7), 1 + ((i * 37) % 150), 1 + ((i * 5) % 19)];
        // Far outside the grid every value is at an end: the largest sums.
        for (const spread of [0.5, 1000]) {
          const names = watched(() => {
            const levels = (grid.qmax - grid.qmin) * spread;
            const scale = i % 2 === 0 ? steps(columns) : tf.scalar(0.25);
            const x = fakeQuantize(tf.mul(randomTensor([rows, length], i), levels / 8), tf.scalar(0.125), grid, rule);
            const w = fakeQuantize(tf.mul(randomTensor([length, columns], i + 1), spread), scale, weightGrid, rule);
            const exact = product(x.dataSync(), w.dataSync(), length, columns);
            expect(tf.matMul(x, w).dataSync()).toEqual(Float32Array.from(exact));
          });
          if (weightGrid.qmax - weightGrid.qmin <= six) expect(names).toContain('integerProduct');
        }
      }
    },
  );

  test('any sizes and steps, with bias and activation', () => {
    fc.assert(
      fc.property(
        fc.record({
          rows: fc.integer({min: 16, max: 400}),
          length: fc.integer({min: 1, max: 300}),
          columns: fc.integer({min: 1, max: 40}),
          grid: fc.constantFrom(...inputGrids),
          weightGrid: fc.constantFrom(...weightGrids.filter(({qmin, qmax}) => qmax - qmin <= six)),
          activation: fc.constantFrom('linear', 'relu', 'relu6', 'sigmoid'),
          seed: fc.nat(),
        }),
        ({rows, length, columns, grid, weightGrid, activation, seed}) => {
          const names = watched(() => {
            const scale = tf.mul(tf.add(tf.abs(randomTensor([columns], seed)), 0.1), 0.1);
            const x = fakeQuantize(randomTensor([rows, length], seed + 1), tf.scalar(0.037), grid, rule);
            const w = fakeQuantize(randomTensor([length, columns], seed + 2), scale, weightGrid, rule) as tf.Tensor2D;
            const bias = randomTensor([columns], seed + 3);
            const added = bias.dataSync();
            const sums = product(x.dataSync(), w.dataSync(), length, columns).map((y, i) => y + added[i % columns]!);
            const y = tf.fused.matMul({a: x, b: w, bias, activation: activation});
            const functions: Readonly<Record<string, (y: number) => number>> = {
              linear: (y) => y,
              relu: (y) => Math.max(0, y),
              relu6: (y) => Math.min(6, Math.max(0, y)),
              sigmoid: (y) => 1 / (1 + Math.exp(-y)),
            };
            const most = Math.max(1, ...sums.map((y) => Math.abs(y)));
            expectClose(y, sums.map(functions[activation]!), {absolute: 1e-6 * most, relative: 2e-6});
          });
          expect(names).toContain('integerProduct');
        },
      ),
      {numRuns: 40},
    );
  });

  test('a 1×1 convolution behind batch-norm with a quantizer, and gradients like those of the float product', () => {
    const grid: Grid = {qmin: 0, qmax: 255, offset: 0};
    const weightGrid: Grid = {qmin: -7, qmax: 7, offset: 0};
    const names = watched(() => {
      const range = {min: 0, max: Infinity, epsilon: 1e-5, grid, rule};
      const [gamma, beta] = [randomTensor([11], 2), randomTensor([11], 3)];
      const {y: x} = batchNormAct(randomTensor([3, 5, 7, 11], 1), gamma, beta, tf.scalar(0.01), range);
      const w = fakeQuantize(randomTensor([1, 1, 11, 13], 4), tf.scalar(0.3), weightGrid, rule) as tf.Tensor4D;
      const convolve = (x: tf.Tensor, w: tf.Tensor): tf.Tensor => tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, 1, 0);
      expectClose(convolve(x, w), product(x.dataSync(), w.dataSync(), 11, 13), {absolute: 1e-5});
      const dy = randomTensor([3, 5, 7, 13], 5);
      const plain = [x, w].map((t) => tf.tensor(t.dataSync(), t.shape));
      const expected = tf.grads(convolve)(plain, dy);
      for (const [i, gradient] of tf.grads(convolve)([x, w], dy).entries()) {
        expect(gradient.dataSync()).toEqual(expected[i]!.dataSync());
      }
    });
    expect(names.filter((name) => name === 'integerProduct')).toHaveLength(2);
  });

  test('NaN and infinities reach the sums that contain them', () => {
    const grid: Grid = {qmin: -8, qmax: 7, offset: 0};
    const make = (shape: [number, number], bad: number | null): tf.Tensor => {
      const values = Array.from({length: shape[0] * shape[1]}, (_, i) => (i % 5) - 2);
      if (bad !== null) values[bad] = NaN;
      return fakeQuantize(tf.tensor2d(values, shape), tf.scalar(1), grid, rule);
    };
    for (const [row, column] of [
      [33, null],
      [null, 33],
    ] as const) {
      tf.tidy(() => {
        const [x, w] = [make([20, 10], row), make([10, 9], column)];
        expect(tf.matMul(x, w).dataSync()).toEqual(Float32Array.from(product(x.dataSync(), w.dataSync(), 10, 9)));
      });
    }
  });

  test('values that are on no grid, or on one with other columns, are multiplied as floats', () => {
    const grid: Grid = {qmin: -8, qmax: 7, offset: 0};
    const names = watched(() => {
      const x = fakeQuantize(randomTensor([20, 6], 1), tf.scalar(0.2), grid, rule);
      const w = fakeQuantize(randomTensor([6, 6], 2), steps(6), grid, rule);
      const mixed = tf.add(tf.mul(w, 0.25), tf.mul(fakeQuantize(w, tf.scalar(0.7), grid, rule), 0.75));
      const reshaped = tf.reshape(fakeQuantize(randomTensor([2, 18], 3), steps(18), grid, rule), [6, 6]);
      const perColumn = fakeQuantize(x, steps(6), grid, rule);
      for (const [a, b] of [
        [x, mixed],
        [tf.relu(x), w],
        [x, reshaped],
        [perColumn, w],
      ] as const) {
        expectClose(tf.matMul(a, b), product(a.dataSync(), b.dataSync(), 6, 6), {absolute: 1e-5});
      }
    });
    expect(names).not.toContain('integerProduct');
  });
});
