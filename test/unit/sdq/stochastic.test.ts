import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {dorefa} from '../../../src/plugins/quantizers/dorefa.ts';
import {entropy} from '../../../src/plugins/quantizers/entropy.ts';
import {weightQuantizers} from '../../../src/plugins/quantizers/index.ts';
import {symmetric} from '../../../src/plugins/quantizers/symmetric.ts';
import {sigmoid} from '../../../src/sdq/dbp.ts';
import {initSearch, type DbpProblem} from '../../../src/sdq/search/dbp-state.ts';
import {advanceSearch, planStep} from '../../../src/sdq/search/dbp-step.ts';
import {createBudget} from '../../../src/sdq/search/problem.ts';
import {searchInput, searchWeights} from '../../../src/sdq/stochastic.ts';
import {quantizationErrors, quantizeWeights} from '../../../src/sdq/weight-quantizer.ts';
import type {InputQuantizer} from '../../../src/graph/network.ts';
import {uniform} from '../../../src/random.ts';
import {fakeQuantize} from '../../../src/tensor/fake-quantize.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose, randomTensor} from '../../helpers/gradient-check.ts';

useCpuBackend();

const exact = {absolute: 0, relative: 0};

const loaded = await Promise.all(
  weightQuantizers.map(async (definition) => [definition.name, await definition.load()] as const),
);

describe.each(loaded)('%s', (_, quantizer) => {
  test('a draw gives exactly one of the two quantizers', () => {
    const w = randomTensor([3, 3, 2, 5], 1);
    for (const [high, low] of [
      [8, 7],
      [4, 2],
      [2, 1],
    ] as const) {
      const at = (share: number): tf.Tensor => searchWeights(w, quantizer, {high, low, share}, tf.scalar(1), 5);
      expectClose(at(1), quantizeWeights(w, quantizer, high, 5).dataSync(), exact);
      expectClose(at(0), quantizeWeights(w, quantizer, low, 5).dataSync(), exact);
      expect(at(1).shape).toEqual(w.shape);
    }
  });

  test('a mix is the mean of both by its share', () => {
    const w = randomTensor([7, 3], 2);
    const [upper, lower] = [5, 3].map((bits) => quantizeWeights(w, quantizer, bits, 3).dataSync<'float32'>());
    expectClose(
      searchWeights(w, quantizer, {high: 5, low: 3, share: 0.3}, tf.scalar(1), 3),
      upper!.map((value, i) => 0.3 * value + 0.7 * lower![i]!),
    );
  });

  test.each([1, 0, 0.3])('share %d: the indicator’s gradient is ⟨∂L/∂w^q, Q_high − Q_low⟩', (share) => {
    const w = randomTensor([3, 3, 4, 1], 3);
    const dy = randomTensor([3, 3, 4, 1], 4);
    const f = (w: tf.Tensor, indicator: tf.Tensor): tf.Tensor =>
      searchWeights(w, quantizer, {high: 4, low: 3, share}, indicator, 4);
    const [, dshare] = tf.grads(f)([w, tf.scalar(0.5)], dy);
    const [upper, lower] = [4, 3].map((bits) => quantizeWeights(w, quantizer, bits, 4).dataSync());
    const expected = dy.dataSync<'float32'>().reduce((sum, value, i) => sum + value * (upper![i]! - lower![i]!), 0);
    expectClose(dshare!, [expected]);
  });

  test.each([1, 0])('share %d: the weights’ gradient is that of the quantizer drawn', (share) => {
    const w = randomTensor([6, 3], 5);
    const dy = randomTensor([6, 3], 6);
    const drawn = (w: tf.Tensor): tf.Tensor => searchWeights(w, quantizer, {high: 3, low: 1, share}, tf.scalar(1), 3);
    const alone = (w: tf.Tensor): tf.Tensor => quantizeWeights(w, quantizer, share === 1 ? 3 : 1, 3);
    expectClose(tf.grad(drawn)(w, dy), tf.grad(alone)(w, dy).dataSync(), exact);
  });
});

test('symmetric: the straight-through gradient reaches every weight unchanged', () => {
  const [w, dy] = [randomTensor([6, 3], 5), randomTensor([6, 3], 6)];
  for (const share of [1, 0, 0.4]) {
    const f = (w: tf.Tensor): tf.Tensor => searchWeights(w, symmetric, {high: 2, low: 1, share}, tf.scalar(1), 3);
    expectClose(tf.grad(f)(w, dy), dy.dataSync());
  }
});

test('entropy, mix: each quantizer passes the gradient where its own range holds the weight', () => {
  // mean|w| = 1, so s is 1 at one bit and 1.5 at two: 0.4 is inside both, 1.2 inside the wider, ±1.6 and -0.8 …
  const w = tf.tensor2d([0.4, 1.2, -1.6, -0.8], [4, 1]);
  const f = (w: tf.Tensor): tf.Tensor => searchWeights(w, entropy, {high: 2, low: 1, share: 0.25}, tf.scalar(1), 1);
  expectClose(tf.grad(f)(w, tf.ones([4, 1])), [1, 0.25, 0, 1]);
});

test('a layer at its lowest candidate is quantized to it and gives its indicator no gradient', () => {
  const w = tf.variable(randomTensor([4, 2], 1));
  const indicator = tf.variable(tf.scalar(1));
  const loss = (): tf.Scalar => tf.sum(searchWeights(w, symmetric, {high: 1, low: null, share: 1}, indicator, 2));
  expectClose(loss(), [[...quantizeWeights(w, symmetric, 1, 2).dataSync()].reduce((a, b) => a + b, 0)]);
  expect(tf.variableGrads(loss, [w, indicator]).grads[indicator.name]).toBeFalsy();
  tf.dispose([w, indicator]);
});

test('the gradient of θ: the analytic straight-through form at the fixed noise, and finite differences of the relaxed form', () => {
  // One layer whose loss is linear in its weights, L = Σ g·w^q: with the relaxed c in place of the draw,
  // L(θ) = Σ g·(c Q_high + (1 − c) Q_low), which is smooth in θ.
  const [seed, tau, theta] = [3, 0.7, 0.4];
  const w = randomTensor([5, 4], 9);
  const g = randomTensor([5, 4], 10);
  const problem: DbpProblem = {
    forward: 'draw',
    layers: [{name: 'a', pinned: false}],
    decisions: [{layers: [0], candidates: [{weightBits: 2}, {weightBits: 3}]}],
    budgets: [createBudget('meanWeightBits', 2, [{decisions: [0], table: [2, 3]}])],
    steps: 100,
    seed,
    dbp: {learningRate: 0.1, thetaInit: theta, betaThreshold: 0.01, tauStart: tau, tauEnd: tau},
    dualRate: 0,
    rampFraction: 0.85,
    quantizationErrorWeight: 0,
  };
  const state = initSearch(problem);
  const plan = planStep(problem, state);
  const f = (indicator: tf.Tensor): tf.Tensor =>
    tf.sum(tf.mul(g, searchWeights(w, symmetric, {high: 3, low: 2, share: plan[0]!.share}, indicator, 4)));
  const shares = [...tf.grad(f)(tf.scalar(1)).dataSync()];

  const u = uniform(seed, 'gumbel', 0, 0)();
  const [upper, lower] = [3, 2].map((bits) => [...quantizeWeights(w, symmetric, bits, 4).dataSync()]);
  const gradient = [...g.dataSync()];
  const relaxed = (theta: number): number => {
    const c = sigmoid((theta + Math.log(u / (1 - u))) / tau);
    return gradient.reduce((sum, value, i) => sum + value * (c * upper![i]! + (1 - c) * lower![i]!), 0);
  };
  const numeric = (relaxed(theta + 1e-5) - relaxed(theta - 1e-5)) / 2e-5;
  expect(shares[0]! * plan[0]!.slope).toBeCloseTo(numeric, 5);
  // Adam's first moment after one step is a tenth of the gradient it was given.
  const next = advanceSearch(problem, state, plan, {shares}).state;
  expect(next.decisions[0]!.dbp.m / 0.1).toBeCloseTo(numeric, 5);
});

describe('inputs', () => {
  const rule = {input: 'clipped', scale: 'lsq', gradientScale: 0.3} as const;
  const quantizerAt = (bits: number, scale: tf.Tensor): InputQuantizer => ({
    grid: {qmin: 0, qmax: 2 ** bits - 1, offset: 0},
    scale,
    rule,
  });
  const [x, dy] = [randomTensor([3, 5, 5, 2], 21), randomTensor([3, 5, 5, 2], 22)];
  const [upper, lower] = [0.05, 0.4].map((step) => tf.scalar(step)) as [tf.Scalar, tf.Scalar];
  const between = (share: number) => (x: tf.Tensor, indicator: tf.Tensor, high: tf.Tensor, low: tf.Tensor) =>
    searchInput(x, quantizerAt(4, high), quantizerAt(2, low), share, indicator);
  const alone = (bits: number) => (x: tf.Tensor, scale: tf.Tensor) => {
    const {grid} = quantizerAt(bits, scale);
    return fakeQuantize(x, scale, grid, rule);
  };

  test.each([
    [1, 4],
    [0, 2],
  ] as const)('a share of %d is the fake-quantizer at %d bits, with its gradients', (share, bits) => {
    const scale = share === 1 ? upper : lower;
    expectClose(between(share)(x, tf.scalar(1), upper, lower), alone(bits)(x, scale).dataSync(), exact);
    const drawn = (x: tf.Tensor, scale: tf.Tensor): tf.Tensor =>
      between(share)(x, tf.scalar(1), share === 1 ? scale : upper, share === 1 ? lower : scale);
    const [dx, dscale] = tf.grads(drawn)([x, scale], dy);
    const [expectedX, expectedScale] = tf.grads(alone(bits))([x, scale], dy);
    expectClose(dx!, expectedX!.dataSync(), exact);
    expectClose(dscale!, expectedScale!.dataSync(), exact);
  });

  test('a mix is the mean of both by its share, and so are its gradients', () => {
    const [high, low] = [alone(4)(x, upper).dataSync<'float32'>(), alone(2)(x, lower).dataSync()];
    expectClose(
      between(0.3)(x, tf.scalar(1), upper, lower),
      high.map((value, i) => 0.3 * value + 0.7 * low[i]!),
    );
    const [dx, , dupper, dlower] = tf.grads(between(0.3))([x, tf.scalar(1), upper, lower], dy);
    const [highX, highScale] = tf.grads(alone(4))([x, upper], tf.mul(dy, 0.3));
    const [lowX, lowScale] = tf.grads(alone(2))([x, lower], tf.mul(dy, 0.7));
    expectClose(dx!, tf.add(highX!, lowX!).dataSync());
    expectClose(dupper!, highScale!.dataSync());
    expectClose(dlower!, lowScale!.dataSync());
  });
});

test('quantization errors are ‖w − Q(w)‖² / ‖w‖² in the quantizer’s space', () => {
  const w = randomTensor([8, 3], 4);
  for (const quantizer of [symmetric, dorefa]) {
    const t = quantizer.transform(w).dataSync<'float32'>();
    const power = t.reduce((sum, value) => sum + value ** 2, 0);
    const expected = [4, 2].map((bits) => {
      const q = quantizeWeights(w, quantizer, bits, 3).dataSync();
      return t.reduce((sum, value, i) => sum + (value - q[i]!) ** 2, 0) / power;
    });
    expectClose(quantizationErrors(w, quantizer, [4, 2], 3), expected);
  }
  expectClose(quantizationErrors(tf.zeros([2, 2]), symmetric, [3], 2), [0]);
});
