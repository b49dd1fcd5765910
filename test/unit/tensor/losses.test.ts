import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {addAct} from '../../../src/tensor/add-act.ts';
import {binRegularizer} from '../../../src/tensor/bin-regularizer.ts';
import {softCrossEntropy} from '../../../src/tensor/cross-entropy.ts';
import type {Grid} from '../../../src/tensor/kernels.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose, expectGradients, randomTensor, spacedTensor} from '../../helpers/gradient-check.ts';

useCpuBackend();

describe('addAct', () => {
  test.each([
    ['Relu', 0, Infinity],
    ['Relu6', 0, 6],
    ['none', -Infinity, Infinity],
  ])('%s', (_, min, max) => {
    const [a, b] = [spacedTensor([3, 5, 7], 1, 0.3), tf.mul(spacedTensor([3, 5, 7], 2, 0.3), 0.01)];
    const expected = [...a.dataSync()].map((value, i) => Math.min(Math.max(value + b.dataSync()[i]!, min), max));
    expectClose(addAct(a, b, {min, max}), expected);
    expectGradients((a, b) => addAct(a, b, {min, max}), [a, b], {epsilon: 2e-3});
  });

  test('a tensor added to itself takes both gradients', () => {
    const x = tf.tensor1d([-1, 2]);
    expectClose(tf.grad((x) => addAct(x, x, {min: 0, max: Infinity}))(x), [0, 2]);
  });
});

describe('softCrossEntropy', () => {
  test('is log C for equal logits, and 0.4076 for logits 1, 2, 3 with the last as the label', () => {
    expectClose(softCrossEntropy(tf.zeros([3, 10]), tf.oneHot([1, 2, 9], 10)), [Math.log(10)]);
    const loss = softCrossEntropy(tf.tensor2d([[1, 2, 3]]), tf.tensor2d([[0, 0, 1]]));
    expectClose(loss, [Math.log(1 + Math.exp(-1) + Math.exp(-2))]);
  });

  test('gradient against finite differences, with soft targets', () => {
    const targets = tf.softmax(randomTensor([5, 7], 1));
    expectGradients((logits) => softCrossEntropy(logits, targets), [randomTensor([5, 7], 2)], {
      absolute: 1e-4,
      relative: 1e-3,
    });
  });

  test('stays finite for logits of ±1000', () => {
    const logits = tf.tensor2d([[1000, -1000, 0]]);
    const {value, grad} = tf.valueAndGrad((logits) => softCrossEntropy(logits, tf.oneHot([1], 3)))(logits);
    expectClose(value, [2000]);
    expectClose(grad, [1, -1, 0]);
  });
});

/** The definition in double precision: two loops. `steps` and grid indices `q` by weight. */
function binRegularizer64(
  w: readonly number[],
  steps: readonly number[],
  q: readonly number[],
  offset: number,
): number {
  const weights = w.map((value, i) => ({q: q[i]!, d: value / steps[i]! - q[i]! - offset, v: steps[i]! ** 2}));
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  let loss = sum(weights.map(({d, v}) => v * d * d)) / w.length;
  for (const index of new Set(q)) {
    const bin = weights.filter((weight) => weight.q === index);
    if (bin.length < 2) continue;
    const mean = sum(bin.map(({d, v}) => v * d)) / sum(bin.map(({v}) => v));
    loss += (bin.length / w.length) * (sum(bin.map(({d, v}) => v * (d - mean) ** 2)) / (bin.length - 1));
  }
  return loss;
}

describe('binRegularizer', () => {
  const grids: [string, Grid][] = [
    ['2 bits', {qmin: -2, qmax: 1, offset: 0}],
    ['1 bit ±c', {qmin: -1, qmax: 0, offset: 0.5}],
    ['8 bits, most bins empty', {qmin: -128, qmax: 127, offset: 0}],
  ];
  test.each(grids)('%s: value and gradient against the definition, one step or one a channel', (_, grid) => {
    const w = randomTensor([3, 3, 2, 5], 5);
    for (const scale of [tf.scalar(0.43), tf.tensor1d([0.2, 0.37, 0.9, 0.11, 0.61])]) {
      const own = [...scale.dataSync()];
      const at = [...w.dataSync()];
      const steps = at.map((_, i) => own[i % own.length]!);
      const q = at.map((value, i) => {
        const z = value / steps[i]! - grid.offset;
        return Math.min(Math.max(Math.round(z), grid.qmin), grid.qmax);
      });
      const f = (w: readonly number[]): number => binRegularizer64(w, steps, q, grid.offset);
      const {value, grad} = tf.valueAndGrad((w) => binRegularizer(w, scale, grid))(w);
      const step = 1e-6;
      expectClose(value, [f(at)], {relative: 1e-4});
      expectClose(
        grad,
        at.map((value, i) => (f(at.with(i, value + step)) - f(at.with(i, value - step))) / (2 * step)),
        {absolute: 1e-4, relative: 1e-4},
      );
    }
  });

  test('a bin with one weight or none adds exactly 0 to the variance term', () => {
    const grid = {qmin: -2, qmax: 1, offset: 0} as const;
    const alone = tf.tensor1d([-2, -1, 0, 1]);
    expect(binRegularizer(alone, tf.scalar(1), grid).dataSync()[0]).toBe(0);
    const oneBinOfTwo = tf.tensor1d([0.75, 1.25, -2]);
    // mean of (0.25², 0.25², 0), and ⅔ of the unbiased variance of 0.75 and 1.25, in units of a step of 2 squared
    expectClose(binRegularizer(tf.mul(oneBinOfTwo, 2), tf.scalar(2), grid), [4 * (0.125 / 3 + (2 / 3) * 0.125)]);
  });
});
