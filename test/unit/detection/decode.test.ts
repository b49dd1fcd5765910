import {expect, test} from '@jest/globals';

import {decode, type YoloHeads} from '../../../src/detection/decode.ts';

const heads: YoloHeads = {
  height: 64,
  width: 96,
  classes: 2,
  anchors: [
    [10, 20],
    [30, 40],
  ],
  masks: [[1, 0]],
  scaleXY: 1.05,
};
const options = {minScore: 0.25, nmsIou: 0.45, maxPerClass: 100};

/** The output of the one head, 2 × 3 cells of 32 pixels: no object but those given as [anchor slot, row, column, values]. */
function output(
  ...objects: readonly [slot: number, row: number, column: number, values: readonly number[]][]
): Float32Array {
  const all = new Float32Array(2 * 7 * 6).fill(-20);
  for (const [slot, row, column, values] of objects) {
    values.forEach((value, k) => {
      all[(slot * 7 + k) * 6 + row * 3 + column] = value;
    });
  }
  return all;
}

test('a box is placed in its cell as darknet places it, in its anchor’s size', () => {
  const found = decode([output([0, 1, 2, [Math.log(3), 0, Math.log(2), 0, Math.log(4), 20, -20]])], heads, options);
  expect(found).toHaveLength(1);
  const [{class: c, score, box}] = found as [(typeof found)[0]];
  expect(c).toBe(0);
  expect(score).toBeCloseTo(0.8, 6);
  // x: (2 + 1.05 · 0.75 − 0.025) / 3, y: (1 + 0.5) / 2; anchor 30 × 40 at twice its width
  const [x, y, w, h] = [(2 + 1.05 * 0.75 - 0.025) / 3, 0.75, 60 / 96, 40 / 64];
  [x - w / 2, y - h / 2, x + w / 2, y + h / 2].forEach((corner, k) => expect(box[k]).toBeCloseTo(corner, 6));
});

test('of two boxes of a class that overlap the better one stays; of another class both do', () => {
  const first = [0, 0, 0, 0, 20, 3, 2];
  const second = [0.1, 0, 0, 0, 1, 3, -20];
  const found = decode(
    [output([0, 0, 0, first], [1, 0, 0, [0.1, 0, Math.log(3), Math.log(2), 1, 3, -20]])],
    heads,
    options,
  );
  expect(found.map(({class: c}) => c)).toEqual([0, 1]);
  const apart = decode([output([0, 0, 0, first], [0, 1, 2, second])], heads, options);
  expect(apart.map(({class: c}) => c)).toEqual([0, 1, 0]);
  expect(apart.map(({score}) => score)).toEqual(apart.map(({score}) => score).toSorted((a, b) => b - a));
  expect(decode([output([0, 0, 0, first], [0, 1, 2, second])], heads, {...options, maxPerClass: 1})).toHaveLength(2);
});

test('values that are not finite give no box of a score', () => {
  const broken = output();
  broken.fill(NaN);
  expect(decode([broken], heads, options)).toEqual([]);
});
