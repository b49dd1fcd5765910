import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import {idxLabels, parseIdx} from '../../../src/data/idx.ts';
import {SdqError} from '../../../src/errors.ts';

function idx(magic: number, sizes: readonly number[], values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * sizes.length + values.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic);
  for (const [axis, size] of sizes.entries()) view.setUint32(4 + 4 * axis, size);
  bytes.set(values, 4 + 4 * sizes.length);
  return bytes;
}

describe('parseIdx', () => {
  test('reads images (magic number 2051) and labels (2049)', () => {
    const values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    const images = parseIdx(idx(2051, [2, 2, 3], values), 3, 'images');
    expect(images.shape).toEqual([2, 2, 3]);
    expect([...images.values]).toEqual(values);
    expect([...parseIdx(idx(2049, [3], [7, 0, 9]), 1, 'labels').values]).toEqual([7, 0, 9]);
  });

  test('reads a view that does not begin at byte 0 of its buffer', () => {
    const file = idx(2049, [2], [4, 5]);
    const buffer = new Uint8Array(file.length + 3);
    buffer.set(file, 3);
    expect([...parseIdx(buffer.subarray(3), 1, 'labels').values]).toEqual([4, 5]);
  });

  test.each([
    ['an empty file', new Uint8Array(), 1, 'f, byte 0: found the end of the file; allowed: a header of 8 bytes.'],
    ['a cut header', idx(2051, [2, 2, 3], []).subarray(0, 11), 3, 'f, byte 11: found the end of the file'],
    [
      'labels in place of images',
      idx(2049, [9], Array<number>(9).fill(0)),
      3,
      'f, byte 0: found magic number 2049; allowed: 2051.',
    ],
    ['floats', idx(0x0d01, [1], [0, 0, 0, 0]), 1, 'f, byte 0: found magic number 3329; allowed: 2049.'],
    ['no images', idx(2051, [2, 0, 3], []), 3, 'f, byte 8: found size 0; allowed: at least 1.'],
    ['cut values', idx(2049, [3], [1, 2]), 1, 'f, byte 8: found 2 bytes of values; allowed: 3.'],
    [
      'values too many',
      idx(2051, [1, 1, 1], [1, 2]),
      3,
      'f, byte 16: found 2 bytes of values; allowed: 1 × 1 × 1 = 1.',
    ],
  ])('%s: file, byte offset, found and allowed are named', (_, bytes, dimensions, message) => {
    expect(() => parseIdx(bytes, dimensions, 'f')).toThrow(message);
  });

  test('sizes whose product is far above any memory are refused without allocating', () => {
    const lying = idx(2051, [0xffffffff, 0xffffffff, 0xffffffff], [1]);
    expect(() => parseIdx(lying, 3, 'f')).toThrow('found 1 bytes of values');
  });

  test('random bytes give values or an SdqError, with a true header too', () => {
    const header = fc.constantFrom([], [0, 0, 8, 1], [0, 0, 8, 3], [0, 0, 8, 1, 0, 0, 0]);
    fc.assert(
      fc.property(header, fc.uint8Array({maxLength: 64}), fc.constantFrom(1, 3), (start, rest, dimensions) => {
        const bytes = Uint8Array.from([...start, ...rest]);
        try {
          const {shape, values} = parseIdx(bytes, dimensions, 'f');
          expect(shape.reduce((product, size) => product * size)).toBe(values.length);
        } catch (error) {
          expect(error).toBeInstanceOf(SdqError);
        }
      }),
      {numRuns: 2000},
    );
  });
});

test('a label outside the classes is named with its offset in the file', () => {
  const labels = parseIdx(idx(2049, [3], [7, 0, 10]), 1, 'f');
  expect(() => idxLabels(labels, 10, 'f')).toThrow('f, byte 10: found label 10; allowed: 0 to 9.');
  expect([...idxLabels(labels, 11, 'f')]).toEqual([7, 0, 10]);
});
