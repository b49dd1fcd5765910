import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import sharp from 'sharp';

import type {Dataset} from '../../../src/data/dataset.ts';
import {createRenderer, type RenderPlan} from '../../../src/data/render.ts';
import {madeDataset, sharedLabels} from '../../helpers/made-dataset.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const folder = temporaryFolder();

const identity = {mean: [0, 0, 0], std: [1, 1, 1]};

function planOf(dataset: Dataset, changes: Partial<RenderPlan> = {}): RenderPlan {
  const {height, width, channels, train} = dataset;
  const end = train.labels.length;
  return {
    ...{split: train, start: 0, end, height, width, channels, batchSize: 4, shuffle: false, augmentation: undefined},
    ...{normalization: identity, seed: 0, mostBoxes: 0, ...changes},
  };
}

async function rendered(
  plan: RenderPlan,
  epoch: number,
  index: number,
): Promise<{bytes: number[][]; labels: number[]}> {
  const imageSize = plan.height * plan.width * plan.channels;
  const images = new Float32Array(plan.batchSize * imageSize);
  const labels = new Int32Array(plan.batchSize);
  const size = await createRenderer(plan)(epoch, index, {images, labels});
  const bytes = Array.from({length: size}, (_, i) =>
    [...images.subarray(i * imageSize, (i + 1) * imageSize)].map((value) => Math.round(value * 255)),
  );
  return {bytes, labels: [...labels.subarray(0, size)]};
}

/** Image i of the split, read without the code under test. */
function source(dataset: Dataset, image: number): number[] {
  const {train} = dataset;
  if (train.kind !== 'memory') throw new Error('not in memory');
  return [...train.images.subarray(image * 45, (image + 1) * 45)];
}

/** Every crop of the padded image and its mirror image, by hand: [3, 5, 3] each. */
function augmentedBy(pixels: readonly number[], pad: number): string[] {
  const all: string[] = [];
  for (let top = -pad; top <= pad; top++) {
    for (let left = -pad; left <= pad; left++) {
      const rows = [0, 1, 2].map((row) =>
        [0, 1, 2, 3, 4].map((column) => {
          const [r, c] = [row + top, column + left];
          return r < 0 || r > 2 || c < 0 || c > 4 ? [0, 0, 0] : pixels.slice((r * 5 + c) * 3, (r * 5 + c) * 3 + 3);
        }),
      );
      all.push(
        rows.flat(2).join(),
        rows
          .map((row) => row.toReversed())
          .flat(2)
          .join(),
      );
    }
  }
  return all;
}

describe('a training batch from a file', () => {
  const side = 200;
  const size = 16;

  /** Red is the column, green the row: what was cropped can be read off the pixels. */
  async function positions(width: number, height: number): Promise<string> {
    const pixels = Buffer.alloc(width * height * 3);
    for (let i = 0; i < width * height; i++) {
      pixels[3 * i] = i % width;
      pixels[3 * i + 1] = Math.floor(i / width);
    }
    const file = path.join(folder, `${width}x${height}.png`);
    await sharp(pixels, {raw: {width, height, channels: 3}})
      .png()
      .toFile(file);
    return file;
  }

  async function crops(
    file: string,
    count: number,
  ): Promise<{left: number; right: number; top: number; bottom: number}[]> {
    const split = {kind: 'files', paths: [file], labels: sharedLabels([0])} as const;
    const augmentation = {pad: 0, flip: true};
    const plan = planOf(madeDataset(1, 1), {split, height: size, width: size, augmentation});
    const found = [];
    for (let epoch = 0; epoch < count; epoch++) {
      const [image] = (await rendered(plan, epoch, 0)).bytes;
      const at = (row: number, column: number, channel: number): number => image![(row * size + column) * 3 + channel]!;
      found.push({left: at(8, 0, 0), right: at(8, size - 1, 0), top: at(0, 8, 1), bottom: at(size - 1, 8, 1)});
    }
    return found;
  }

  test('is a crop of 8 to 100 % of the area and aspect 3:4 to 4:3, mirrored half of the time', async () => {
    const all = await crops(await positions(side, side), 200);
    const between = size / (size - 1); // from the centres of the outer pixels to their edges
    const areas = all.map(
      ({left, right, top, bottom}) => (Math.abs(right - left) * (bottom - top) * between ** 2) / side ** 2,
    );
    const aspects = all.map(({left, right, top, bottom}) => Math.abs(right - left) / (bottom - top));
    expect(Math.min(...areas)).toBeGreaterThan(0.07);
    expect(Math.min(...areas)).toBeLessThan(0.2);
    expect(Math.max(...areas)).toBeLessThan(1.02);
    expect(Math.max(...areas)).toBeGreaterThan(0.8);
    expect(Math.min(...aspects)).toBeGreaterThan(0.72);
    expect(Math.max(...aspects)).toBeLessThan(1.39);
    const mirrored = all.filter(({left, right}) => left > right).length;
    expect(Math.abs(mirrored - 100)).toBeLessThan(24); // 3.3 standard deviations of √(200 / 4)
  });

  test('an image too long for any allowed crop gives its centre', async () => {
    const [crop] = await crops(await positions(250, 10), 1);
    const centre = Math.abs(crop!.left + crop!.right) / 2;
    expect(Math.abs(centre - 125)).toBeLessThan(2);
    expect(Math.abs(crop!.right - crop!.left)).toBeLessThan(14);
  });

  test('with padding is the image, moved by up to that and mirrored half of the time', async () => {
    const split = {kind: 'files', paths: [await positions(size, size)], labels: sharedLabels([0])} as const;
    const plan = planOf(madeDataset(1, 1), {
      ...{split, height: size, width: size, augmentation: {pad: 2, flip: true}},
    });
    const places = new Set<string>();
    for (let epoch = 0; epoch < 400; epoch++) {
      const image = (await rendered(plan, epoch, 0)).bytes[0]!;
      const [middle, next] = [8, 9].map((column) => image.slice((8 * size + column) * 3, (8 * size + column) * 3 + 2));
      const isMirrored = next![0]! < middle![0]!;
      const [left, top] = [middle![0]! - (isMirrored ? size - 9 : 8), middle![1]! - 8];
      const expected = Array.from({length: size}, (_, y) =>
        Array.from({length: size}, (__, x) => {
          const [column, row] = [left + (isMirrored ? size - 1 - x : x), top + y];
          return [column, row].some((place) => place < 0 || place >= size) ? [0, 0, 0] : [column, row, 0];
        }),
      );
      expect(image).toEqual(expected.flat(2));
      places.add([left, top, isMirrored].join());
    }
    const moves = [-2, -1, 0, 1, 2];
    const all = moves.flatMap((left) => moves.flatMap((top) => [true, false].map((m) => [left, top, m].join())));
    expect([...places].sort()).toEqual(all.sort());
  });
});

describe('a batch from memory', () => {
  test('without shuffle and augmentation holds the images of the range in order, the last one short', async () => {
    const dataset = madeDataset(11, 1);
    const plan = planOf(dataset, {start: 2, end: 9});
    expect(await rendered(plan, 0, 0)).toEqual({
      bytes: [2, 3, 4, 5].map((image) => source(dataset, image)),
      labels: [2, 0, 1, 2],
    });
    expect(await rendered(plan, 5, 1)).toEqual({
      bytes: [6, 7, 8].map((image) => source(dataset, image)),
      labels: [0, 1, 2],
    });
  });

  test('values are (byte / 255 − mean) / std of the channel', async () => {
    const plan = planOf(madeDataset(4, 1), {normalization: {mean: [0.1, 0.2, 0.3], std: [0.5, 0.25, 0.125]}});
    const images = new Float32Array(4 * 45);
    await createRenderer(plan)(0, 0, {images, labels: new Int32Array(4)});
    const [red, green, blue] = images; // of bytes 1, 2, 3
    expect(red).toBeCloseTo((1 / 255 - 0.1) / 0.5, 6);
    expect(green).toBeCloseTo((2 / 255 - 0.2) / 0.25, 6);
    expect(blue).toBeCloseTo((3 / 255 - 0.3) / 0.125, 6);
  });

  test('shuffling shows every image once an epoch, in another order each epoch and for each seed', async () => {
    const dataset = madeDataset(12, 1);
    const epochOf = async (seed: number, epoch: number): Promise<string[]> => {
      const plan = planOf(dataset, {shuffle: true, seed});
      const batches = await Promise.all([0, 1, 2].map((index) => rendered(plan, epoch, index)));
      return batches.flatMap(({bytes}) => bytes.map((image) => image.join()));
    };
    const all = Array.from({length: 12}, (_, image) => source(dataset, image).join());
    const [first, again, next, other] = [
      await epochOf(1, 0),
      await epochOf(1, 0),
      await epochOf(1, 1),
      await epochOf(2, 0),
    ];
    expect(first.toSorted()).toEqual(all.toSorted());
    expect(again).toEqual(first);
    expect(next).not.toEqual(first);
    expect(other).not.toEqual(first);
  });

  test('augmentation gives crops of the zero-padded image and their mirror images, all of them about equally often', async () => {
    const dataset = madeDataset(1, 1);
    const plan = planOf(dataset, {augmentation: {pad: 1, flip: true}});
    const counts = new Map(augmentedBy(source(dataset, 0), 1).map((crop) => [crop, 0]));
    expect(counts.size).toBe(18);
    const draws = 1800;
    for (let epoch = 0; epoch < draws; epoch++) {
      const crop = (await rendered(plan, epoch, 0)).bytes[0]!.join();
      expect(counts.has(crop)).toBe(true);
      counts.set(crop, counts.get(crop)! + 1);
    }
    const expected = draws / 18;
    const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(chiSquare).toBeLessThan(40.8); // 99.9 % quantile for 17 degrees of freedom
  });

  test('the padding is black before normalisation', async () => {
    const plan = planOf(madeDataset(1, 1), {
      augmentation: {pad: 5, flip: false},
      normalization: {mean: [0.5, 0.25, 0], std: [0.5, 0.5, 0.5]},
    });
    const images = new Float32Array(45 * 4);
    const padded = [-1, -0.5, 0];
    let seen = false;
    for (let epoch = 0; epoch < 20 && !seen; epoch++) {
      await createRenderer(plan)(epoch, 0, {images, labels: new Int32Array(4)});
      seen = padded.every((value, channel) => images[channel] === value);
    }
    expect(seen).toBe(true);
  });

  test('without flip no image is mirrored', async () => {
    const dataset = madeDataset(1, 1);
    const plan = planOf(dataset, {augmentation: {pad: 0, flip: false}});
    for (let epoch = 0; epoch < 50; epoch++) {
      expect((await rendered(plan, epoch, 0)).bytes[0]).toEqual(source(dataset, 0));
    }
  });

  test('the augmentation of an image does not depend on the batch size', async () => {
    const dataset = madeDataset(12, 1, {pad: 2, flip: true});
    const {augmentation} = dataset;
    const whole = await rendered(planOf(dataset, {augmentation, shuffle: true, batchSize: 12}), 3, 0);
    const parts = await Promise.all(
      [0, 1, 2].map((index) => rendered(planOf(dataset, {augmentation, shuffle: true}), 3, index)),
    );
    expect(parts.flatMap(({bytes}) => bytes)).toEqual(whole.bytes);
    expect(parts.flatMap(({labels}) => labels)).toEqual(whole.labels);
  });
});
