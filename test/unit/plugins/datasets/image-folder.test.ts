import {createHash} from 'node:crypto';
import {mkdirSync, mkdtempSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, describe, expect, test} from '@jest/globals';
import sharp from 'sharp';

import type {Split} from '../../../../src/data/dataset.ts';
import {pathAt} from '../../../../src/data/path-list.ts';
import {imageFolder} from '../../../../src/plugins/datasets/image-folder.ts';
import {temporaryFolder} from '../../../helpers/temporary-folder.ts';

const pathsOf = (split: Split): string[] =>
  split.kind === 'files' ? Array.from({length: split.paths.length}, (_, i) => pathAt(split.paths, i)) : [];

const root = temporaryFolder();
let png: Buffer;
let jpeg: Buffer;

beforeAll(async () => {
  const image = sharp({create: {width: 9, height: 9, channels: 3, background: '#204060'}});
  png = await image.clone().png().toBuffer();
  jpeg = await image.clone().jpeg().toBuffer();
});

function folderOf(files: Readonly<Record<string, Buffer | string>>): string {
  const folder = mkdtempSync(path.join(root, 'images-'));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), {recursive: true});
    writeFileSync(path.join(folder, name), content);
  }
  return folder;
}

describe('image-folder', () => {
  test('classes are the folders of train in sorted order; hidden and other files are left out', async () => {
    const folder = folderOf({
      'train/zebra/b.JPG': jpeg,
      'train/zebra/a.png': png,
      'train/ant/x.jpeg': jpeg,
      'train/ant/notes.txt': 'no image',
      'train/ant/.hidden.png': png,
      'train/readme.txt': 'no class',
      'test/zebra/t.png': png,
    });
    const {train, test: held, classes, ...rest} = await imageFolder.open(folder, {size: 16});
    expect(classes).toEqual(['ant', 'zebra']);
    const labelled = pathsOf(train).map((file, i) => `${path.relative(folder, file)} ${train.labels[i]!}`);
    expect(labelled.sort()).toEqual(['train/ant/x.jpeg 0', 'train/zebra/a.png 1', 'train/zebra/b.JPG 1']);
    expect([...held.labels]).toEqual([1]);
    expect(rest).toMatchObject({height: 16, width: 16, channels: 3, augmentation: {pad: 2, flip: true}});
    expect((await imageFolder.open(folder, {size: 65})).augmentation).toEqual({pad: 0, flip: true});
    expect(await imageFolder.verify(folder, {})).toEqual([]);
  });

  test('the end of the training images, which is held out, has images of every class', async () => {
    const names = ['a', 'b', 'c'].flatMap((label) => Array.from({length: 40}, (_, i) => `train/${label}/${i}.png`));
    const folder = folderOf({
      ...Object.fromEntries(names.map((name) => [name, png])),
      'test/a/1.png': png,
    });
    const {train} = await imageFolder.open(folder, {});
    const held = [...train.labels.subarray(90)];
    for (const label of [0, 1, 2]) expect(held.filter((found) => found === label).length).toBeGreaterThan(4);
    const before = pathsOf(train);
    writeFileSync(path.join(folder, 'train/b/more.png'), png);
    const {train: grown} = await imageFolder.open(folder, {});
    expect(pathsOf(grown).filter((file) => !file.endsWith('more.png'))).toEqual(before);
    const digests = before.map((file) =>
      createHash('sha256').update(file.split(path.sep).slice(-2).join('/')).digest('hex'),
    );
    expect(digests).toEqual(digests.toSorted());
  });

  test('the size is 224 unless the options say otherwise', async () => {
    const folder = folderOf({'train/a/1.png': png, 'test/a/1.png': png});
    expect(await imageFolder.open(folder, {})).toMatchObject({height: 224, width: 224});
  });

  test('verify names every file that does not decode', async () => {
    const folder = folderOf({
      'train/a/good.png': png,
      'train/a/cut.png': png.subarray(0, 60),
      'test/a/text.jpg': 'no image',
    });
    expect(await imageFolder.verify(folder, {})).toEqual([
      expect.stringContaining(`Cannot decode ${path.join(folder, 'train', 'a', 'cut.png')}`),
      expect.stringContaining(`Cannot decode ${path.join(folder, 'test', 'a', 'text.jpg')}`),
    ]);
  });

  test.each([
    ['no train folder', {'test/a/1.png': ''}, /Cannot read .*train: no such file or folder\./],
    ['no test folder', {'train/a/1.png': ''}, /Cannot read .*test: no such file or folder\./],
    ['no class folder', {'train/1.png': '', 'test/a/1.png': ''}, /train has 0 class folders/],
    ['a class without images', {'train/a/1.txt': '', 'test/a/1.png': ''}, /a has no \.png, \.jpg or \.jpeg file/],
    [
      'a test class that train lacks',
      {'train/a/1.png': '', 'test/b/1.png': ''},
      /b is a class that the train folder does not have/,
    ],
  ])('%s is an error that names the folder and the layout', async (_, files, message) => {
    const opened = imageFolder.open(folderOf(files), {});
    await expect(opened).rejects.toThrow(message);
    await expect(opened).rejects.toMatchObject({code: 'image-folder-invalid', oclif: {exit: 3}});
  });

  test('there is nothing to fetch', async () => {
    const context = {
      directory: root,
      signal: new AbortController().signal,
      progress: () => undefined,
      notice: () => undefined,
    };
    await expect(imageFolder.fetch(context, {})).rejects.toMatchObject({oclif: {exit: 6}});
  });
});
