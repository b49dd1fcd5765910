import {readFileSync} from 'node:fs';

import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import type {YoloHeads} from '../../../../src/detection/decode.ts';
import {detection} from '../../../../src/plugins/tasks/detection.ts';
import type {LossOptions} from '../../../../src/detection/head-loss.ts';
import {detectionTask} from '../../../../src/plugins/tasks/detection-task.ts';
import {detectionDistillation, detectionLoss} from '../../../../src/plugins/tasks/detection-loss.ts';
import type {DistillationOptions} from '../../../../src/sdq/distillation.ts';
import {useCpuBackend} from '../../../helpers/cpu-backend.ts';

useCpuBackend();

interface Expected {
  readonly value: number;
  readonly gradients: readonly (readonly number[])[];
}

/** By PyTorch, box by box: make_loss.py beside it. */
const fixture = JSON.parse(readFileSync('test/fixtures/detection/loss.json', 'utf8')) as {
  readonly heads: YoloHeads;
  readonly options: LossOptions;
  readonly distillationOptions: DistillationOptions;
  readonly shapes: readonly [number, number, number, number][];
  readonly outputs: readonly number[][];
  readonly teacher: readonly number[][];
  readonly truth: number[][][];
  readonly loss: Expected;
  readonly distillation: Expected;
};
const {heads, options, shapes} = fixture;
const tensors = (arrays: readonly number[][]): tf.Tensor[] =>
  arrays.map((values, index) => tf.tensor4d(values, shapes[index]));

describe('value and gradients equal PyTorch’s', () => {
  test.each(['loss', 'distillation'] as const)('%s', (name) => {
    const truth = tf.tensor3d(fixture.truth);
    const teacher = tensors(fixture.teacher);
    const {value, grads} = tf.valueAndGrads((...outputs: tf.Tensor[]) =>
      name === 'loss'
        ? (detectionLoss(outputs, truth, heads, options) as tf.Scalar)
        : (detectionDistillation(outputs, teacher, truth, heads, {
            ...options,
            ...fixture.distillationOptions,
          }) as tf.Scalar),
    )(tensors(fixture.outputs));
    expect(value.dataSync()[0]! / fixture[name].value).toBeCloseTo(1, 6);
    grads.forEach((gradient, index) => {
      const expected = fixture[name].gradients[index]!;
      const largest = Math.max(...gradient.dataSync().map((each, i) => Math.abs(each - expected[i]!)));
      expect(gradient.size).toBe(expected.length);
      expect(largest).toBeLessThan(2e-6);
    });
  });
});

test('the loss of a split is that of its images, of PyTorch too', () => {
  const meter = detectionTask(heads, {...options, minScore: 0.1, nmsIou: 0.5}).meter();
  const most = fixture.truth[0]!.length;
  const values = Float32Array.from(fixture.truth.flat(2));
  meter.add(
    fixture.outputs.map((output) => Float32Array.from(output)),
    {
      labels: new Int32Array(2),
      boxes: {most, values},
    },
  );
  expect(meter.result().loss / fixture.loss.value).toBeCloseTo(1, 6);
});

describe('outputs of any size give a finite loss and finite gradients', () => {
  // Signs in a pattern that is another one for each of the numbers of a box.
  const far = (size: number): tf.Tensor[] =>
    shapes.map((shape) =>
      tf.tensor4d(
        Array.from({length: shape.reduce((a, b) => a * b)}, (_, i) =>
          ((i * 2654435761) >>> 13) % 2 === 0 ? -size : size,
        ),
        shape,
      ),
    );
  const truth = tf.tensor3d(fixture.truth);
  const isFinite = (x: tf.Tensor): boolean => x.dataSync().every(Number.isFinite);

  test.each([12, 100, 1e4])('±%d', (size) => {
    const loss = tf.valueAndGrads(
      (...outputs: tf.Tensor[]) => detectionLoss(outputs, truth, heads, options) as tf.Scalar,
    )(far(size));
    expect([loss.value, ...loss.grads].map(isFinite)).toEqual([true, true, true]);
    const meter = detectionTask(heads, {...options, minScore: 0.1, nmsIou: 0.5}).meter();
    const values = Float32Array.from(fixture.truth.flat(2));
    meter.add(
      far(size).map((output) => output.dataSync<'float32'>()),
      {labels: new Int32Array(2), boxes: {most: fixture.truth[0]!.length, values}},
    );
    expect(loss.value.dataSync()[0]! / meter.result().loss).toBeCloseTo(1, 4);
    const distilled = tf.valueAndGrads(
      (...outputs: tf.Tensor[]) =>
        detectionDistillation(outputs, far(-size), truth, heads, {
          ...options,
          ...fixture.distillationOptions,
        }) as tf.Scalar,
    )(far(size));
    expect([distilled.value, ...distilled.grads].map(isFinite)).toEqual([true, true, true]);
  });
});

test('images without an object, and more padding, change nothing but the mean over images', () => {
  const [first] = fixture.truth as [number[][], number[][]];
  const one = tensors(fixture.outputs).map((output) => tf.slice(output, 0, 1));
  const padding = [-1, 0, 0, 0, 0, 0];
  const short = detectionLoss(one, tf.tensor3d([first]), heads, options).dataSync()[0]!;
  const padded = detectionLoss(one, tf.tensor3d([[padding, ...first, padding]]), heads, options).dataSync()[0]!;
  expect(padded).toBeCloseTo(short, 5);
  const empty = detectionLoss(one, tf.tensor3d([[padding]]), heads, options).dataSync()[0]!;
  expect(Number.isFinite(empty)).toBe(true);
});

describe('the definition', () => {
  const outputs = [
    {name: 'fine', shape: [24, 26, 26]},
    {name: 'coarse', shape: [24, 13, 13]},
    {name: 'row', shape: [10]},
  ];

  test('takes the grids of a network, the coarsest first', () => {
    expect(detection.chooseOutputs?.(outputs, {}, 3)).toEqual({names: ['coarse', 'fine']});
    expect(() => detection.chooseOutputs?.(outputs, {}, 4)).toThrow(
      /2 outputs .* of 3 × \(5 \+ 4\) and 3 × \(5 \+ 4\)/,
    );
    expect(() => detection.chooseOutputs?.(outputs.slice(1), {}, 3)).toThrow(
      'The network has "coarse" [N, 24, 13, 13]',
    );
  });

  test('refuses a data set without boxes, and masks of anchors that are not there', async () => {
    expect(() => detection.outputs({name: 'made', classes: ['a']}, {})).toThrow('has none');
    const context = {classes: 1, inputShape: [3, 64, 64]};
    await expect(detection.load({anchors: [[1, 1]], masks: [[1]]}, context)).rejects.toThrow('names anchor 1');
    await expect(detection.load({anchors: 'kmeans'}, context)).rejects.toThrow('boxes of 0');
  });

  test('an object of the shape of an anchor that no mask names belongs to the most similar one that is used', async () => {
    const task = await detection.load({}, {classes: 1, inputShape: [3, 64, 64]});
    // Darknet's anchor 0, 10 × 14, is in no mask.
    expect(task.heads?.anchors.map(([width]) => width)).toEqual([23, 37, 81, 135, 344]);
    expect(task.heads?.masks).toEqual([
      [2, 3, 4],
      [0, 1, 2],
    ]);
    const boxes = tf.tensor3d([[[0, 0.5, 0.5, 10 / 64, 14 / 64, 0]]]);
    const gradient = tf.grad((fine: tf.Tensor) =>
      task.loss([tf.zeros([1, 18, 2, 2]), fine], {labels: tf.zeros([1]), boxes}),
    )(tf.zeros([1, 18, 4, 4]));
    const objectness = tf.slice(gradient, [0, 4, 0, 0], [1, 1, 4, 4]).dataSync<'float32'>();
    expect(objectness.filter((value) => value < 0)).toEqual(Float32Array.of(-0.5));
    expect(objectness[2 * 4 + 2]).toBe(-0.5);
  });

  test('judges by mAP, with the boxes of the outputs', async () => {
    const task = await detection.load({anchors: [[16, 16]], masks: [[0]]}, {classes: 2, inputShape: [3, 64, 64]});
    // 2 × 2 cells; the first image has an object of class 1 in its last cell, the second one of class 0 that is not seen.
    const output = new Float32Array(2 * 7 * 4).fill(-20);
    [0, 0, 0, 0, 20, -20, 20].forEach((value, k) => (output[k * 4 + 3] = value));
    const meter = task.meter();
    meter.add([output], {
      labels: new Int32Array(2),
      boxes: {
        most: 2,
        values: Float32Array.of(
          1,
          0.75,
          0.75,
          0.25,
          0.2,
          0,
          -1,
          0,
          0,
          0,
          0,
          0,
          0,
          0.2,
          0.2,
          0.1,
          0.1,
          0,
          0,
          0.5,
          0.5,
          1,
          1,
          1,
        ),
      },
    });
    // The box of 16 × 16 pixels overlaps the object by 0.8: right at 7 of the 10 IoUs, and at 0.5; the other class has none.
    const {map, map50} = meter.result();
    expect(map50).toBeCloseTo(0.5, 9);
    expect(map).toBeCloseTo(0.35, 9);
  });
});
