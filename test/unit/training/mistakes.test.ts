/** Mistakes of a classifier, on logits small enough to judge by hand. */
import {expect, test} from '@jest/globals';

import {countMistakes} from '../../../src/training/mistakes.ts';

const batch = (labels: readonly number[], first = 0) => ({
  labels: Int32Array.from(labels),
  images: Float32Array.from(labels.flatMap((_, i) => [first + i, -(first + i)])),
});

test('pairs of classes over batches, and the worst images in order, with their own pixels', () => {
  const counter = countMistakes(2);
  // Softmax of [0, ln 3] is [1/4, 3/4]; of [ln 9, 0] it is [9/10, 1/10].
  counter.add([Float32Array.from([0, Math.log(3), Math.log(9), 0, 0, Math.log(3)])], batch([0, 1, 1]));
  counter.add([Float32Array.from([0, Math.log(2)])], batch([0], 3));
  const {confusion, samples, worst} = counter.result();
  expect(samples).toBe(4);
  expect(confusion).toEqual([
    [0, 1, 2],
    [1, 0, 1],
    [1, 1, 1],
  ]);
  // Image 1: its class has 1/10; image 0: 1/4; image 3: 1/3, which the limit of two leaves out.
  expect(worst.map(({index, actual, predicted}) => [index, actual, predicted])).toEqual([
    [1, 1, 0],
    [0, 0, 1],
  ]);
  expect(worst[0]!.probability).toBeCloseTo(0.9, 6);
  expect(worst[1]!.probability).toBeCloseTo(0.75, 6);
  expect([...worst[0]!.pixels]).toEqual([1, -1]);
  expect([...worst[1]!.pixels]).toEqual([0, -0]);
});

test('equal outputs count for the first class; a batch buffer that is used again changes nothing', () => {
  const counter = countMistakes(5);
  const shared = batch([2], 7);
  counter.add([Float32Array.of(1, 1, 1)], shared);
  shared.images.fill(0);
  const {confusion, worst} = counter.result();
  expect(confusion).toEqual([[2, 0, 1]]);
  expect([...worst[0]!.pixels]).toEqual([7, -7]);
});
