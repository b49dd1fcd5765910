import {expect, test} from '@jest/globals';

import type {Dataset, Split} from '../../../src/data/dataset.ts';
import {splitDigest} from '../../../src/data/split-digest.ts';

const labels = (...values: number[]): Uint16Array<SharedArrayBuffer> => {
  const array = new Uint16Array(new SharedArrayBuffer(2 * values.length));
  array.set(values);
  return array;
};
const bytes = (...values: number[]): Uint8Array<SharedArrayBuffer> => {
  const array = new Uint8Array(new SharedArrayBuffer(values.length));
  array.set(values);
  return array;
};
const dataset = (split: Split, change: Partial<Dataset> = {}): Dataset => ({
  name: 'made',
  classes: ['a', 'b'],
  height: 1,
  width: 2,
  channels: 1,
  mean: [0],
  std: [1],
  augmentation: {pad: 0, flip: false},
  train: split,
  test: split,
  ...change,
});
const memory: Split = {kind: 'memory', labels: labels(0, 1), images: bytes(1, 2, 3, 4)};
const digest = (split: Split, change?: Partial<Dataset>): string =>
  splitDigest(dataset(split, change), 'train', '/data');

test('equal content has an equal digest, which no change of content leaves', () => {
  const first = digest(memory);
  expect(first).toMatch(/^[0-9a-f]{16}$/);
  expect(digest({...memory, labels: labels(0, 1)}, {name: 'renamed'})).toBe(first);
  const others = [
    digest({...memory, labels: labels(1, 1)}),
    digest({kind: 'memory', labels: labels(0, 1), images: bytes(1, 2, 3, 5)}),
    digest(memory, {classes: ['a', 'c']}),
    digest(memory, {height: 2, width: 1}),
    splitDigest(dataset(memory), 'test', '/data'),
  ];
  expect(new Set([first, ...others]).size).toBe(others.length + 1);
});

test('files count by their names below the folder, wherever that is', () => {
  const files = (...paths: string[]): Split => ({kind: 'files', labels: labels(0, 1), paths});
  const first = digest(files('/data/a/1.png', '/data/b/2.png'));
  const moved = splitDigest(dataset(files('/else/a/1.png', '/else/b/2.png')), 'train', '/else');
  expect(moved).toBe(first);
  expect(digest(files('/data/a/1.png', '/data/b/3.png'))).not.toBe(first);
});
