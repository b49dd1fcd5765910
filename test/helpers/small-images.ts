import {mkdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {normal, uniform} from '../../src/random.ts';

const size = 28;

/** IDX files of the shape of MNIST, but few: ten classes, each a stripe at its own place under noise. */
export function writeSmallImages(directory: string, counts: {readonly train: number; readonly test: number}): void {
  mkdirSync(directory, {recursive: true});
  for (const [name, count, place] of [
    ['train', counts.train, 0],
    ['t10k', counts.test, 1],
  ] as const) {
    const images = Buffer.alloc(16 + count * size * size);
    const labels = Buffer.alloc(8 + count);
    [2051, count, size, size].forEach((value, i) => images.writeUInt32BE(value, 4 * i));
    [2049, count].forEach((value, i) => labels.writeUInt32BE(value, 4 * i));
    const draw = uniform(1, 'bench', place);
    for (let i = 0; i < count; i++) {
      const label = i % 10;
      labels[8 + i] = label;
      for (let y = 0; y < size; y++) {
        for (let x = 0; x < size; x++) {
          const inStripe = (label < 5 ? y : x) - 4 - 4 * (label % 5);
          const light = inStripe >= 0 && inStripe < 3 ? 170 : 40;
          images[16 + (i * size + y) * size + x] = Math.max(0, Math.min(255, Math.round(light + 40 * normal(draw))));
        }
      }
    }
    writeFileSync(path.join(directory, `${name}-images-idx3-ubyte`), images);
    writeFileSync(path.join(directory, `${name}-labels-idx1-ubyte`), labels);
  }
}
