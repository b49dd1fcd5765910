import {appendFileSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

import {afterEach, describe, expect, test} from '@jest/globals';
import {Header, Pax} from 'tar';

import {openBatches, type BatchOptions, type BatchSource} from '../../../../src/data/batches.ts';
import type {Dataset} from '../../../../src/data/dataset.ts';
import {limited} from '../../../../src/data/limit.ts';
import {parquetImageFiles} from '../../../../src/plugins/datasets/parquet-images.ts';
import {webdataset} from '../../../../src/plugins/datasets/webdataset.ts';
import {temporaryFolder} from '../../../helpers/temporary-folder.ts';

// Image i of the fixtures is (20 i, 255 − 20 i, 7) everywhere and of class i mod 3: see make_image_shards.py.
const fixtures = fileURLToPath(new URL('../../../fixtures/image-shards/', import.meta.url));
const root = temporaryFolder();
const freshFolder = (): string => mkdtempSync(path.join(root, 'shards-'));
const formats = [
  ['webdataset', webdataset, '.tar'],
  ['parquet-images', parquetImageFiles, '.parquet'],
] as const;
const png = readFileSync(path.join(fixtures, 'train-00000-of-00002.tar')); // any bytes: only headers are read

const sources: BatchSource[] = [];
afterEach(async () => {
  await Promise.all(sources.splice(0).map((source) => source.close()));
});

function open(dataset: Dataset, options: Partial<BatchOptions>): BatchSource {
  const normalization = {mean: [0, 0, 0], std: [1 / 255, 1 / 255, 1 / 255]};
  const source = openBatches(dataset, {
    ...{part: 'train', validation: 0, batchSize: 3, mode: 'training', augment: true, normalization, seed: 5},
    ...options,
  });
  sources.push(source);
  return source;
}

/** [image, label] at each place of a batch, told by the colour at its first pixel. */
async function imagesOf(source: BatchSource, epoch: number, index: number): Promise<number[][]> {
  const {images, labels, size} = await source.batch(epoch, index);
  return Array.from({length: size}, (_, place) => {
    const [red, green, blue] = images.subarray((place * images.length) / size);
    expect([Math.round(red! + green!), Math.round(blue!)]).toEqual([255, 7]);
    return [Math.round(red! / 20), labels[place]!];
  });
}

describe.each(formats)('%s', (name, definition, extension) => {
  const opened = (options: Readonly<Record<string, unknown>> = {}): Promise<Dataset> =>
    definition.open(fixtures, {size: 8, ...options});

  test('images and classes of the files are those that were written, each once', async () => {
    const dataset = await opened();
    expect(dataset).toMatchObject({name, height: 8, width: 8, channels: 3, augmentation: {flip: true}});
    expect(dataset.classes).toEqual(name === 'webdataset' ? ['0', '1', '2'] : ['ant', 'bee', 'cat']);
    const train = await imagesOf(open(dataset, {mode: 'sample', batchSize: 8}), 0, 0);
    expect(train.toSorted(([a], [b]) => a! - b!)).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((i) => [i, i % 3]));
    const held = await imagesOf(open(dataset, {part: 'test', mode: 'evaluation'}), 0, 0);
    expect(held).toEqual([
      [8, 2],
      [9, 0],
    ]);
    expect(await definition.verify(fixtures, {})).toEqual([]);
  });

  test('batches have the same bits for any number of threads, and when training begins in the middle', async () => {
    const dataset = await opened({shuffle: 3});
    const bits = async (source: BatchSource, places: readonly (readonly [number, number])[]): Promise<number[][]> => {
      const batches: number[][] = [];
      for (const [epoch, index] of places) {
        const {images, labels} = await source.batch(epoch, index);
        batches.push([...labels, ...images]);
      }
      return batches;
    };
    const places = [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]] as const; // prettier-ignore
    const whole = await bits(open(dataset, {workers: 1}), places);
    for (const workers of [2, 3]) expect(await bits(open(dataset, {workers}), places)).toEqual(whole);
    expect(await bits(open(dataset, {workers: 2}), places.slice(3))).toEqual(whole.slice(3));
    expect(whole[0]).not.toEqual(whole[2]);
  });

  test('a part of the split and a data set cut short read no other image', async () => {
    const dataset = await opened();
    const train = await imagesOf(open(dataset, {mode: 'evaluation', batchSize: 8, validation: 3}), 0, 0);
    const held = await imagesOf(open(dataset, {part: 'validation', mode: 'evaluation', validation: 3}), 0, 0);
    expect([...train, ...held].toSorted(([a], [b]) => a! - b!)).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 7].map((i) => [i, i % 3]),
    );
    expect(held).toHaveLength(3);
    const cut = limited(dataset, 5);
    expect(await imagesOf(open(cut, {mode: 'evaluation', batchSize: 8}), 0, 0)).toEqual(train);
  });

  test('files are found by patterns with ranges; a split without files says what there is', async () => {
    const {train} = await opened({train: `train-{00001..00007}-*${extension}`});
    expect(train.labels).toHaveLength(3);
    await expect(opened({test: '*val*'})).rejects.toMatchObject({
      code: 'no-shards',
      message: expect.stringContaining(`no file that data.options.test matches: "*val*". It has `),
      oclif: {exit: 3},
    });
    await expect(opened({train: `*-of-*${extension}`})).rejects.toThrow(
      `test-00000-of-00001${extension} is matched by both`,
    );
    await expect(definition.open(path.join(root, 'none'), {})).rejects.toThrow('no such file or folder');
  });

  test.each([
    ['cut in the middle', (bytes: Buffer) => bytes.subarray(0, bytes.length / 2)],
    ['empty', () => Buffer.alloc(0)],
    ['text', () => Buffer.from('no shard at all\n'.repeat(100))],
  ])('a file that is %s is refused by name', async (_, broken) => {
    const folder = freshFolder();
    const file = `train-00000-of-00002${extension}`;
    copyFileSync(path.join(fixtures, `test-00000-of-00001${extension}`), path.join(folder, `test${extension}`));
    writeFileSync(path.join(folder, file), broken(readFileSync(path.join(fixtures, file))));
    const attempt = definition.open(folder, {});
    await expect(attempt).rejects.toMatchObject({code: 'shard-invalid', oclif: {exit: 3}});
    await expect(attempt).rejects.toThrow(path.join(folder, file));
    expect(await definition.verify(folder, {})).toEqual([expect.stringContaining(path.join(folder, file))]);
  });

  test('an image that does not decode is named with its place', async () => {
    const folder = freshFolder();
    for (const split of ['train', 'test']) {
      const bytes = readFileSync(path.join(fixtures, `test-00000-of-00001${extension}`));
      if (split === 'train') bytes.fill(0, bytes.indexOf('IDAT'), bytes.indexOf('IDAT') + 8);
      writeFileSync(path.join(folder, `${split}${extension}`), bytes);
    }
    const place = name === 'webdataset' ? /train\.tar, the image at byte \d+/ : /train\.parquet, row 1/;
    expect((await definition.verify(folder, {}))[0]).toMatch(place);
    const source = open(await definition.open(folder, {size: 8}), {mode: 'evaluation', batchSize: 2});
    await expect(source.batch(0, 0)).rejects.toMatchObject({
      code: 'image-undecodable',
      message: expect.stringMatching(place),
    });
  });
});

// ---------------------------------------------------------------------------------------------------------------- tar

/** A tar archive of these files. */
function tarOf(files: readonly (readonly [string, Buffer | string])[], end = Buffer.alloc(1024)): Buffer {
  const parts = files.flatMap(([name, content]) => {
    const bytes = Buffer.from(content);
    const header = Buffer.alloc(512);
    new Header({path: name, size: bytes.length, mode: 0o644, type: 'File'}).encode(header, 0);
    const pax = name.length > 99 ? [new Pax({path: name}).encode()] : [];
    return [...pax, header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  });
  return Buffer.concat([...parts, end]);
}

function openTar(train: Buffer, options = {}, more: Readonly<Record<string, string>> = {}): Promise<Dataset> {
  const folder = freshFolder();
  mkdirSync(path.join(folder, 'deeper'));
  writeFileSync(path.join(folder, 'deeper', 'train.tar'), train);
  writeFileSync(path.join(folder, 'test.tar'), tarOf([['1.png', png], ['1.cls', '0'], ['1.json', '{"label": 0}']])); // prettier-ignore
  for (const [name, content] of Object.entries(more)) writeFileSync(path.join(folder, name), content);
  return webdataset.open(folder, options);
}

describe('tar files', () => {
  test('samples may have other files, folders, long names, capital letters and dots in front', async () => {
    const long = `${'long/'.repeat(40)}name`;
    const {train, classes} = await openTar(
      tarOf([
        ['._0.png', 'of macOS'],
        ['a/0.seg.png', 'a mask is no image'],
        ['a/0.JPG', png],
        ['a/0.cls', ' 2\n'],
        ['b/0.txt', 'text'],
        ['b/0.cls', '1'],
        ['b/0.jpeg', png],
        ['README', 'no sample'],
        [`${long}.png`, png],
        [`${long}.cls`, '0'],
      ]),
    );
    expect([...train.labels]).toEqual([2, 1, 0]);
    expect(classes).toEqual(['0', '1', '2']);
  });

  test('long names of GNU tar, global headers, folders and links are read as tar has them', async () => {
    const header = (
      name: string,
      size: number,
      type: 'Directory' | 'SymbolicLink' | 'NextFileHasLongPath' | 'File',
    ) => {
      const block = Buffer.alloc(512);
      new Header({path: name, size, mode: 0o644, type}).encode(block, 0);
      return block;
    };
    const block = (content: string): Buffer => Buffer.concat([Buffer.from(content)], 512);
    const long = (name: string): Buffer[] => [
      header('././@LongLink', name.length + 1, 'NextFileHasLongPath'),
      block(`${name}\0`),
      header(name.slice(0, 90), 1, 'File'),
      block('1'),
    ];
    const key = `${'folder/'.repeat(30)}name`;
    const large = header('large.png', 1, 'File');
    large.writeUInt8(0x80, 124); // a size in binary
    large.fill(0, 125, 135);
    large.writeUInt8(1, 135);
    large.fill(' ', 148, 156);
    large.write(
      `${large
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
    );
    const {train} = await openTar(
      Buffer.concat([
        new Pax({comment: 'of all files'}, true).encode(),
        header('folder/', 0, 'Directory'),
        ...long(`${key}.png`),
        ...long(`${key}.cls`),
        header('0.png', 0, 'SymbolicLink'),
        large,
        block('x'),
        tarOf([['large.cls', '2']]),
      ]),
    );
    if (train.kind !== 'shards' || train.images.format !== 'tar') throw new Error('no tar');
    expect([...train.labels, ...train.images.sizes]).toEqual([1, 2, 1, 1]);
  });

  test('classes may be in a field of JSON, and their names in classnames.txt', async () => {
    const shard = tarOf([['0.json', '{"label": 1, "text": "x"}'], ['0.png', png]]); // prettier-ignore
    const {train, classes} = await openTar(shard, {label: 'json.label'}, {'classnames.txt': 'ant\nbee\n'});
    expect([[...train.labels], classes]).toEqual([[1], ['ant', 'bee']]);
  });

  test('groups have 64 images, so that the end of the split comes from every part of a file', async () => {
    const files = Array.from({length: 200}, (_, i) => [[`${i}.png`, 'x'], [`${i}.cls`, `${i}`]] as const).flat(); // prettier-ignore
    const {train} = await openTar(tarOf(files));
    if (train.kind !== 'shards') throw new Error('no shards');
    expect([...train.labels].toSorted((a, b) => a - b)).toEqual(Array.from({length: 200}, (_, i) => i));
    expect([...train.groups.ends]).toHaveLength(4);
  });

  test.each<[string, Buffer, object, RegExp]>([
    ['no class', tarOf([['0.png', png]]), {}, /train\.tar, sample "0": it has no \.cls file/],
    ['no image', tarOf([['0.cls', '0']]), {}, /train\.tar, sample "0": it has no \.jpg, \.jpeg, \.png file/],
    ['two images', tarOf([['0.png', png], ['0.jpg', png]]), {}, /sample "0": it has two images: 0\.png, 0\.jpg/], // prettier-ignore
    ['a class that is text', tarOf([['0.cls', 'cat'], ['0.png', png]]), {}, /train\.tar, 0\.cls: the class is "cat"; 0 to 65535/], // prettier-ignore
    ['a class too large', tarOf([['0.cls', '65536'], ['0.png', png]]), {}, /the class is 65536; 0 to 65535/], // prettier-ignore
    ['a field that is missing', tarOf([['0.json', '{}'], ['0.png', png]]), {label: 'json.label'}, /0\.json: the class is nothing/], // prettier-ignore
    ['broken JSON', tarOf([['0.json', '{'], ['0.png', png]]), {label: 'json.label'}, /sample "0": 0\.json is not JSON/], // prettier-ignore
    ['no end', tarOf([['0.png', png], ['0.cls', '0']], Buffer.alloc(0)), {}, /the archive is cut short: it has no end/], // prettier-ignore
    ['a damaged header', Buffer.concat([tarOf([['0.png', 'x']], Buffer.alloc(0)), Buffer.alloc(512, 7)]), {}, /train\.tar, byte 1024: this is no header/], // prettier-ignore
    ['no sample', tarOf([]), {}, /train\.tar and the other train files have no image/],
  ])('a shard with %s is refused by file and place', async (_, shard, options, message) => {
    const attempt = openTar(shard, options);
    await expect(attempt).rejects.toThrow(message);
    await expect(attempt).rejects.toMatchObject({code: 'shard-invalid', oclif: {exit: 3}});
  });

  test('a test class that no name stands for is refused', async () => {
    const train = tarOf([['0.png', png], ['0.cls', '0']]); // prettier-ignore
    const folder = freshFolder();
    writeFileSync(path.join(folder, 'train.tar'), train);
    writeFileSync(path.join(folder, 'test.tar'), tarOf([['7.png', png], ['7.cls', '1']])); // prettier-ignore
    await expect(webdataset.open(folder, {})).rejects.toThrow('test.tar, 7.cls: the class is 1; 0 to 0 are allowed.');
  });

  test('a shard that became shorter after it was opened is an error that names it', async () => {
    const folder = freshFolder();
    for (const name of ['train', 'test']) {
      copyFileSync(path.join(fixtures, 'test-00000-of-00001.tar'), path.join(folder, `${name}.tar`));
    }
    const dataset = await webdataset.open(folder, {size: 8});
    writeFileSync(path.join(folder, 'train.tar'), '');
    const source = open(dataset, {mode: 'evaluation', batchSize: 2});
    await expect(source.batch(0, 0)).rejects.toThrow(`Cannot read ${path.join(folder, 'train.tar')}`);
  });
});

// ------------------------------------------------------------------------------------------------------------ Parquet

describe('Parquet files', () => {
  test.each([
    [{image: 'picture'}, /has no column "picture"; it has image, label\./],
    [{label: 'class'}, /has no column "class"; it has image, label\./],
    [{train: 'hidden.parquet'}, /hidden\.parquet, row 1: the class is -1; 0 to 2 are allowed\./],
    [{label: 'image'}, /train-00000-of-00002\.parquet, row 1: the class is nothing/],
  ])('%j is refused by file and place', async (options, message) => {
    const attempt = parquetImageFiles.open(fixtures, options);
    await expect(attempt).rejects.toThrow(message);
    await expect(attempt).rejects.toMatchObject({code: 'shard-invalid', oclif: {exit: 3}});
  });

  test('images that are beside the file are refused by row', async () => {
    const dataset = await parquetImageFiles.open(fixtures, {size: 8, train: 'paths.parquet'});
    const source = open(dataset, {mode: 'evaluation', batchSize: 2});
    await expect(source.batch(0, 0)).rejects.toThrow(
      /paths\.parquet, row [12]: the image is the path "[01]\.png" only/,
    );
  });

  test('bytes after the end are no Parquet file', async () => {
    const folder = freshFolder();
    for (const name of ['train', 'test']) {
      copyFileSync(path.join(fixtures, 'test-00000-of-00001.parquet'), path.join(folder, `${name}.parquet`));
    }
    appendFileSync(path.join(folder, 'train.parquet'), 'more');
    await expect(parquetImageFiles.open(folder, {})).rejects.toThrow(
      `${path.join(folder, 'train.parquet')} cannot be read as Parquet`,
    );
  });
});
