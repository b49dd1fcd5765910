import {existsSync} from 'node:fs';
import {readFile, rename, writeFile} from 'node:fs/promises';
import path from 'node:path';

import {ExitCode, SdqError} from 'sdq';

const size = 16;
const counts = {train: 2048, test: 512};
const record = 1 + size * size;
const bytes = (counts.train + counts.test) * record;

/**
 * Grey images of 16 × 16 with horizontal (class 0) or vertical (class 1) stripes of random width, place and noise.
 * A record is a byte of label and 256 bytes of pixels; the training images come first.
 * @type {import('sdq').DatasetDefinition}
 */
export const stripes = {
  kind: 'dataset',
  name: 'stripes',
  summary: '2,048 + 512 made images of stripes, 16 × 16 grey, 2 classes.',
  optionsSchema: {type: 'object', properties: {}},
  sources: ['made'],

  async fetch({directory, progress}) {
    progress('making the images', 0, bytes);
    const file = path.join(directory, 'stripes.bin');
    await writeFile(`${file}.tmp`, makeImages());
    await rename(`${file}.tmp`, file);
    progress('making the images', bytes, bytes);
  },

  async verify(directory) {
    const file = path.join(directory, 'stripes.bin');
    if (!existsSync(file)) return [`${file} is missing.`];
    const {length} = await readFile(file);
    return length === bytes ? [] : [`${file} has ${length} bytes, not ${bytes}.`];
  },

  async open(directory) {
    const problems = await this.verify(directory, {});
    if (problems.length > 0) {
      throw new SdqError(problems.join(' '), {
        code: 'dataset-missing',
        exit: ExitCode.notAvailable,
        suggestions: ['sdq data fetch stripes'],
      });
    }
    const content = await readFile(path.join(directory, 'stripes.bin'));
    return {
      name: 'stripes',
      classes: ['horizontal', 'vertical'],
      height: size,
      width: size,
      channels: 1,
      mean: [0.5],
      std: [0.4],
      augmentation: {pad: 1, flip: true},
      train: split(content, 0, counts.train),
      test: split(content, counts.train, counts.test),
    };
  },
};

/**
 * Shared memory, because a worker thread makes the batches.
 * @returns {import('sdq').Split}
 */
function split(content, first, count) {
  const images = new Uint8Array(new SharedArrayBuffer(count * size * size));
  const labels = new Uint16Array(new SharedArrayBuffer(2 * count));
  for (let i = 0; i < count; i++) {
    const start = (first + i) * record;
    labels[i] = content[start];
    images.set(content.subarray(start + 1, start + record), i * size * size);
  }
  return {kind: 'memory', images, labels};
}

function makeImages() {
  const content = new Uint8Array(bytes);
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  for (let start = 0; start < bytes; start += record) {
    const label = random() < 0.5 ? 0 : 1;
    const width = 2 + Math.floor(random() * 3);
    const shift = Math.floor(random() * 8);
    content[start] = label;
    for (let i = 0; i < size * size; i++) {
      const place = label === 0 ? Math.floor(i / size) : i % size;
      const on = Math.floor((place + shift) / width) % 2 === 1;
      content[start + 1 + i] = (on ? 200 : 20) + Math.floor(random() * 50);
    }
  }
  return content;
}
