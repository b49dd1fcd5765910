import {randomBytes} from 'node:crypto';
import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';
import sharp, {type Sharp} from 'sharp';

import {decodeImage} from '../../../src/data/decode-image.ts';
import {encodePng} from '../../../src/data/png.ts';
import {SdqError} from '../../../src/errors.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const folder = temporaryFolder();

/** Left half red, right half blue. */
async function twoHalves(width: number, height: number): Promise<Buffer> {
  const pixels = Buffer.alloc(width * height * 3);
  for (let i = 0; i < width * height; i++) pixels[i * 3 + (i % width < width / 2 ? 0 : 2)] = 255;
  return sharp(pixels, {raw: {width, height, channels: 3}})
    .png()
    .toBuffer();
}

function save(name: string, content: Buffer | string): string {
  const file = path.join(folder, name);
  writeFileSync(file, content);
  return file;
}

describe('decodeImage', () => {
  test('without a crop takes the centre: 7/8 of the shorter side', async () => {
    const file = save('wide.png', await twoHalves(64, 32)); // the centre square has as much red as blue
    const pixels = await decodeImage(file, 28, undefined); // side 32, so no resampling
    expect(pixels).toHaveLength(28 * 28 * 3);
    for (let i = 0; i < 28 * 28; i++)
      expect([...pixels.subarray(i * 3, i * 3 + 3)]).toEqual(i % 28 < 14 ? [255, 0, 0] : [0, 0, 255]);
  });

  test.each([
    [16, 16],
    [24, 16],
    [16, 22],
  ])('without a crop an image of %i × %i is not resized for a network of 16 × 16', async (width, height) => {
    const stored = randomBytes(width * height * 3);
    const file = save('stored.png', encodePng(stored, height, width, 3));
    const [left, top] = [(width - 16) >> 1, (height - 16) >> 1];
    const rows = Array.from({length: 16}, (_, y) => {
      const start = ((y + top) * width + left) * 3;
      return [...stored.subarray(start, start + 48)];
    });
    expect([...(await decodeImage(file, 16, undefined))]).toEqual(rows.flat());
  });

  test('takes exactly the region of the crop', async () => {
    const file = save('halves.png', await twoHalves(40, 20));
    const pixels = await decodeImage(file, 10, (width, height) => {
      expect([width, height]).toEqual([40, 20]);
      return {left: 20, top: 3, width: 20, height: 10};
    });
    expect(new Set(pixels.filter((_, i) => i % 3 === 2))).toEqual(new Set([255]));
    expect(new Set(pixels.filter((_, i) => i % 3 !== 2))).toEqual(new Set([0]));
  });

  test.each([
    ['grey', (image: Sharp) => image.greyscale().png()],
    ['with alpha', (image: Sharp) => image.ensureAlpha(0.5).png()],
    ['palette', (image: Sharp) => image.png({palette: true})],
    ['16 bits', (image: Sharp) => image.toColourspace('rgb16').png()],
    ['JPEG', (image: Sharp) => image.jpeg()],
    ['CMYK JPEG', (image: Sharp) => image.toColourspace('cmyk').jpeg()],
  ])('an image that is %s becomes RGB bytes', async (name, encode) => {
    const image = sharp({create: {width: 12, height: 12, channels: 3, background: '#808080'}});
    const pixels = await decodeImage(save(`${name}.png`, await encode(image).toBuffer()), 8, undefined);
    expect(pixels).toHaveLength(8 * 8 * 3);
    for (const value of pixels) expect(Math.abs(value - 128)).toBeLessThanOrEqual(name === 'CMYK JPEG' ? 25 : 2);
  });

  /** White wherever it is transparent; opaque red in the middle. */
  async function transparent(side: number): Promise<Buffer> {
    const pixels = Buffer.alloc(side * side * 4, 255);
    for (let i = 0; i < side * side; i++) {
      const [x, y] = [i % side, Math.floor(i / side)];
      const inside = [x, y].every((at) => at >= side / 4 && at < (3 * side) / 4);
      if (inside) pixels.set([255, 0, 0, 255], i * 4);
      else pixels[i * 4 + 3] = 0;
    }
    return sharp(pixels, {raw: {width: side, height: side, channels: 4}})
      .png()
      .toBuffer();
  }

  test.each([
    ['not resized', 16],
    ['made smaller', 64],
    ['made larger', 8],
  ])('the stored colour of transparent pixels stays where an image is %s', async (name, side) => {
    const file = save(`transparent ${name}.png`, await transparent(side));
    for (const crop of [undefined, () => ({left: 0, top: 0, width: side, height: side})]) {
      const pixels = await decodeImage(file, 14, crop);
      expect([...pixels.subarray(0, 3)]).toEqual([255, 255, 255]);
      expect([...pixels.subarray(-3)]).toEqual([255, 255, 255]);
      const centre = (7 * 14 + 7) * 3;
      expect([...pixels.subarray(centre, centre + 3)]).toEqual([255, 0, 0]);
    }
  });

  test('a half transparent grey and a half transparent 16-bit colour keep their colour too', async () => {
    const grey = sharp(Buffer.from([200, 128, 200, 128, 200, 0, 200, 0]), {raw: {width: 2, height: 2, channels: 2}});
    const wide = sharp({create: {width: 9, height: 9, channels: 4, background: {r: 200, g: 200, b: 200, alpha: 0.25}}});
    for (const [name, image] of [
      ['grey with alpha.png', grey.png()],
      ['16 bits with alpha.png', wide.toColourspace('rgb16').png()],
    ] as const) {
      const pixels = await decodeImage(save(name, await image.toBuffer()), 5, undefined);
      expect(pixels).toHaveLength(5 * 5 * 3);
      for (const value of pixels) expect(Math.abs(value - 200)).toBeLessThanOrEqual(1);
    }
  });

  // The eight orientations of EXIF: where the corner that is stored first is shown.
  test.each([
    [1, 'top left'],
    [2, 'top right'],
    [3, 'bottom right'],
    [4, 'bottom left'],
    [5, 'top left'],
    [6, 'top right'],
    [7, 'bottom right'],
    [8, 'bottom left'],
  ])('orientation %i of EXIF shows the first stored corner at the %s', async (orientation, place) => {
    const [width, height] = [32, 16];
    const pixels = Buffer.alloc(width * height * 3, 255);
    for (let y = 0; y < 6; y++) for (let x = 0; x < 6; x++) pixels.set([0, 0, 0], (y * width + x) * 3);
    const image = sharp(pixels, {raw: {width, height, channels: 3}});
    const jpeg = image.withMetadata({orientation}).jpeg({quality: 100});
    const file = save(`turned ${orientation}.jpg`, await jpeg.toBuffer());
    const shown: [number, number] = orientation > 4 ? [height, width] : [width, height];
    const crop = (...size: [number, number]): {left: number; top: number; width: number; height: number} => {
      expect(size).toEqual(shown);
      return {left: 0, top: 0, width: size[0], height: size[1]};
    };
    const decoded = await decodeImage(file, 16, crop);
    const corners = {'top left': 0, 'top right': 15, 'bottom left': 15 * 16, 'bottom right': 15 * 16 + 15};
    const dark = Object.entries(corners).filter(([, at]) => decoded[at * 3]! < 128);
    expect(dark.map(([name]) => name)).toEqual([place]);
  });

  test.each([
    ['plain', (image: Sharp) => image.jpeg()],
    ['progressive', (image: Sharp) => image.jpeg({progressive: true})],
    ['grey', (image: Sharp) => image.greyscale().jpeg()],
    ['with a colour profile', (image: Sharp) => image.withIccProfile('p3').jpeg()],
    ['with XMP', (image: Sharp) => image.withXmp('<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>').jpeg()],
  ])('the size of a JPEG that is %s is that of its header', async (name, encode) => {
    const image = sharp({create: {width: 31, height: 17, channels: 3, background: '#204080'}});
    let size: [number, number] | undefined;
    await decodeImage(save(`${name}.jpg`, await encode(image).toBuffer()), 8, (width, height) => {
      size = [width, height];
      return {left: 23, top: 9, width: 8, height: 8};
    });
    expect(size).toEqual([31, 17]);
  });

  test('a truncated PNG, a truncated JPEG and another format are named', async () => {
    const noise = {
      create: {width: 64, height: 64, channels: 3, noise: {type: 'gaussian', mean: 128, sigma: 40}, background: '#000'},
    } as const;
    const png = await sharp(noise).png().toBuffer();
    const jpeg = await sharp(noise).jpeg().toBuffer();
    const files = [
      save('cut.png', png.subarray(0, png.length / 2)),
      save('cut.jpg', jpeg.subarray(0, jpeg.length / 2)),
      save('really-a.tiff.png', await sharp(noise).tiff().toBuffer()),
      save('drawing.png', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
    ];
    for (const file of files) {
      const error = await decodeImage(file, 8, undefined).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(SdqError);
      expect(error).toMatchObject({code: 'image-undecodable', oclif: {exit: 3}});
      expect((error as SdqError).message).toContain(file);
    }
  });

  test('a missing file is named', async () => {
    const file = path.join(folder, 'absent.png');
    const error = await decodeImage(file, 8, undefined).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({code: 'cannot-read-file', oclif: {exit: 3}});
    expect((error as SdqError).message).toContain(file);
  });

  test('an image that claims more pixels than 100 million is refused before it is decoded', async () => {
    const png = await sharp({create: {width: 4, height: 4, channels: 3, background: '#000'}})
      .png()
      .toBuffer();
    png.writeUInt32BE(60_000, 16); // width and height of the IHDR chunk
    png.writeUInt32BE(60_000, 20);
    await expect(decodeImage(save('huge.png', png), 8, undefined)).rejects.toBeInstanceOf(SdqError);
  });

  test('random bytes, behind a PNG or JPEG signature too, are an SdqError', async () => {
    const signature = fc.constantFrom([], [0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10], [0xff, 0xd8, 0xff, 0xe0]);
    await fc.assert(
      fc.asyncProperty(signature, fc.uint8Array({maxLength: 200}), async (start, rest) => {
        const file = save('random.png', Buffer.from([...start, ...rest]));
        await expect(decodeImage(file, 8, undefined)).rejects.toBeInstanceOf(SdqError);
      }),
      {numRuns: 100},
    );
  });
});
