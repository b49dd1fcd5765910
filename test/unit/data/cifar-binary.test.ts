import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import {cifarRecordBytes, cifarRecords, readCifarRecords} from '../../../src/data/cifar-binary.ts';
import {SdqError} from '../../../src/errors.ts';

function read(bytes: Uint8Array, count: number, first = 0): {images: Uint8Array; labels: Uint16Array} {
  const target = {images: new Uint8Array((first + count) * 3072), labels: new Uint16Array(first + count)};
  readCifarRecords(bytes, {...target, first, count}, 'f');
  return target;
}

describe('CIFAR-10 binary records', () => {
  test('a record is the label, then the red, green and blue plane, row by row', () => {
    const record = new Uint8Array(cifarRecordBytes);
    record[0] = 7;
    record[1] = 11; // red of row 0, column 0
    record[1 + 1024 + 31] = 22; // green of row 0, column 31
    record[1 + 2048 + 32] = 33; // blue of row 1, column 0
    const {images, labels} = read(record, 1);
    expect([...labels]).toEqual([7]);
    expect(images[0]).toBe(11);
    expect(images[31 * 3 + 1]).toBe(22);
    expect(images[32 * 3 + 2]).toBe(33);
    expect(images.reduce((sum, value) => sum + value)).toBe(66);
  });

  test('what cifarRecords writes is read back, at any place', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({minLength: 2 * 3072, maxLength: 2 * 3072}),
        fc.tuple(fc.nat(9), fc.nat(9)),
        fc.nat(2),
        (pixels, labels, first) => {
          const found = read(cifarRecords(pixels, labels), 2, first);
          expect(Buffer.compare(found.images.subarray(first * 3072), pixels)).toBe(0);
          expect([...found.labels.subarray(first)]).toEqual(labels);
        },
      ),
      {numRuns: 20},
    );
  });

  test('a truncated file, one with more bytes and a wrong label are named with the offset', () => {
    const two = new Uint8Array(2 * cifarRecordBytes);
    expect(() => read(two.subarray(0, 5000), 2)).toThrow(
      'f, byte 5000: found the end of the file; allowed: 2 records of 3073 bytes = 6146.',
    );
    expect(() => read(two, 1)).toThrow('f, byte 3073: found 3073 bytes more');
    two[cifarRecordBytes] = 10;
    expect(() => read(two, 2)).toThrow('f, byte 3073: found label 10; allowed: 0 to 9.');
  });

  test('random bytes give images or an SdqError', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({maxLength: 100}), fc.uint8Array({minLength: 3073, maxLength: 3073})),
        (bytes) => {
          try {
            expect(read(bytes, 1).labels[0]).toBeLessThan(10);
          } catch (error) {
            expect(error).toBeInstanceOf(SdqError);
          }
        },
      ),
      {numRuns: 200},
    );
  });
});
