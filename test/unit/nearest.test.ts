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

test('a beginning of names stands for them, and a short name must begin alike', () => {
  expect(didYouMean('onnx', ['onnx-qdq', 'onnx-qdq-int2', 'qonnx'])).toEqual([
    'Did you mean "onnx-qdq" or "onnx-qdq-int2"?',
  ]);
  expect(didYouMean('bitfusion', ['bitfusion-edge', 'bitfusion-server', 'tpu'])).toEqual([
    'Did you mean "bitfusion-edge" or "bitfusion-server"?',
  ]);
  expect(didYouMean('gpu', ['cpu', 'wasm'])).toEqual([]);
  expect(didYouMean('cpi', ['cpu', 'wasm'])).toEqual(['Did you mean "cpu"?']);
});

test('of two near names the nearer one is taken', () => {
  expect(didYouMean('resnet22', ['resnet110', 'resnet20'])).toEqual(['Did you mean "resnet20"?']);
});
