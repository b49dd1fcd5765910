/** The commands of examples/own-images/README.md in their order, on few small images, from a network of 1000 classes. */
import {cpSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';
import sharp from 'sharp';

import {initialWeights} from '../../src/graph/initialize.ts';
import {encodeOnnx} from '../../src/graph/onnx/proto.ts';
import {toOnnx} from '../../src/graph/onnx/to-onnx.ts';
import {serializeSafetensors} from '../../src/graph/safetensors.ts';
import {cnnSmall} from '../../src/plugins/models/cnn-small.ts';
import {root} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const photographs = path.join(folder, 'photographs');
const readme = readFileSync(path.join(root, 'examples/own-images/README.md'), 'utf8');
const classes = {cat: '#d02020', dog: '#20d020', fox: '#2020d0'};

/** Commands of the section, without `npx sdq`. */
function commandsOf(section: string): string[][] {
  const text = readme.split(`## ${section}\n`)[1] ?? '';
  const script = /```sh\n([^`]*)```/.exec(text)?.[1] ?? '';
  return script
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((line) => line.startsWith('npx sdq '))
    .map((line) => line.split(/\s+/).slice(2));
}

/** What makes the job small; `init` takes network, image size, batch and the search's epochs from what is in the folder. */
const small = {'pretrain.epochs': '3', 'train.epochs': '1', 'engine.threads': '1'};

beforeAll(async () => {
  for (const [name, background] of Object.entries(classes)) {
    const image = await sharp({create: {width: 40, height: 36, channels: 3, background}})
      .png()
      .toBuffer();
    for (const [split, count] of [
      ['train', 16],
      ['test', 4],
    ] as const) {
      const ofClass = path.join(photographs, split, name);
      mkdirSync(ofClass, {recursive: true});
      for (let i = 0; i < count; i++) writeFileSync(path.join(ofClass, `${i}.png`), image);
    }
  }
});

const thousand = cnnSmall.build({classes: 1000, inputShape: [3, 28, 28]}, {});
const weights = initialWeights(thousand, 5);
const onnx = {irVersion: 10, opsets: {'': 21}, graph: toOnnx(thousand, weights, ({inputs}) => inputs)};

test.each([
  ['mobilenet_v2.safetensors', serializeSafetensors(weights, {}), 'Weights: ./mobilenet_v2.safetensors, a cnn-small'],
  [
    'network.onnx',
    encodeOnnx({...onnx, producerVersion: '', metadata: {}}),
    'Network: ./network.onnx, for images of 28 × 28',
  ],
])('%s of 1000 classes, from init to a verified export', async (file, bytes, line) => {
  const cwd = path.join(folder, file);
  cpSync(photographs, path.join(cwd, 'images'), {recursive: true});
  writeFileSync(path.join(cwd, file), bytes);
  const commands = commandsOf('From the weights of another network');
  expect(commands.map(([name]) => name)).toEqual(['init', 'data', 'run', 'evaluate', 'export', 'verify']);
  const outputs = new Map<string, string>();
  for (const command of commands) {
    const settings =
      command[0] === 'init' ? [] : Object.entries(small).flatMap(([key, to]) => ['--set', `${key}=${to}`]);
    const {exitCode, stdout, stderr} = await sdq([...command, ...settings, '--json'], {cwd});
    expect({command, exitCode, stderr: exitCode === 0 ? '' : stderr}).toEqual({command, exitCode: 0, stderr: ''});
    outputs.set(command[0]!, stdout);
  }
  expect(outputs.get('init')).toContain(`${line}; its last layer starts fresh for your classes`);
  expect(JSON.parse(outputs.get('evaluate')!)).toMatchObject({accuracy: 1, samples: 12});
  expect(JSON.parse(outputs.get('verify')!)).toMatchObject({passed: true});
});
