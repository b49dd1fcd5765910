import {expect, test} from '@jest/globals';

import {pinnedBits} from '../../../src/sdq/pins.ts';

const names = ['conv1', 'layer1.0.conv1', 'layer1.0.downsample.0', 'layer2.0.downsample.0', 'linear'];

test('without a pin the first and the last layer have 8 bits', () => {
  expect([...pinnedBits(names, ['linear'])]).toEqual([
    ['conv1', 8],
    ['linear', 8],
  ]);
  expect([...pinnedBits(['only'], ['only'])]).toEqual([['only', 8]]);
  expect([...pinnedBits([], [])]).toEqual([]);
});

test('an empty pin leaves every layer free', () => {
  expect(pinnedBits(names, ['linear'], {}).size).toBe(0);
});

test('a star stands for any text, also none; a name without a star is the whole name', () => {
  expect([...pinnedBits(names, ['linear'], {'*.downsample.*': 4}).keys()]).toEqual([
    'layer1.0.downsample.0',
    'layer2.0.downsample.0',
  ]);
  expect([...pinnedBits(names, ['linear'], {'conv1*': 4}).keys()]).toEqual(['conv1']);
  expect([...pinnedBits(names, ['linear'], {'*conv1': 4}).keys()]).toEqual(['conv1', 'layer1.0.conv1']);
  expect([...pinnedBits(names, ['linear'], {conv1: 4}).keys()]).toEqual(['conv1']);
  expect([...pinnedBits(names, ['linear'], {'*': 4}).keys()]).toEqual(names);
});

test('the pieces of a pattern do not overlap in the name', () => {
  expect([...pinnedBits(['aba', 'ab', 'abba'], ['abba'], {'ab*ba': 4}).keys()]).toEqual(['abba']);
});

test('of two patterns that fit, the later counts', () => {
  expect(pinnedBits(names, ['linear'], {'*': 4, linear: 32}).get('linear')).toBe(32);
});

test('a pattern that fits no layer is an error with the nearest name', () => {
  expect(() => pinnedBits(names, ['linear'], {liner: 8})).toThrow(
    expect.objectContaining({
      code: 'unknown-layer',
      message: expect.stringContaining('no layer is named "liner"'),
      suggestions: ['Did you mean "linear"?'],
      oclif: {exit: 3},
    }),
  );
});

test('a pattern of many stars is answered at once', () => {
  expect(() => pinnedBits(['a'.repeat(5000)], [], {[`${'*a'.repeat(2000)}*b`]: 8})).toThrow(/no layer/);
});
