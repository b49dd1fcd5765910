import {existsSync, mkdirSync, mkdtempSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {gzipSync} from 'node:zlib';

import {describe, expect, test} from '@jest/globals';

import {dataCache} from '../../../../src/data/cache.ts';
import type {Dataset} from '../../../../src/data/dataset.ts';
import type {SdqError} from '../../../../src/errors.ts';
import {cifar10} from '../../../../src/plugins/datasets/cifar10.ts';
import {fashionMnist} from '../../../../src/plugins/datasets/fashion-mnist.ts';
import {copyIdxFiles, idxFiles, openIdxFiles} from '../../../../src/plugins/datasets/idx-files.ts';
import {mnist} from '../../../../src/plugins/datasets/mnist.ts';
import {temporaryFolder} from '../../../helpers/temporary-folder.ts';

const root = temporaryFolder();
const freshFolder = (): string => mkdtempSync(path.join(root, 'set-'));
const noSignal = new AbortController().signal;

function images(count: number, side = 28): Buffer {
  const file = Buffer.alloc(16 + count * side * side);
  for (const [axis, value] of [2051, count, side, side].entries()) file.writeUInt32BE(value, 4 * axis);
  for (let i = 16; i < file.length; i++) file[i] = i % 251;
  return file;
}

function labels(count: number): Buffer {
  const file = Buffer.alloc(8 + count);
  file.writeUInt32BE(2049, 0);
  file.writeUInt32BE(count, 4);
  for (let i = 0; i < count; i++) file[8 + i] = i % 10;
  return file;
}

const files = idxFiles({trainImages: '', trainLabels: '', testImages: '', testLabels: ''});
const small = {
  'train-images-idx3-ubyte': images(20),
  'train-labels-idx1-ubyte': labels(20),
  't10k-images-idx3-ubyte': images(10),
  't10k-labels-idx1-ubyte': labels(10),
};

function folderOf(changes: Readonly<Record<string, Buffer>> = {}): string {
  const folder = freshFolder();
  for (const [name, content] of Object.entries({...small, ...changes})) writeFileSync(path.join(folder, name), content);
  return folder;
}

const about = {name: 'small', classes: Array.from('0123456789'), mean: [0.1], std: [0.3]};

describe('data sets of four IDX files', () => {
  test('open as 28 × 28 grey images in shared memory with their labels', async () => {
    const {train, test: held, height, width, channels} = await openIdxFiles(folderOf(), files, about);
    expect([height, width, channels]).toEqual([28, 28, 1]);
    expect(train.labels.length).toBe(20);
    expect([...held.labels]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    if (train.kind !== 'memory') throw new Error('not in memory');
    expect(train.images.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(Buffer.compare(train.images, small['train-images-idx3-ubyte'].subarray(16))).toBe(0);
  });

  test.each([
    [
      'another number of labels than images',
      {'t10k-labels-idx1-ubyte': labels(9)},
      '10 × 28 × 28; allowed: 9 × 28 × 28',
    ],
    ['images of another size', {'t10k-images-idx3-ubyte': images(10, 14)}, '10 × 14 × 14; allowed: 10 × 28 × 28'],
    ['images cut short', {'train-images-idx3-ubyte': images(20).subarray(0, 500)}, 'found 484 bytes of values'],
  ])('%s: the file is named', async (_, changes, message) => {
    const opened = openIdxFiles(folderOf(changes), files, about);
    await expect(opened).rejects.toThrow(message);
    await expect(opened).rejects.toMatchObject({code: 'idx-invalid', oclif: {exit: 3}});
  });

  test('are copied from a folder of the user, decompressed where they are .gz', async () => {
    const folder = freshFolder();
    for (const [name, content] of Object.entries(small)) {
      const compressed = name.startsWith('t10k');
      writeFileSync(path.join(folder, compressed ? `${name}.gz` : name), compressed ? gzipSync(content) : content);
    }
    const target = freshFolder();
    await copyIdxFiles(folder, target, files, noSignal);
    expect((await openIdxFiles(target, files, about)).test.labels.length).toBe(10);
  });

  test('a .gz that is broken or would decompress to more than the file has is refused', async () => {
    const folder = folderOf();
    const tooLong = path.join(folder, 'long');
    mkdirSync(tooLong);
    const {trainLabels} = files;
    writeFileSync(path.join(tooLong, 'train-images-idx3-ubyte'), small['train-images-idx3-ubyte']);
    for (const content of [gzipSync(Buffer.alloc(trainLabels.bytes + 1)), Buffer.from('no gzip')]) {
      writeFileSync(path.join(tooLong, `${trainLabels.name}.gz`), content);
      const copied = copyIdxFiles(tooLong, freshFolder(), files, noSignal);
      await expect(copied).rejects.toMatchObject({code: 'gzip-invalid', oclif: {exit: 3}});
    }
  });

  test('a folder without a file names both names that would do', async () => {
    await expect(copyIdxFiles(freshFolder(), freshFolder(), files, noSignal)).rejects.toThrow(
      'has neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz.',
    );
  });
});

describe('data sets that were never fetched', () => {
  test.each([cifar10, mnist, fashionMnist])('$name says how to fetch it', async (definition) => {
    await expect(definition.open(freshFolder(), {})).rejects.toMatchObject({
      code: 'dataset-not-fetched',
      oclif: {exit: 6},
      suggestions: [`Run: sdq data fetch ${definition.name}`],
    });
    expect((await definition.verify(freshFolder(), {})).every((fault) => fault.endsWith(' is missing.'))).toBe(true);
  });

  test('a CIFAR-10 file that is cut is named with its offset', async () => {
    const folder = freshFolder();
    writeFileSync(path.join(folder, 'data_batch_1.bin'), Buffer.alloc(30_000_000));
    const error = (await cifar10.open(folder, {}).catch((thrown: unknown) => thrown)) as SdqError;
    expect(error.oclif.exit).toBe(3);
    expect(error.message).toContain(
      `${path.join(folder, 'data_batch_1.bin')}, byte 30000000: found the end of the file`,
    );
  });

  test('--from a folder with nothing in it says what it looks for', async () => {
    const context = {signal: noSignal, progress: () => undefined, notice: () => undefined};
    const fetched = cifar10.fetch({...context, directory: freshFolder(), from: freshFolder()}, {});
    await expect(fetched).rejects.toThrow('has neither test_batch.bin nor cifar-10-binary.tar.gz.');
    await expect(fetched).rejects.toMatchObject({oclif: {exit: 3}});
  });
});

/** Mean and standard deviation of each channel on pixels in 0 … 1, from a histogram of the bytes. */
function statistics({train, channels}: Dataset): {mean: number[]; std: number[]} {
  if (train.kind !== 'memory') throw new Error('not in memory');
  const counts = new Float64Array(256 * channels);
  for (let i = 0; i < train.images.length; i++) counts[train.images[i]! * channels + (i % channels)]!++;
  const moment = (channel: number, power: number): number => {
    let sum = 0;
    for (let value = 0; value < 256; value++) sum += counts[value * channels + channel]! * (value / 255) ** power;
    return sum / (train.images.length / channels);
  };
  const mean = Array.from({length: channels}, (_, channel) => moment(channel, 1));
  return {mean, std: mean.map((m, channel) => Math.sqrt(moment(channel, 2) - m * m))};
}

describe.each([cifar10, mnist, fashionMnist])('the real $name', (definition) => {
  const directory = path.join(dataCache(), definition.name);
  const testFetched = existsSync(directory) ? test : test.skip;

  testFetched(
    'has the published counts, the classes it should, and the constants it says (needs it in the cache)',
    async () => {
      expect(await definition.verify(directory, {})).toEqual([]);
      const dataset = await definition.open(directory, {});
      expect(dataset.train.labels.length).toBe(definition === cifar10 ? 50_000 : 60_000);
      expect(dataset.test.labels.length).toBe(10_000);
      const perClass = dataset.classes.map((_, label) => dataset.test.labels.filter((found) => found === label).length);
      for (const count of perClass) expect(Math.abs(count - 1000)).toBeLessThanOrEqual(definition === mnist ? 135 : 0);
      const {mean, std} = statistics(dataset);
      for (const [channel, value] of mean.entries()) expect(dataset.mean[channel]).toBeCloseTo(value, 3);
      for (const [channel, value] of std.entries()) expect(dataset.std[channel]).toBeCloseTo(value, 3);
    },
  );
});
