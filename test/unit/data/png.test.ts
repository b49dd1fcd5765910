/** PNG files as libvips reads them. */
import {expect, test} from '@jest/globals';
import sharp from 'sharp';

import {encodePng} from '../../../src/data/png.ts';

test.each([
  [3, 5, 1],
  [4, 3, 3],
  [1, 1, 3],
] as const)('%i × %i pixels of %i channels', async (height, width, channels) => {
  const pixels = Uint8Array.from({length: height * width * channels}, (_, i) => (i * 83 + 7) % 256);
  const image = sharp(encodePng(pixels, height, width, channels));
  expect(await image.metadata()).toMatchObject({format: 'png', width, height});
  const {data} = await image
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .raw()
    .toBuffer({resolveWithObject: true});
  expect([...data]).toEqual([...pixels]);
});
