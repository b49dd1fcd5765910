import {expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import type {Network} from '../../../src/graph/network.ts';
import {classification} from '../../../src/plugins/tasks/classification.ts';
import {evaluate} from '../../../src/training/evaluate.ts';
import {arraySource} from '../../helpers/array-source.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';

const classificationTask = await classification.load({}, {classes: 10, inputShape: [3, 32, 32]});

useCpuBackend();

/** A network whose outputs are its inputs: [1, 1, classes] images are the logits. */
function outputs(classes: number): Network {
  return {
    graph: {input: {name: 'input', shape: [classes, 1, 1]}},
    outputs: (x: tf.Tensor, {training}: {training: boolean}) => {
      expect(training).toBe(false);
      return [tf.reshape(x, [-1, classes])];
    },
  } as unknown as Network;
}

/** Batches of the given sizes out of consecutive rows of logits. */
function rows(sizes: readonly number[], logits: readonly (readonly number[])[], labels: readonly number[]) {
  const start = (index: number): number => sizes.slice(0, index).reduce((sum, size) => sum + size, 0);
  return arraySource(sizes, (_, index, size) => ({
    images: Float32Array.from(logits.slice(start(index), start(index) + size).flat()),
    labels: Int32Array.from(labels.slice(start(index), start(index) + size)),
  }));
}

test('top-1, top-5 and mean loss over whole and partial batches', async () => {
  const ramp = [7, 6, 5, 4, 3, 2, 1];
  const source = rows([2, 2, 1], [ramp, ramp, ramp, ramp, ramp], [0, 1, 4, 5, 6]);
  const progress: [number, number][] = [];
  const result = await evaluate(outputs(7), classificationTask, source, {}, (done, total) =>
    progress.push([done, total]),
  );
  expect(result.accuracy).toBe(1 / 5);
  expect(result.top5).toBe(3 / 5);
  expect(result.samples).toBe(5);
  const logSum = Math.log(ramp.reduce((sum, logit) => sum + Math.exp(logit), 0));
  expect(result.loss).toBeCloseTo(logSum - (7 + 6 + 3 + 2 + 1) / 5, 6);
  expect(progress).toEqual([
    [1, 3],
    [2, 3],
    [3, 3],
  ]);
});

test('a signal ends it with its reason before the next batch', async () => {
  const stop = new AbortController();
  const reason = new Error('enough');
  let done = 0;
  const source = rows([1, 1, 1], [[0], [0], [0]], [0, 0, 0]);
  const progress = (batches: number): void => {
    done = batches;
    if (batches === 2) stop.abort(reason);
  };
  const {numTensors} = tf.memory();
  await expect(evaluate(outputs(1), classificationTask, source, {}, progress, stop.signal)).rejects.toBe(reason);
  expect(done).toBe(2);
  expect(tf.memory().numTensors).toBe(numTensors);
});

test('equal outputs go to the lower index; NaN is never right; huge outputs keep the loss finite', async () => {
  const source = rows(
    [3, 2],
    [
      [1, 1],
      [1, 1],
      [NaN, 0],
      [0, NaN],
      [1e30, -1e30],
    ],
    [0, 1, 0, 0, 0],
  );
  const result = await evaluate(outputs(2), classificationTask, source);
  expect(result.accuracy).toBe(2 / 5);
  expect(result.top5).toBe(4 / 5);
  const finite = await evaluate(outputs(2), classificationTask, rows([1], [[1e30, -1e30]], [0]));
  expect(finite.loss).toBe(0);
});

test('leaves no tensor behind', async () => {
  const before = tf.memory().numTensors;
  await evaluate(
    outputs(2),
    classificationTask,
    rows(
      [2],
      [
        [1, 2],
        [3, 4],
      ],
      [0, 1],
    ),
  );
  expect(tf.memory().numTensors).toBe(before);
});
