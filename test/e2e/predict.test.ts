/** `sdq predict`: by a checkpoint and by an exported file, against `sdq evaluate`, which reads the images another way. */
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {gunzipSync} from 'node:zlib';

import {beforeAll, expect, test} from '@jest/globals';
import sharp from 'sharp';

import {failure, prepareQuantizedJob} from '../helpers/failures.ts';
import {resultProblems} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = path.join(temporaryFolder(), 'job');
const quantized = ['--checkpoint', 'fp.safetensors', '--strategy', 'w3a4.json'];
const count = 32;
const names = Array.from({length: count}, (_, i) => `${i}.png`);
let labels: number[];

/** Bytes of an IDX file behind its header of `skip` bytes. */
function idx(name: string, skip: number): Uint8Array {
  const bytes = readFileSync(path.join(cwd, 'images', name));
  return (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).subarray(skip);
}

beforeAll(async () => {
  await prepareQuantizedJob(cwd);
  const images = idx('t10k-images-idx3-ubyte', 16);
  labels = [...idx('t10k-labels-idx1-ubyte', 8)];
  for (const [i, name] of names.entries()) {
    const raw = {width: 28, height: 28, channels: 1} as const;
    const pixels = images.subarray(784 * i, 784 * (i + 1));
    await sharp(pixels, {raw}).png().toFile(path.join(cwd, name));
  }
  expect(await sdq(['export', ...quantized, '--output', 'model.onnx'], {cwd})).toMatchObject({exitCode: 0});
}, 120_000);

interface Ranked {
  readonly classes: readonly {readonly name: string; readonly probability: number}[];
}

async function predicted(...args: string[]): Promise<readonly Ranked[]> {
  const {exitCode, stderr, stdout} = await sdq(['predict', ...names, ...args, '--json'], {cwd});
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  expect(resultProblems('predict', stdout)).toEqual([]);
  return (JSON.parse(stdout) as {predictions: readonly Ranked[]}).predictions;
}

test('as many images are right as evaluate says, and ONNX Runtime gives the same probabilities', async () => {
  const ours = await predicted(...quantized, '--top', '10');
  const right = ours.filter(({classes}, i) => classes[0]!.name === String(labels[i])).length;
  const {accuracy} = JSON.parse((await sdq(['evaluate', ...quantized, '--json'], {cwd})).stdout) as {accuracy: number};
  expect(right / count).toBeCloseTo(accuracy, 6);
  const theirs = await predicted('--checkpoint', 'model.onnx', '--top', '10');
  for (const [i, {classes}] of ours.entries()) {
    expect(classes.reduce((sum, {probability}) => sum + probability, 0)).toBeCloseTo(1, 5);
    for (const {name, probability} of classes) {
      expect(theirs[i]!.classes.find((other) => other.name === name)!.probability).toBeCloseTo(probability, 4);
    }
  }
}, 60_000);

test('a table of the likeliest, and what cannot be read', async () => {
  const {stdout} = await sdq(['predict', '0.png', '--checkpoint', 'model.onnx', '--top', '2'], {cwd});
  expect(stdout).toMatch(/^image +class +probability %\n0\.png +\d +[\d.]+\n +\d +[\d.]+\n$/);
  writeFileSync(path.join(cwd, 'no.png'), 'no image');
  expect(await failure(['predict', 'no.png', '--checkpoint', 'model.onnx'], cwd, 3)).toContain('no.png');
  expect(await failure(['predict', 'missing.png', '--checkpoint', 'model.onnx'], cwd, 3)).toContain('missing.png');
  writeFileSync(path.join(cwd, 'bad.onnx'), 'no model');
  expect(await failure(['predict', '0.png', '--checkpoint', 'bad.onnx'], cwd, 3)).toContain('bad.onnx');
});
