import {createHash} from 'node:crypto';

import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import {resizePixels} from '../../../src/data/resize.ts';

const noise = (bytes: number): Uint8Array =>
  Uint8Array.from({length: bytes}, (_, i) => Math.imul(i, 2_654_435_761) >>> 24);

const resizeWhole = (pixels: Uint8Array, width: number, height: number, to: readonly [number, number]): Uint8Array =>
  resizePixels(
    pixels,
    {width, height},
    {scaled: {width: to[0], height: to[1]}, part: {left: 0, top: 0, width: to[0], height: to[1]}},
  );

describe('resizePixels', () => {
  // The first bytes of SHA-256 of what Pillow 13.0.0 makes: Image.fromarray(noise).resize(to, Image.BILINEAR).
  test.each([
    [640, 480, [224, 224], 'a33a1bf7e6390fce'],
    [150, 99, [224, 224], 'c8df758e6b7f0963'],
    [333, 21, [50, 301], 'b3a3f2a4638183a2'],
    [7, 5, [3, 2], '72b5d591cc91df7c'],
    [1, 1, [9, 9], '35b7cfcb3c4d2582'],
    [3000, 10, [8, 4], '7b3a7ed96f8dbd79'],
    [13, 17, [13, 5], '0a1043f1854d1b3b'],
    [5000, 60, [31, 61], '5a9b6a887dbab43d'],
  ] as const)('%i × %i pixels to %p are those of Pillow', (width, height, to, digest) => {
    const resized = resizeWhole(noise(width * height * 3), width, height, to);
    expect(createHash('sha256').update(resized).digest('hex').slice(0, 16)).toBe(digest);
  });

  const side = fc.integer({min: 1, max: 40});
  test('a part is that part of the whole, and an image of one colour keeps it', () => {
    fc.assert(
      fc.property(side, side, side, side, fc.double({min: 0, max: 0.99, noNaN: true}), (width, height, w, h, share) => {
        const pixels = noise(width * height * 3);
        const whole = resizeWhole(pixels, width, height, [w, h]);
        const [left, top] = [Math.floor(share * w), Math.floor(share * h)];
        const part = {left, top, width: w - left, height: h - top};
        const taken = resizePixels(pixels, {width, height}, {scaled: {width: w, height: h}, part});
        const rows = Array.from({length: part.height}, (_, row) => {
          const start = ((row + top) * w + left) * 3;
          return [...whole.subarray(start, start + 3 * part.width)];
        });
        expect([...taken]).toEqual(rows.flat());
        expect(new Set(resizeWhole(pixels.fill(201), width, height, [w, h]))).toEqual(new Set([201]));
      }),
      {numRuns: 50},
    );
  });

  test('an image that no memory could hold is refused', () => {
    expect(() => resizeWhole(new Uint8Array(0), 1, 2 ** 27, [4096, 4096])).toThrow(RangeError);
  });
});
