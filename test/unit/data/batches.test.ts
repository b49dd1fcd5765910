import {writeFileSync} from 'node:fs';
import path from 'node:path';
import {Worker} from 'node:worker_threads';

import {afterEach, describe, expect, test} from '@jest/globals';
import sharp from 'sharp';

import {openBatches, type BatchOptions, type BatchSource} from '../../../src/data/batches.ts';
import type {Dataset, Split} from '../../../src/data/dataset.ts';
import {decodingThreads} from '../../../src/data/decoding-threads.ts';
import {firstPaths, packPaths, pathAt, reorderedPaths} from '../../../src/data/path-list.ts';
import {createRenderer} from '../../../src/data/render.ts';
import {SdqError} from '../../../src/errors.ts';
import {madeDataset, sharedLabels} from '../../helpers/made-dataset.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const pathsOf = (split: Split): string[] =>
  split.kind === 'files' ? Array.from({length: split.paths.length}, (_, i) => pathAt(split.paths, i)) : [];

const dataset = madeDataset(23, 5);
const folder = temporaryFolder();
const opened: BatchSource[] = [];

afterEach(async () => {
  for (const source of opened.splice(0)) await source.close();
});

const defaults: BatchOptions = {
  part: 'train',
  validation: 5,
  batchSize: 4,
  mode: 'training',
  augment: true,
  normalization: dataset,
  seed: 7,
};

function open(changes: Partial<BatchOptions> = {}, of: Dataset = dataset): BatchSource {
  const source = openBatches(of, {...defaults, ...changes});
  opened.push(source);
  return source;
}

async function copyOf(
  source: BatchSource,
  epoch: number,
  index: number,
): Promise<{images: number[]; labels: number[]}> {
  const {images, labels, size} = await source.batch(epoch, index);
  expect(images).toHaveLength(size * 45);
  expect(labels).toHaveLength(size);
  return {images: [...images], labels: [...labels]};
}

/** What the renderer makes on the main thread. */
async function expected(epoch: number, index: number): Promise<{images: number[]; labels: number[]}> {
  const {height, width, channels, augmentation, train} = dataset;
  const render = createRenderer({
    ...{split: train, start: 0, end: 18, height, width, channels, batchSize: 4, shuffle: true, augmentation},
    ...{normalization: dataset, seed: 7, mostBoxes: 0},
  });
  const images = new Float32Array(4 * 45);
  const labels = new Int32Array(4);
  await render(epoch, index, {images, labels});
  return {images: [...images], labels: [...labels]};
}

describe('openBatches', () => {
  test('training drops the last partial batch, evaluation keeps it', async () => {
    const training = open();
    expect([training.batchesPerEpoch, training.samples]).toEqual([4, 16]);
    const evaluation = open({part: 'validation', mode: 'evaluation'});
    expect([evaluation.batchesPerEpoch, evaluation.samples]).toEqual([2, 5]);
    expect((await evaluation.batch(0, 0)).size).toBe(4);
    const last = await evaluation.batch(0, 1);
    expect(last.size).toBe(1);
    expect([...last.labels]).toEqual([22 % 3]);
  });

  test('batches equal those of the renderer over two epochs', async () => {
    const source = open();
    for (const epoch of [0, 1]) {
      for (const index of [0, 1, 2, 3]) {
        expect(await copyOf(source, epoch, index)).toEqual(await expected(epoch, index));
      }
    }
  });

  test('any batch can be asked for at any time: forwards, backwards, twice', async () => {
    const source = open();
    const jumps = [
      [5, 2],
      [5, 3],
      [6, 0],
      [0, 0],
      [0, 0],
      [9, 3],
      [0, 1],
      [0, 3],
      [1, 0],
      [0, 2],
    ] as const;
    for (const [epoch, index] of jumps) {
      expect(await copyOf(source, epoch, index)).toEqual(await expected(epoch, index));
    }
  });

  test('the batch in hand stays as it is until the next one is asked for', async () => {
    const source = open();
    const batch = await source.batch(0, 0);
    const before = [...batch.images];
    await new Promise((resolve) => setTimeout(resolve, 300)); // the worker fills the slots ahead meanwhile
    expect([...batch.images]).toEqual(before);
  });

  test('one batch an epoch, evaluated again and again, is always the whole part', async () => {
    const source = open({part: 'test', mode: 'evaluation', batchSize: 100});
    const first = await copyOf(source, 0, 0);
    expect(first.labels).toEqual([0, 1, 2, 0, 1]);
    expect(await copyOf(source, 0, 0)).toEqual(first);
  });

  test('evaluation is not augmented', async () => {
    const normalization = {mean: [0, 0, 0], std: [1 / 255, 1 / 255, 1 / 255]};
    const {images} = await copyOf(open({part: 'test', mode: 'evaluation', normalization}), 0, 0);
    expect(images.slice(0, 4).map(Math.round)).toEqual([254, 253, 252, 251]);
  });

  test('an epoch without a batch, or arrays that do not fit the shape, are SdqErrors', () => {
    expect(() => open({batchSize: 19})).toThrow(
      'made has only 18 train images (23, of which 5 are held out for validation).',
    );
    expect(() => open({}, {...dataset, height: 4})).toThrow(
      'The data set made has 23 train labels, which needs 1380 bytes of 4 × 5 × 3 images; it has 1035.',
    );
  });

  test("an index beyond the epoch is the caller's bug, not a batch", async () => {
    await expect(open().batch(0, 4)).rejects.toThrow(RangeError);
  });

  test('a worker that dies rejects the batch that is awaited and every later one', async () => {
    const source = openBatches(
      dataset,
      defaults,
      () => new Worker('setTimeout(() => process.exit(3), 20)', {eval: true}),
    );
    const error = await source.batch(0, 0).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SdqError);
    expect((error as SdqError).message).toBe('The thread that prepares the data ended: exit code 3.');
    await expect(source.batch(0, 1)).rejects.toThrow('exit code 3');
    await source.close();
  });

  test('a worker that throws is named with its reason', async () => {
    const source = openBatches(dataset, defaults, () => new Worker('throw new Error("out of luck")', {eval: true}));
    await expect(source.batch(0, 0)).rejects.toThrow('ended: out of luck.');
    await source.close();
  });

  test('closing rejects what is awaited and may be repeated', async () => {
    const source = open();
    const pending = source.batch(0, 0);
    await Promise.all([expect(pending).rejects.toThrow('it was closed'), source.close()]);
    await expect(source.close()).resolves.toBeUndefined();
  });
});

describe('batches of image files', () => {
  async function filesDataset(): Promise<Dataset> {
    const colours = ['#ff0000', '#00ff00', '#0000ff'];
    const paths = await Promise.all(
      colours.map(async (background, i) => {
        const file = path.join(folder, `${i}.${i === 1 ? 'jpg' : 'png'}`);
        await sharp({create: {width: 20 + 10 * i, height: 16, channels: 3, background}}).toFile(file);
        return file;
      }),
    );
    const split = {kind: 'files', paths, labels: sharedLabels([0, 1, 2])} as const;
    return {
      ...dataset,
      name: 'files',
      height: 8,
      width: 8,
      augmentation: {pad: 0, flip: true},
      train: split,
      test: split,
    };
  }

  test.each(['training', 'evaluation'] as const)('are decoded, resized and normalised for %s', async (mode) => {
    const normalization = {mean: [0, 0, 0], std: [1, 1, 1]};
    const source = open({part: 'test', mode, batchSize: 3, normalization}, await filesDataset());
    const {images, labels} = await source.batch(0, 0);
    expect(images).toHaveLength(3 * 8 * 8 * 3);
    for (const [place, label] of labels.entries()) {
      for (let i = 0; i < 8 * 8; i++) {
        const pixel = [...images.subarray((place * 64 + i) * 3, (place * 64 + i) * 3 + 3)];
        for (const [channel, value] of pixel.entries()) expect(value).toBeCloseTo(channel === label ? 1 : 0, 1);
      }
    }
  });

  test('a broken file rejects its batch and is named; other batches go on', async () => {
    const good = await filesDataset();
    const broken = path.join(folder, 'broken.png');
    writeFileSync(broken, 'not a picture');
    const paths = [...pathsOf(good.train), broken];
    const split = {kind: 'files', paths, labels: sharedLabels([0, 1, 2, 0])} as const;
    const source = open({part: 'test', mode: 'evaluation', batchSize: 2}, {...good, train: split, test: split});
    await expect(source.batch(0, 1)).rejects.toMatchObject({code: 'image-undecodable', oclif: {exit: 3}});
    await expect(source.batch(0, 1)).rejects.toThrow(`Cannot decode ${broken}`);
    expect((await source.batch(0, 0)).size).toBe(2);
  });

  test('have the same bits for any number of workers, and one error of several', async () => {
    const files = await filesDataset();
    const paths = Array.from({length: 11}, (_, i) => pathsOf(files.train)[i % 3]!);
    const split = {kind: 'files', paths, labels: sharedLabels(paths.map((_, i) => i))} as const;
    const many = {...files, train: split, test: split};
    const batches = async (workers: number): Promise<number[][]> => {
      const source = open({mode: 'training', batchSize: 5, validation: 0, workers}, many);
      const found: number[][] = [];
      for (const [epoch, index] of [
        [0, 0],
        [0, 1],
        [1, 0],
        [3, 1],
      ] as const) {
        // prettier-ignore
        const {images, labels} = await source.batch(epoch, index);
        found.push([...labels, ...images]);
      }
      return found;
    };
    const one = await batches(1);
    for (const workers of [2, 3, 7]) expect(await batches(workers)).toEqual(one);
    const broken = ['first.png', 'second.png'].map((name) => path.join(folder, name));
    for (const file of broken) writeFileSync(file, 'not a picture');
    const wrong = {...split, paths: [...paths.slice(0, 2), ...broken, ...paths.slice(4)]};
    const source = open({part: 'test', mode: 'evaluation', batchSize: 11, workers: 4}, {...many, test: wrong});
    await expect(source.batch(0, 0)).rejects.toThrow(`Cannot decode ${broken[0]!}`);
  });
});

test.each<[number | 'auto', number, Record<string, string>, number]>([
  [1, 8, {}, 1],
  [4, 8, {}, 4],
  [16, 1, {UV_THREADPOOL_SIZE: '16'}, 16],
  ['auto', 1000, {}, 1],
  ['auto', 1 - 1000, {}, 4],
  ['auto', 1 - 1000, {UV_THREADPOOL_SIZE: '12'}, 12],
])('decoding threads: %s of a machine whose engine has %i threads, %j: %i', (asked, engine, environment, threads) => {
  expect(decodingThreads(asked, engine, environment)).toBe(threads);
});

test('more decoding threads than Node runs are refused', () => {
  expect(() => decodingThreads(5, 1, {})).toThrow(
    expect.objectContaining({
      code: 'too-many-data-workers',
      oclif: {exit: 3},
      suggestions: expect.arrayContaining([expect.stringContaining('UV_THREADPOOL_SIZE=5')]),
    }),
  );
});

test('a list of paths holds what was packed, and the same in another order', () => {
  const paths = ['/a/b.png', '', '/ü/日本.jpg', '/a/🐟.png'];
  const list = packPaths(paths);
  const read = (packed: typeof list): string[] => Array.from({length: packed.length}, (_, i) => pathAt(packed, i));
  expect(read(list)).toEqual(paths);
  expect(read(reorderedPaths(list, Uint32Array.from([2, 0, 3, 1])))).toEqual([paths[2], paths[0], paths[3], paths[1]]);
  expect(read(packPaths([]))).toEqual([]);
  expect(read(firstPaths(list, 3) as typeof list)).toEqual(paths.slice(0, 3));
  expect(firstPaths(paths, 2)).toEqual(paths.slice(0, 2));
  expect(pathAt(paths, 3)).toBe(paths[3]);
});
