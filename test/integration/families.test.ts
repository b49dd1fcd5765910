/**
 * A small network of each family from PyTorch to a verified file: both of PyTorch's exporters, a search, a training, an export, and
 * ONNX Runtime. Needs `node scripts/python-services.js torch torchvision`; skips where they are missing. The daily suite takes one family.
 */
import {spawnSync} from 'node:child_process';
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import sharp from 'sharp';

import {createNetwork} from '../../src/graph/network.ts';
import {readNetwork} from '../../src/network-file.ts';
import {normal, uniform} from '../../src/random.ts';
import {useCpuBackend} from '../helpers/cpu-backend.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {resultProblems} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

useCpuBackend();
const cwd = temporaryFolder();
const inFolder = (name: string): string => path.join(cwd, name);
const exporter = path.resolve(import.meta.dirname, '../helpers/export_families.py');

const families = ['shufflenet', 'convnext', 'vit', 'swin', 'swin-v2', 'mobilenet-v3', 'efficientnet', 'unet-encoder'];
const colours = [
  [200, 40, 40],
  [40, 200, 40],
  [40, 40, 200],
  [160, 160, 40],
] as const;

const config = {
  model: {name: 'onnx'},
  data: {
    name: 'image-folder',
    directory: './images',
    batchSize: 16,
    validation: 16,
    augment: false,
    options: {size: 32},
  },
  pretrain: {epochs: 2, optimizer: {learningRate: 0.02}},
  search: {target: {meanWeightBits: 6}, epochs: 8, activationBits: 8, dualRate: 10, dbp: {learningRate: 1}},
  train: {epochs: 1, optimizer: {learningRate: 0.005}},
  engine: {threads: 1},
};

/** Noise in the colour of the class. */
async function writeImages(): Promise<void> {
  const draw = uniform(7, 'bench');
  for (const [split, count] of [
    ['train', 36],
    ['test', 8],
  ] as const) {
    for (const [label, colour] of colours.entries()) {
      const folder = inFolder(`images/${split}/${label}`);
      mkdirSync(folder, {recursive: true});
      for (let i = 0; i < count; i++) {
        const pixels = Uint8Array.from({length: 32 * 32 * 3}, (_, k) =>
          Math.max(0, Math.min(255, colour[k % 3]! + 40 * normal(draw))),
        );
        const image = sharp(pixels, {raw: {width: 32, height: 32, channels: 3}}).png();
        writeFileSync(path.join(folder, `${i}.png`), await image.toBuffer());
      }
    }
  }
}

async function done(...args: string[]): Promise<Record<string, unknown>> {
  const {exitCode, stdout, stderr} = await sdq([...args, '--json'], {cwd});
  expect({args, exitCode, stderr: exitCode === 0 ? '' : stderr}).toEqual({args, exitCode: 0, stderr: ''});
  expect(resultProblems(args[0]!, stdout)).toEqual([]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

(thorough ? describeWith('torchvision') : describe.skip)('networks of torchvision (in the slow suite)', () => {
  beforeAll(async () => {
    const {status, stderr} = spawnSync(pythonProgram('torchvision'), [exporter, cwd, ...families], {encoding: 'utf8'});
    expect({status, stderr: status === 0 ? '' : stderr}).toEqual({status: 0, stderr: ''});
    await writeImages();
    writeFileSync(inFolder('sdq.config.json'), JSON.stringify(config));
  }, 600_000);

  const files = families.flatMap((family) => ['onnx', 'script.onnx'].map((ending) => [family, `${family}.${ending}`]));

  test.each(files)('%s: %s has the logits of PyTorch', (family, file) => {
    const {graph, weights} = readNetwork(inFolder(file));
    const {input, logits} = JSON.parse(readFileSync(inFolder(`${family}.json`), 'utf8')) as Record<string, number[]>;
    const network = createNetwork(graph, weights);
    const x = tf.transpose(tf.tensor(input!, [1, 3, 32, 32]), [0, 2, 3, 1]);
    const ours = network.forward(tf.concat([tf.zerosLike(x), x]), {training: false}).dataSync();
    network.dispose();
    const largest = Math.max(...logits!.map(Math.abs));
    logits!.forEach((value, i) =>
      expect(Math.abs(ours[logits!.length + i]! - value)).toBeLessThanOrEqual(1e-5 * largest),
    );
  });

  // By PyTorch's default exporter.
  test.each(families)(
    '%s is searched, trained, exported and verified',
    async (family) => {
      const file = `${family}.onnx`;
      const settings = ['--set', `model.options.file=${file}`, '--set', `model.weights=${file}`];
      const quantized = `${file}.safetensors`;
      await done('run', ...settings, '--set', 'model.head=reset', '--output', quantized);
      // Of `vit` the batch is not the first axis of every value.
      for (const target of family === 'vit' ? ['onnx', 'onnxruntime'] : ['onnx']) {
        const exported = `${file}.${target}.onnx`;
        await done('export', ...settings, '--checkpoint', quantized, '--target', target, '--output', exported);
        const verified = await done('verify', exported, ...settings, '--checkpoint', quantized);
        expect({target, ...verified}).toMatchObject({passed: true, agreement: 1});
        // With ONNX Runtime's optimizations, its default.
        const optimized = verified['optimized'] as {agreement: number};
        expect({target, agrees: optimized.agreement >= 0.9}).toEqual({target, agrees: true});
      }
    },
    600_000,
  );
});
