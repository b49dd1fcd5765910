/** Scores from gradients, against sums written out for a network of two layers. */

import {expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder} from '../../../../src/graph/builder.ts';
import {createNetwork, type Network} from '../../../../src/graph/network.ts';
import type {SearchContext, SearchSettings} from '../../../../src/plugin-api/searcher.ts';
import {lsq} from '../../../../src/plugins/quantizers/lsq.ts';
import {narrow} from '../../../../src/plugins/quantizers/narrow.ts';
import {interpolation} from '../../../../src/plugins/searchers/interpolation.ts';
import {sdq} from '../../../../src/plugins/searchers/sdq.ts';
import {hessianScores, taylorScores} from '../../../../src/plugins/searchers/sensitivity/gradient-scores.ts';
import {sensitivity} from '../../../../src/plugins/searchers/sensitivity/index.ts';
import {uniform} from '../../../../src/random.ts';
import {searchSpace} from '../../../../src/sdq/search/space.ts';
import {descend} from '../../../../src/training/gradient-descent.ts';
import {networkParameters} from '../../../../src/training/optimizers.ts';
import {useCpuBackend} from '../../../helpers/cpu-backend.ts';

useCpuBackend();

const draw = uniform(3, 'bench');
const numbers = (count: number): number[] => Array.from({length: count}, () => 2 * draw() - 1);
const [features, hidden, outputs] = [3, 4, 2] as const;
/** ONNX's layout: [out, in]. */
const first = numbers(hidden * features);
const second = numbers(outputs * hidden);
const samples = Array.from({length: 6}, () => numbers(features));
const targets = samples.map(() => numbers(outputs));

function network(): Network {
  const net = graphBuilder('two', [features]);
  const a = net.linear('a', net.input, {features: hidden});
  const graph = net.build(net.linear('b', a, {features: outputs}));
  const values = new Map(
    graph.parameters.map(({name, shape}) => {
      const data = name.startsWith('a.weight') ? first : name.startsWith('b.weight') ? second : shape.map(() => 0);
      const size = shape.reduce((product, axis) => product * axis, 1);
      return [name, {shape, data: Float32Array.from({length: size}, (_, i) => data[i] ?? 0)}] as const;
    }),
  );
  return createNetwork(graph, values);
}

/** Half the squared error, batches of `size` samples. */
function contextOf(net: Network, size: number, candidates: number[], activationBits: number[] | number): SearchContext {
  const space = searchSpace(['a', 'b'], {candidates, activationBits, pinned: new Map()});
  return {
    network: net,
    problem: {...space, budgets: [], steps: 0, seed: 0},
    quantizers: {weights: narrow, activations: lsq, signedActivations: lsq},
    progress: () => undefined,
    async sampleGradients(_images, forward, visit) {
      for (let i = 0; i < samples.length; i += size) {
        const x = tf.tidy(() => tf.variable(tf.tensor2d(samples.slice(i, i + size))));
        const y = tf.tensor2d(targets.slice(i, i + size));
        await descend(
          [...networkParameters(net), {name: '', variable: x}],
          () => {
            const error = tf.sub(net.forward(x, {...forward, training: false}), y);
            return {loss: tf.div(tf.sum(tf.square(error)), 2 * size)};
          },
          (gradients) => visit(size, gradients),
        );
        tf.dispose([x, y]);
      }
    },
  } as Partial<SearchContext> as SearchContext;
}

const at = (matrix: readonly number[], width: number, row: number, column: number): number =>
  matrix[row * width + column]!;
const product = (matrix: readonly number[], width: number, x: readonly number[]): number[] =>
  Array.from({length: matrix.length / width}, (_, row) =>
    x.reduce((sum, v, i) => sum + at(matrix, width, row, i) * v, 0),
  );

/** Of each sample: the hidden values, the error of the outputs, and its gradient in the hidden values. */
const passes = samples.map((x, n) => {
  const h = product(first, features, x);
  const e = product(second, hidden, h).map((y, i) => y - targets[n]![i]!);
  const dh = h.map((_, j) => e.reduce((sum, v, k) => sum + v * at(second, hidden, k, j), 0));
  return {x, h, e, dh};
});

/** A row of weights on the grid of `narrow` at 2 bits: −s, 0, s. */
function rounded(row: readonly number[], factor: number): number[] {
  const step = factor * Math.sqrt(row.reduce((sum, w) => sum + w * w, 0) / row.length);
  return row.map((w) => step * Math.max(-1, Math.min(1, Math.round(w / step))));
}

const rows = (matrix: readonly number[], width: number): number[][] =>
  Array.from({length: matrix.length / width}, (_, row) => matrix.slice(row * width, (row + 1) * width));

test('taylor: ½ Σ E[g²] Δ² of weights, by sums over single samples', async () => {
  const net = network();
  const scores = await taylorScores(contextOf(net, 1, [2, 8], 32), new Map());
  const expected = [
    {matrix: rows(first, features), gradient: ({dh, x}: (typeof passes)[0]) => dh.map((d) => x.map((v) => d * v))},
    {matrix: rows(second, hidden), gradient: ({e, h}: (typeof passes)[0]) => e.map((d) => h.map((v) => d * v))},
  ].map(({gradient, matrix}) => {
    const errors = matrix.map((row) => rounded(row, 1.22401).map((q, i) => q - row[i]!));
    const sums = passes.map((pass) =>
      gradient(pass).reduce((sum, row, r) => sum + row.reduce((s, g, c) => s + (g * errors[r]![c]!) ** 2, 0), 0),
    );
    return sums.reduce((sum, value) => sum + value, 0) / (2 * samples.length);
  });
  expect(scores.map(([two]) => two)).toEqual(expected.map((value) => expect.closeTo(value, 5)));
  for (const [two, eight] of scores) expect(eight).toBeLessThan(two! / 100);
  net.dispose();
});

test('taylor of inputs: the gradient in each value of each sample, whatever the size of a batch', async () => {
  const net = network();
  const inputs = new Map([
    ['a', Float32Array.from(samples.flat())],
    ['b', Float32Array.from(passes.flatMap(({h}) => h))],
  ]);
  const before = tf.memory().numTensors;
  const [one, three] = [
    await taylorScores(contextOf(net, 1, [8], [1, 8]), inputs),
    await taylorScores(contextOf(net, 3, [8], [1, 8]), inputs),
  ];
  expect(tf.memory().numTensors).toBe(before);
  one.forEach((row, d) => row.forEach((score, c) => expect(three[d]![c]).toBeCloseTo(score, 5)));
  // At 1 bit an input is ±c, where c is what calibration chose: the same for all of its values.
  const dx = passes.map(({dh}) =>
    Array.from({length: features}, (_, i) => dh.reduce((sum, d, j) => sum + d * at(first, features, j, i), 0)),
  );
  const score = (c: number): number =>
    samples.reduce((sum, x, n) => sum + x.reduce((s, v, i) => s + (dx[n]![i]! * ((v < 0 ? -c : c) - v)) ** 2, 0), 0) /
    (2 * samples.length);
  const c = levelOf(samples.flat());
  const inputDecision = one.find((row) => row.length === 2)!;
  expect(inputDecision[0]).toBeCloseTo(score(c), 4);
  net.dispose();
});

/** The magnitude with the least Σ|x − ±c|^2.4, by a fine search. */
function levelOf(values: readonly number[]): number {
  let best = 0;
  let least = Infinity;
  for (let c = 0.001; c < 1.5; c += 0.001) {
    const error = values.reduce((sum, v) => sum + Math.abs(Math.abs(v) - c) ** 2.4, 0);
    if (error < least) [best, least] = [c, error];
  }
  return best;
}

test('hessian: the trace of the last layer is outputs times the sum of the squared inputs', async () => {
  const net = network();
  const scores = await hessianScores(contextOf(net, samples.length, [2, 8], 32));
  const trace = outputs * (passes.reduce((sum, {h}) => sum + h.reduce((s, v) => s + v * v, 0), 0) / samples.length);
  const error = rows(second, hidden).reduce(
    (sum, row) => sum + rounded(row, 1.22401).reduce((s, q, i) => s + (q - row[i]!) ** 2, 0),
    0,
  );
  const exact = ((trace / (outputs * hidden)) * error) / 2;
  // One direction: off-diagonal terms stay in it.
  expect(scores[1]![0]! / exact).toBeGreaterThan(0.2);
  expect(scores[1]![0]! / exact).toBeLessThan(5);
  net.dispose();
});

test('hessian of decisions about inputs is refused, where scores are used', () => {
  const settings = {activationBits: [4, 8], options: {score: 'hessian'}, start: 'highest'} as unknown as SearchSettings;
  const refused = expect.objectContaining({code: 'score-of-weights-only', oclif: {exit: 3}});
  expect(() => sensitivity.prepare!(settings)).toThrow(refused);
  expect(() => sdq.prepare!({...settings, start: 'sensitivity'})).toThrow(refused);
  expect(sdq.prepare!(settings)).toEqual(settings);
});

test.each([
  ['sdq', sdq, {}, 'sensitivity'],
  ['sdq from the highest candidates', sdq, {start: 'highest'}, 'highest'],
  ['sdq with strategies on the way', sdq, {pareto: 4}, 'highest'],
  ['interpolation', interpolation, {}, 'highest'],
] as const)('%s begins where the config says, else where the method does', (_, searcher, settings, start) => {
  expect(searcher.prepare!({activationBits: 32, pareto: 0, ...settings} as unknown as SearchSettings).start).toBe(
    start,
  );
});
