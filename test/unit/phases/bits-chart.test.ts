import {expect, test} from '@jest/globals';
import sharp from 'sharp';

import {bitsChart} from '../../../src/phases/bits-chart.ts';

/** RGB of each pixel on a line across the middle of a bar. */
async function line(png: Uint8Array, y: number): Promise<readonly string[]> {
  const {data, info} = await sharp(png).removeAlpha().raw().toBuffer({resolveWithObject: true});
  return Array.from({length: info.width}, (_, x) =>
    data.toString('hex', 3 * (y * info.width + x), 3 * (y * info.width + x) + 3),
  );
}

test('each layer has a bar for its weights and one for its input, as long as their bits; full precision has none', async () => {
  const {height, png, width} = await bitsChart({
    layers: [
      {name: 'conv1 <&> "é"', weightBits: 2, activationBits: 4},
      {name: 'fc', weightBits: 32, activationBits: 8},
    ],
  });
  expect(await sharp(png).metadata()).toMatchObject({format: 'png', width, height});
  const lengths = await Promise.all(
    [56, 70, 92, 106].map(
      async (y) => (await line(png, y)).filter((color) => color === '1f5f99' || color === 'd9822b').length,
    ),
  );
  const perBit = lengths[3]! / 8;
  expect(perBit).toBeGreaterThan(40);
  expect(lengths.map((length) => length / perBit)).toEqual([2, 4, 0, 8].map((bits) => expect.closeTo(bits, 1)));
});
