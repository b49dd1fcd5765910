import {readFileSync} from 'node:fs';

import {expect, test} from '@jest/globals';

import {detectionRecord} from '../../../src/detection/average-precision.ts';
import type {TrueBox} from '../../../src/detection/boxes.ts';
import type {Detection} from '../../../src/detection/decode.ts';

function judged(truth: readonly (readonly TrueBox[])[], found: readonly (readonly Detection[])[]) {
  const record = detectionRecord();
  truth.forEach((objects, image) => record.add(found[image] ?? [], objects));
  return record.result();
}

test('made detections with crowds, equal scores and more than 100 of a class: as pycocotools', () => {
  // make_coco.py beside it
  const fixture = JSON.parse(readFileSync('test/fixtures/detection/coco.json', 'utf8')) as {
    readonly truth: TrueBox[][];
    readonly found: Detection[][];
    readonly map: number;
    readonly map50: number;
  };
  const {map, map50} = judged(fixture.truth, fixture.found);
  expect(map).toBeCloseTo(fixture.map, 9);
  expect(map50).toBeCloseTo(fixture.map50, 9);
});

test('by hand: one object found twice, one missed', () => {
  const object = (x: number): TrueBox => ({class: 4, box: [x, 0, x + 1, 1], ignore: false});
  const at = (x: number, score: number): Detection => ({class: 4, score, box: [x, 0, x + 1, 1]});
  // Hit, then a second box of the same object: precision 1 up to recall 1/2, 51 of 101 recalls.
  const {map50, map, curves} = judged([[object(0), object(5)]], [[at(0.1, 0.8), at(0, 0.9)]]);
  expect(map50).toBeCloseTo(51 / 101, 12);
  expect(map).toBeCloseTo(51 / 101, 12);
  expect(curves.get(4)?.slice(49, 53)).toEqual([1, 1, 0, 0]);
});

test('no object at all: nothing can be said', () => {
  const {map, map50} = judged([[]], [[{class: 0, score: 1, box: [0, 0, 1, 1]}]]);
  expect([map, map50]).toEqual([NaN, NaN]);
});
