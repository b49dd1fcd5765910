import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {fakeQuantize, gridIndex} from '../../../src/tensor/fake-quantize.ts';
import type {GradientRule, Grid} from '../../../src/tensor/kernels.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose, randomTensor} from '../../helpers/gradient-check.ts';
import {fakeQuantize64, surrogate64} from '../../helpers/float64.ts';

useCpuBackend();

const grids: [string, Grid][] = [
  ['4 bits signed', {qmin: -8, qmax: 7, offset: 0}],
  ['2 bits unsigned', {qmin: 0, qmax: 3, offset: 0}],
  ['1 bit ±c', {qmin: -1, qmax: 0, offset: 0.5}],
  ['3 bits half-integer', {qmin: -4, qmax: 3, offset: 0.5}],
];
const straightThrough: GradientRule = {input: 'identity', scale: 'none', gradientScale: 1};

describe('forward', () => {
  test.each(grids)('%s: the nearest value of the grid, one step or one a channel', (_, grid) => {
    const x = randomTensor([3, 2, 5], 1);
    for (const scale of [tf.scalar(0.41), tf.tensor1d([0.2, 0.37, 0.9, 0.05, 0.61])]) {
      const expected = fakeQuantize64([...x.dataSync()], [...scale.dataSync()], grid);
      expectClose(fakeQuantize(x, scale, grid, straightThrough), expected, {absolute: 1e-6});
    }
  });

  test('halves go to the even neighbour', () => {
    const grid = {qmin: -8, qmax: 7, offset: 0} as const;
    const x = tf.tensor1d([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]);
    expectClose(fakeQuantize(x, tf.scalar(1), grid, straightThrough), [-2, -2, 0, 0, 2, 2]);
  });

  test('b bits have at most 2^b levels, and the half-integer grid is symmetric without a zero', () => {
    const x = tf.linspace(-3, 3, 1001);
    for (const [, grid] of grids) {
      const levels = new Set(fakeQuantize(x, tf.scalar(0.25), grid, straightThrough).dataSync());
      expect(levels.size).toBe(grid.qmax - grid.qmin + 1);
      if (grid.offset === 0.5) expect([...levels].every((level) => level !== 0 && levels.has(-level))).toBe(true);
    }
  });

  test('a grid index is a whole number of the grid', () => {
    const q = gridIndex(randomTensor([7, 3], 2), tf.tensor1d([0.1, 0.3, 0.5]), {qmin: -2, qmax: 1, offset: 0});
    expect([...new Set(q.dataSync())].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1]);
  });
});

describe('gradient', () => {
  const rules: [string, GradientRule][] = [
    ['straight-through', straightThrough],
    ['PACT', {input: 'clipped', scale: 'clip', gradientScale: 1}],
    ['LSQ', {input: 'clipped', scale: 'lsq', gradientScale: 0.13}],
  ];
  const cases = grids.flatMap(([gridName, grid]) =>
    rules.flatMap(([ruleName, rule]) => [1, 5].map((scales) => ({gridName, grid, ruleName, rule, scales}))),
  );

  test.each(cases)('$ruleName on $gridName with $scales scales', ({grid, rule, scales}) => {
    const x = randomTensor([3, 2, 5], 3);
    const dy = randomTensor([3, 2, 5], 4);
    const scale = scales === 1 ? tf.scalar(0.41) : tf.tensor1d([0.2, 0.37, 0.9, 0.05, 0.61]);
    const [dx, dscale] = tf.grads((x, scale) => fakeQuantize(x, scale, grid, rule))([x, scale], dy) as [
      tf.Tensor,
      tf.Tensor,
    ];

    const [x64, dy64, scale64] = [[...x.dataSync()], [...dy.dataSync()], [...scale.dataSync()]];
    const smooth = surrogate64(x64, scale64, grid, rule);
    const objective = (x: number[], scale: number[]): number =>
      smooth(x, scale).reduce((sum, y, i) => sum + y * dy64[i]!, 0);
    const step = 1e-6;
    const difference = (f: (delta: number) => number): number => (f(step) - f(-step)) / (2 * step);
    const dx64 =
      rule.input === 'identity'
        ? dy64
        : x64.map((value, i) => difference((delta) => objective(x64.with(i, value + delta), scale64)));
    const dscale64 =
      rule.scale === 'none'
        ? scale64.map(() => 0)
        : scale64.map(
            (value, i) => rule.gradientScale * difference((delta) => objective(x64, scale64.with(i, value + delta))),
          );
    expectClose(dx, dx64, {absolute: 1e-5});
    expectClose(dscale, dscale64, {absolute: 1e-4, relative: 1e-4});
  });

  test('PACT: α collects the gradient of everything above it, x none of it', () => {
    const [bits, alpha] = [2, 1.5];
    const grid = {qmin: 0, qmax: 2 ** bits - 1, offset: 0} as const;
    const rule: GradientRule = {input: 'clipped', scale: 'clip', gradientScale: 1};
    const x = tf.tensor1d([-1, 0.2, 1.4, 1.6, 9]);
    const dy = tf.tensor1d([1, 2, 4, 8, 16]);
    const [dx, dscale] = tf.grads((x, scale) => fakeQuantize(x, scale, grid, rule))(
      [x, tf.scalar(alpha / grid.qmax)],
      dy,
    ) as [tf.Tensor, tf.Tensor];
    expectClose(dx, [0, 2, 4, 0, 0]);
    expectClose(tf.div(dscale, grid.qmax), [8 + 16]);
  });
});
