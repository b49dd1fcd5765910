/** `sdq predict` and `sdq data verify --sheet` for detectors: by a checkpoint and by its exported file, on photographs with drawn rectangles. */
import {existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';
import sharp from 'sharp';

import {initialWeights} from '../../src/graph/initialize.ts';
import {decodeOnnx, metadataOf} from '../../src/graph/onnx/proto.ts';
import {serializeSafetensors} from '../../src/graph/safetensors.ts';
import {yolov4Tiny} from '../../src/plugins/models/yolov4-tiny.ts';
import {writeBoxImages} from '../helpers/box-images.ts';
import {resultProblems} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = path.join(temporaryFolder(), 'job');
const photographs = ['photos/JPEGImages/test0.png', 'photos/JPEGImages/test1.png'];

beforeAll(async () => {
  mkdirSync(cwd);
  await writeBoxImages(path.join(cwd, 'photos'), 'voc', {train: 7, test: 2});
  writeFileSync(
    path.join(cwd, 'sdq.config.yaml'),
    `model: {name: yolov4-tiny}
task: {name: detection, options: {nmsIou: 0.3}}
data: {name: boxes, directory: ./photos, batchSize: 2, validation: 1, options: {size: 64}}
engine: {name: wasm, threads: 1}
`,
  );
  const graph = yolov4Tiny.build({classes: 2, inputShape: [3, 64, 64]}, {});
  writeFileSync(path.join(cwd, 'fresh.safetensors'), serializeSafetensors(initialWeights(graph, 3), {}));
  const {exitCode, stderr} = await sdq(['export', '--checkpoint', 'fresh.safetensors', '--output', 'fresh.onnx'], {
    cwd,
  });
  expect({exitCode, stderr}).toMatchObject({exitCode: 0});
}, 120_000);

interface Detected {
  readonly width: number;
  readonly height: number;
  readonly picture?: string;
  readonly boxes: readonly {readonly name: string; readonly score: number; readonly box: readonly number[]}[];
}

async function predicted(...args: string[]): Promise<readonly Detected[]> {
  const {exitCode, stderr, stdout} = await sdq(['predict', ...photographs, ...args, '--json'], {cwd});
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  expect(resultProblems('predict', stdout)).toEqual([]);
  return (JSON.parse(stdout) as {predictions: readonly Detected[]}).predictions;
}

test('a checkpoint and its exported file find the same boxes, and draw them', async () => {
  const ours = await predicted('--checkpoint', 'fresh.safetensors', '--min-score', '0.0045', '--pictures', 'found');
  const theirs = await predicted('--checkpoint', 'fresh.onnx', '--min-score', '0.0045');
  for (const [i, {boxes, height, picture, width}] of ours.entries()) {
    expect([width, height]).toEqual([96, 64]);
    expect(boxes.length).toBeGreaterThan(3);
    expect(theirs[i]!.boxes).toHaveLength(boxes.length);
    for (const {box, name, score} of boxes) {
      const isSame = (other: Detected['boxes'][number]): boolean =>
        other.name === name &&
        Math.abs(other.score - score) < 1e-4 &&
        other.box.every((edge, k) => Math.abs(edge - box[k]!) < 0.05);
      expect(theirs[i]!.boxes.some(isSame)).toBe(true);
      const [left, top, right, bottom] = box as [number, number, number, number];
      expect(left <= right && top <= bottom && right <= 96 && bottom <= 64).toBe(true);
    }
    expect(picture).toBe(path.join('found', `test${i}.boxes.png`));
    const {width: drawnWidth} = await sharp(path.join(cwd, picture!)).metadata();
    expect(drawnWidth).toBe(96);
  }
  expect(theirs.every(({picture}) => picture === undefined)).toBe(true);
}, 60_000);

/** The exported file with a part of its metadata replaced by a text of the same length. */
function changed(part: string, by: string): string {
  const bytes = readFileSync(path.join(cwd, 'fresh.onnx'), 'latin1');
  expect([bytes.split(part).length, by.length]).toEqual([2, part.length]);
  const name = 'changed.onnx';
  writeFileSync(path.join(cwd, name), bytes.replace(part, by), 'latin1');
  return name;
}

test('the exported file holds the letterbox and the IoU of boxes that overlap, and predict keeps to them', async () => {
  const metadata = metadataOf(decodeOnnx(readFileSync(path.join(cwd, 'fresh.onnx')))!);
  expect(JSON.parse(metadata.get('sdq.heads')!)).toMatchObject({
    nmsIou: 0.3,
    letterbox: {mode: 'centred', grey: 114},
  });
  const boxes = async (file: string): Promise<Detected['boxes']> =>
    (await predicted('--checkpoint', file, '--min-score', '0.0045'))[0]!.boxes;
  const few = await boxes('fresh.onnx');
  // A file of an earlier version does not name it: 0.45.
  const more = await boxes(changed('nmsIou', 'unused'));
  const all = await boxes(changed('"nmsIou":0.3', '"nmsIou":1.0'));
  expect([few.length < more.length, more.length < all.length]).toEqual([true, true]);
  expect(await boxes(changed('"grey":114', '"grey":  0'))).not.toEqual(few);
  for (const [part, by, message] of [
    ['"nmsIou":0.3', '"nmsIou":2.0', 'nmsIou of the metadata sdq.heads is 2; allowed: 0 … 1'],
    ['centred', 'topleft', 'letterbox.mode of the metadata sdq.heads is "topleft"'],
    ['"grey":114', '"grey":"x"', 'letterbox.grey of the metadata sdq.heads is "x"'],
  ] as const) {
    const file = changed(part, by);
    const {exitCode, stderr} = await sdq(['predict', photographs[0]!, '--checkpoint', file], {cwd});
    expect({exitCode, stderr}).toEqual({exitCode: 3, stderr: expect.stringContaining(`${file}: ${message}`)});
  }
}, 60_000);

test('a table of the boxes, nothing where no score is high enough, and flags that are refused', async () => {
  const predict = async (...args: string[]): ReturnType<typeof sdq> =>
    sdq(['predict', photographs[0]!, '--checkpoint', 'fresh.onnx', ...args], {cwd});
  expect((await predict('--min-score', '0.0045')).stdout).toMatch(
    /photos\/JPEGImages\/test0\.png +(blue|red) +\d\.\d +\d+, \d+, \d+, \d+\n/,
  );
  expect((await predict()).stdout).toMatch(/test0\.png +nothing/);
  expect(await predict('--min-score', '2')).toMatchObject({exitCode: 2});
  const twice = await sdq(
    ['predict', photographs[0]!, photographs[0]!, '--checkpoint', 'fresh.onnx', '--pictures', 'p'],
    {cwd},
  );
  expect(twice).toMatchObject({exitCode: 2});
  expect(twice.stderr).toContain('test0.boxes.png');
  expect(existsSync(path.join(cwd, 'p'))).toBe(false);
}, 60_000);

test('data verify draws training images with their boxes', async () => {
  const {exitCode, stdout} = await sdq(['data', 'verify', 'boxes', '--sheet', 'sheet.png'], {cwd});
  expect({exitCode, stdout}).toMatchObject({exitCode: 0, stdout: expect.stringContaining(path.join(cwd, 'sheet.png'))});
  // Seven images of 256 pixels in two rows of six.
  const {data, info} = await sharp(path.join(cwd, 'sheet.png')).raw().toBuffer({resolveWithObject: true});
  expect([info.width, info.height, info.channels]).toEqual([6 * 260 + 4, 2 * 260 + 4, 3]);
  // The frame of the first class, in its colour, and nothing of it where there is no image.
  const isFrame = (i: number): boolean => data[3 * i] === 0xe6 && data[3 * i + 1] === 0x9f && data[3 * i + 2] === 0;
  const frames = Array.from({length: info.width * info.height}, (_, i) => i).filter(isFrame);
  expect(frames.length).toBeGreaterThan(300);
  expect(frames.every((i) => i % info.width < 264 || Math.floor(i / info.width) < 264)).toBe(true);
  expect(await sdq(['data', 'verify', 'boxes', '--sheet', 'sheet.jpg'], {cwd})).toMatchObject({exitCode: 2});
  const folder = path.join(cwd, 'photos', 'Annotations');
  const count = (name: string, split: 'train' | 'test'): number =>
    readdirSync(folder)
      .filter((file) => file.startsWith(split))
      .reduce((sum, file) => sum + readFileSync(path.join(folder, file), 'utf8').split(`<name>${name}<`).length - 1, 0);
  const counts = ['blue', 'red'].map((name) => `${name} ${count(name, 'train')} and ${count(name, 'test')}`);
  expect(stdout).toContain(`Boxes in train and test: ${counts.join(', ')}.`);
}, 30_000);
