/** Image files as the network sees them, beside Pillow, used as torchvision does. Needs `node scripts/python-services.js torchvision`. */
import {spawnSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';
import sharp, {type Sharp} from 'sharp';

import {decodeImage} from '../../src/data/decode-image.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const size = 56;

/** Noise of two scales. */
function photograph(width: number, height: number): Sharp {
  const noise = (scale: number): Buffer =>
    Buffer.from(
      Array.from({length: width * height * 3}, (_, i) => {
        const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
        const cell = Math.floor(y / scale) * width + Math.floor(x / scale);
        return Math.imul(3 * cell + (i % 3), 2_654_435_761) >>> (scale === 1 ? 27 : 24);
      }),
    );
  const [fine, coarse] = [noise(1), noise(9)];
  return sharp(
    fine.map((value, i) => (value + coarse[i]!) >> 1),
    {raw: {width, height, channels: 3}},
  );
}

describeWith('torchvision')('image files beside Pillow', () => {
  test('evaluation and a crop have the same pixels, whatever the size, the format and the orientation', async () => {
    const files = {
      'landscape.jpg': photograph(320, 240).jpeg({quality: 90}),
      'portrait.jpg': photograph(201, 333).jpeg({quality: 75}),
      'smaller.jpg': photograph(97, 50).jpeg({chromaSubsampling: '4:4:4'}),
      'turned.jpg': photograph(120, 90).withMetadata({orientation: 6}).jpeg(),
      'profile.jpg': photograph(100, 100).withIccProfile('srgb').jpeg(),
      'progressive.jpg': photograph(150, 151).jpeg({progressive: true}),
      'grey.jpg': photograph(131, 100).greyscale().jpeg(),
      'colours.png': photograph(119, 143).png(),
      'transparent.png': photograph(90, 77).ensureAlpha(0.3).png(),
    };
    const made: Record<string, {evaluation: string; crop: string}> = {};
    const digest = (pixels: Uint8Array): string => createHash('sha256').update(pixels).digest('hex');
    for (const [name, image] of Object.entries(files)) {
      const file = path.join(folder, name);
      writeFileSync(file, await image.toBuffer());
      made[name] = {
        evaluation: digest(await decodeImage(file, size, undefined)),
        crop: digest(await decodeImage(file, size, () => ({left: 16, top: 8, width: 60, height: 40}))),
      };
    }
    const script = path.resolve(import.meta.dirname, '../helpers/pillow_images.py');
    const args = [script, folder, `${size}`, ...Object.keys(files)];
    const {stdout, stderr} = spawnSync(pythonProgram('torchvision'), args, {encoding: 'utf8'});
    expect({stderr, pixels: JSON.parse(stdout || 'null') as unknown}).toEqual({stderr: '', pixels: made});
  });
});
