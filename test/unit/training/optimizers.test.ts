import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {
  createOptimizer,
  disposeState,
  exportMoments,
  importMoments,
  type OptimizerOptions,
  type TrainedParameter,
} from '../../../src/training/optimizers.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose} from '../../helpers/gradient-check.ts';

useCpuBackend();

const sgd: OptimizerOptions = {
  name: 'sgd',
  learningRate: 0.1,
  momentum: 0.9,
  nesterov: false,
  weightDecay: 0.5,
  beta1: 0.9,
  beta2: 0.999,
};

function parameter(name: string, values: number[], decays = true, rateFactor = 1): TrainedParameter {
  return {name, variable: tf.variable(tf.tensor1d(values)), decays, rateFactor};
}

describe('update', () => {
  test('weight decay spares what does not decay, and each parameter has its own rate', () => {
    const weight = parameter('weight', [1]);
    const beta = parameter('beta', [1], false);
    const step = parameter('step', [1], false, 0.1);
    const parameters = [weight, beta, step];
    const optimizer = createOptimizer(sgd);
    const gradients = new Map(parameters.map(({name}) => [name, tf.tensor1d([1])]));
    optimizer.update(parameters, gradients, optimizer.init(parameters), 1);
    expectClose(weight.variable, [1 - 0.1 * 1.5]);
    expectClose(beta.variable, [1 - 0.1]);
    expectClose(step.variable, [1 - 0.01]);
  });

  test('the schedule scales the learning rate', () => {
    const p = parameter('p', [1], false);
    const optimizer = createOptimizer(sgd);
    optimizer.update([p], new Map([['p', tf.tensor1d([2])]]), optimizer.init([p]), 0.25);
    expectClose(p.variable, [1 - 0.1 * 0.25 * 2]);
  });

  test('an update changes a step or range by a quarter at most, in either direction, and never its sign', () => {
    const optimizer = createOptimizer({...sgd, momentum: 0, learningRate: 1});
    const steps = {...parameter('steps', [1, 1, 1, 2], false), isPositive: true};
    const state = optimizer.init([steps]);
    optimizer.update([steps], new Map([['steps', tf.tensor1d([100, -100, 0.1, 0.3])]]), state, 1);
    [0.8, 1.25, 0.9, 1.7].forEach((value, i) => expect(steps.variable.dataSync()[i]).toBeCloseTo(value, 6));
  });

  test('a parameter without a gradient keeps its value and its state', () => {
    const [p, q] = [parameter('p', [1]), parameter('q', [1])];
    const optimizer = createOptimizer(sgd);
    const gradient = tf.tensor1d([1]);
    let state = optimizer.init([p, q]);
    state = optimizer.update([p, q], new Map([['q', gradient]]), state, 1);
    const q1 = q.variable.dataSync()[0]!;
    state = optimizer.update([p, q], new Map([['p', gradient]]), state, 1);
    expectClose(p.variable, [1 - 0.1 * 1.5]);
    expect(q.variable.dataSync()[0]).toBe(q1);
    expectClose(state.moments.get('q')![0]!, [1.5]);
  });

  test.each<[OptimizerOptions['name'], number]>([
    // Decay 0.5 of p = 1 joins the gradient 1; the first step of Adam is then the learning rate all the same.
    ['adam', 1 - 0.1],
    ['adamw', 1 * (1 - 0.1 * 0.5) - 0.1],
  ])('%s: the first step', (name, expected) => {
    const p = parameter('p', [1]);
    const optimizer = createOptimizer({...sgd, name});
    const state = optimizer.update([p], new Map([['p', tf.tensor1d([1])]]), optimizer.init([p]), 1);
    expectClose(p.variable, [expected]);
    expect(state.step).toBe(1);
  });

  test.each<OptimizerOptions['name']>(['sgd', 'adam', 'adamw'])('%s finds the minimum of a parabola', (name) => {
    const p = parameter('p', [5, -3]);
    const optimizer = createOptimizer({...sgd, name, weightDecay: 0});
    let state = optimizer.init([p]);
    for (let step = 0; step < 400; step++) {
      const gradient = tf.mul(tf.sub(p.variable, tf.tensor1d([1, 2])), 2);
      state = optimizer.update([p], new Map([['p', gradient]]), state, 1 - step / 400);
    }
    expectClose(p.variable, [1, 2], {absolute: 1e-2});
  });

  test('no tensor is left behind', () => {
    const p = parameter('p', [1, 2, 3]);
    const gradients = new Map([['p', tf.tensor1d([1, 1, 1])]]);
    const optimizer = createOptimizer({...sgd, name: 'adam'});
    const before = tf.memory().numTensors;
    let state = optimizer.init([p]);
    for (let step = 0; step < 3; step++) state = optimizer.update([p], gradients, state, 1);
    expect(tf.memory().numTensors).toBe(before + 2);
    disposeState(state);
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('state in a checkpoint', () => {
  const optimizer = createOptimizer({...sgd, name: 'adam'});

  test('an imported state continues to the same bits', async () => {
    const run = (p: TrainedParameter, from: number, to: number, state = optimizer.init([p])) => {
      for (let step = from; step < to; step++) {
        const gradient = tf.sin(tf.add(p.variable, step));
        state = optimizer.update([p], new Map([['p', gradient]]), state, 1);
      }
      return state;
    };
    const whole = parameter('p', [0.3, -0.7, 2]);
    run(whole, 0, 7);
    const first = parameter('p', [0.3, -0.7, 2]);
    const state = run(first, 0, 4);
    const arrays = await exportMoments(optimizer, state);
    expect([...arrays.keys()]).toEqual(['p/m', 'p/v']);
    const second = parameter('p', [...first.variable.dataSync()]);
    run(second, 4, 7, importMoments(optimizer, [second], state.step, arrays, 'x.safetensors'));
    expect(second.variable.dataSync()).toEqual(whole.variable.dataSync());
  });

  const good = (): Map<string, {shape: number[]; data: Float32Array}> =>
    new Map(['p/m', 'p/v'].map((name) => [name, {shape: [2], data: new Float32Array(2)}]));
  test.each<[string, (arrays: ReturnType<typeof good>) => unknown, string]>([
    ['missing', (arrays) => arrays.delete('p/v'), '"p/v" is missing'],
    ['of another shape', (arrays) => arrays.set('p/m', {shape: [1, 2], data: new Float32Array(2)}), '[1, 2]'],
    ['left over', (arrays) => arrays.set('q/m', {shape: [2], data: new Float32Array(2)}), '"q/m"'],
  ])('an array that is %s is refused by name', (_, spoil, message) => {
    const arrays = good();
    spoil(arrays);
    const load = (): unknown => importMoments(optimizer, [parameter('p', [1, 2])], 1, arrays, 'x.safetensors');
    expect(load).toThrow(message);
    expect(load).toThrow('x.safetensors');
  });
});
