import {expect, test} from '@jest/globals';

import {didYouMean, nearest} from '../../src/nearest.ts';

test.each([
  ['serch', 'search'],
  ['EPOCHS', 'epochs'],
  ['modle list', 'model list'],
  ['meanWeigthBit', 'meanWeightBits'],
])('%s most likely stood for %s', (found, meant) => {
  expect(nearest(found, ['epochs', 'meanWeightBits', 'search', 'model list'])).toBe(meant);
});

test('what is like nothing gets no suggestion', () => {
  expect(nearest('zzzzz', ['epochs', 'search'])).toBeUndefined();
  expect(nearest('a', ['b', 'cd'])).toBeUndefined();
  expect(didYouMean('zzzzz', ['epochs'])).toEqual([]);
});

test('of two near names the nearer one is taken', () => {
  expect(didYouMean('resnet22', ['resnet110', 'resnet20'])).toEqual(['Did you mean "resnet20"?']);
});
