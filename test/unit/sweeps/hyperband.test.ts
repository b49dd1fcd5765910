import {describe, expect, test} from '@jest/globals';

import {brackets, isOutclassed} from '../../../src/sweeps/hyperband.ts';

describe('brackets', () => {
  test('rise from min_iter by eta', () => {
    expect(brackets({min_iter: 3}).slice(0, 4)).toEqual([3, 9, 27, 81]);
    expect(brackets({min_iter: 2, eta: 1.5}).slice(0, 5)).toEqual([2, 3, 4, 6, 10]);
  });

  test('fall from max_iter by eta, s of them, none below 1', () => {
    expect(brackets({max_iter: 27, s: 2})).toEqual([3, 9]);
    expect(brackets({max_iter: 27, s: 2, eta: 2})).toEqual([6, 13]);
    expect(brackets({max_iter: 9, s: 5})).toEqual([1, 3]);
  });
});

describe('a running trial is stopped', () => {
  // Brackets at 1 and 2; of four trials the best half go on: the third-best value is the threshold.
  const rule = {max_iter: 4, s: 2, eta: 2};
  const others = [
    [10, 9, 9, 9],
    [10, 7],
    [10, 6],
  ];

  test('when it is worse than the threshold at its last bracket', () => {
    expect(isOutclassed([10, 10], [...others, [10, 10]], rule)).toBe(true);
    expect(isOutclassed([10, 8], [...others, [10, 8]], rule)).toBe(false);
    expect(isOutclassed([10, 9], [...others, [10, 9]], rule)).toBe(false);
  });

  test('not before its first bracket, nor when it is the only one', () => {
    expect(isOutclassed([99], others, {min_iter: 2})).toBe(false);
    expect(isOutclassed([99, 99], [[99, 99]], {min_iter: 2})).toBe(false);
  });

  test('by its value at the bracket if strict, by its best value so far if not', () => {
    const history = [3, 20, 4];
    const all = [...others, history];
    expect(isOutclassed(history, all, {...rule, strict: true})).toBe(true);
    expect(isOutclassed(history, all, {...rule, strict: false})).toBe(false);
  });
});
