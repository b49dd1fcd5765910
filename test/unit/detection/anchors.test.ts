import {expect, test} from '@jest/globals';

import {kMeansAnchors} from '../../../src/detection/anchors.ts';

test('finds the middle of groups of sizes, the smallest first, the same each time', () => {
  const around = (width: number, height: number): (readonly [number, number])[] =>
    [-1, 0, 1].flatMap((dx) => [-1, 0, 1].map((dy) => [width + dx, height + dy] as const));
  const sizes = [...around(80, 20), ...around(10, 12), ...around(40, 90)];
  const anchors = kMeansAnchors(sizes, 3);
  anchors.flat().forEach((side, i) => expect(side).toBeCloseTo([10, 12, 80, 20, 40, 90][i] ?? NaN, 6));
  expect(kMeansAnchors(sizes, 3)).toEqual(anchors);
});
