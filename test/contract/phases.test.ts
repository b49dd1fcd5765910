/** The built phase commands on a small real job, their `--json` results against the published schemas. */
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';

import {resultNames, resultProblems, root} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {writeSmallImages} from '../helpers/small-images.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = temporaryFolder();

beforeAll(() => {
  writeSmallImages(path.join(cwd, 'images'), {train: 192, test: 64});
  const config = {
    model: {name: 'cnn-small'},
    data: {name: 'mnist', directory: './images', batchSize: 16, validation: 32},
    pretrain: {epochs: 1},
    search: {method: 'uniform', target: {meanWeightBits: 4}, epochs: 1, activationBits: 8},
    train: {epochs: 1},
    engine: {threads: 1},
  };
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify(config));
});

/** The commands in an order in which each finds what it needs. */
const jobs: readonly (readonly [name: string, ...args: string[]])[] = [
  ['runs-list', 'runs', 'list'],
  ['pretrain', 'pretrain', '--output', 'fp.safetensors'],
  ['search', 'search', '--set', 'model.weights=fp.safetensors', '--output', 'strategy.json'],
  [
    'train',
    'train',
    '--set',
    'model.weights=fp.safetensors',
    '--strategy',
    'strategy.json',
    '--output',
    'q.safetensors',
  ],
  ['evaluate', 'evaluate', '--checkpoint', 'q.safetensors'],
  ['evaluate', 'evaluate', '--checkpoint', 'fp.safetensors', '--split', 'validation'],
  ['export', 'export', '--checkpoint', 'q.safetensors', '--output', 'model.onnx'],
  ['verify', 'verify', 'model.onnx', '--checkpoint', 'q.safetensors', '--samples', '20'],
  ['verify', 'verify', 'model.onnx', '--checkpoint', 'q.safetensors', '--samples', '9', '--runs', '0', '--batch', '4'],
  ['run', 'run'],
  ['report', 'report'],
  ['runs-list', 'runs', 'list'],
  ['runs-show', 'runs', 'show'],
  ['track-status', 'track', 'status'],
  ['track-sync', 'track', 'sync'],
  ['bench-step', 'bench', 'step', '--model', 'cnn-small', '--batch', '8', '--steps', '2'],
];

test("bench step times the config's model where none is named", async () => {
  const {stdout} = await sdq(['bench', 'step', '--batch', '8', '--steps', '1', '--json'], {cwd});
  expect(JSON.parse(stdout)).toMatchObject({model: 'cnn-small', batch: 8, steps: 1});
});

test("bench step takes images of the shape of the config's data set", async () => {
  // At the model's own 224 × 224 the patches of 16 × 16 would fit.
  const {exitCode, stderr} = await sdq(['bench', 'step', '--model', 'vit', '--batch', '1', '--steps', '1'], {cwd});
  expect({exitCode, stderr}).toEqual({
    exitCode: 3,
    stderr: expect.stringContaining('it must divide the image, 28 × 28.'),
  });
});

test('each prints one object that fits its schema, and nothing on stderr', async () => {
  for (const [name, ...args] of jobs) {
    const {exitCode, stderr, stdout} = await sdq([...args, '--json'], {cwd});
    expect({name, exitCode, stderr}).toEqual({name, exitCode: 0, stderr: ''});
    expect({name, problems: resultProblems(name, stdout)}).toEqual({name, problems: []});
  }
  const {runs} = JSON.parse((await sdq(['runs', 'list', '--json'], {cwd})).stdout) as {runs: {id: string}[]};
  expect(runs).toHaveLength(4);
  const {stdout} = await sdq(['runs', 'compare', runs[0]!.id, runs[3]!.id, '--json'], {cwd});
  expect(resultProblems('runs-compare', stdout)).toEqual([]);
}, 300_000);

test('evaluate measures the split that it is asked for', async () => {
  const images = async (...flags: string[]): Promise<[split: string, images: number]> => {
    const {stdout} = await sdq(['evaluate', '--checkpoint', 'fp.safetensors', ...flags, '--json'], {cwd});
    const result = JSON.parse(stdout) as {split: string; samples: number};
    return [result.split, result.samples];
  };
  // 192 images, of which 32 are held out, and 64 others.
  expect(await images()).toEqual(['test', 64]);
  for (const [split, count] of [
    ['train', 160],
    ['validation', 32],
    ['test', 64],
  ] as const)
    expect(await images('--split', split)).toEqual([split, count]);
});

test('there is a schema for every command', () => {
  const manifest = JSON.parse(readFileSync(path.join(root, 'oclif.manifest.json'), 'utf8')) as {commands: object};
  const commands = Object.keys(manifest.commands).map((id) => id.replaceAll(':', '-'));
  expect([...resultNames].sort()).toEqual([...commands, 'dry-run', 'error'].sort());
});

test('every summary is one sentence with a full stop, and every command has examples', () => {
  const manifest = JSON.parse(readFileSync(path.join(root, 'oclif.manifest.json'), 'utf8')) as {
    commands: Readonly<
      Record<string, {summary?: string; examples?: unknown[]; flags: Record<string, {summary?: string}>}>
    >;
  };
  for (const [id, {examples, flags, summary}] of Object.entries(manifest.commands)) {
    const texts = [summary, ...Object.values(flags).map((flag) => flag.summary)];
    expect({id, texts}).toEqual({id, texts: texts.map((): unknown => expect.stringMatching(/^[^a-z].*\.$/))});
    expect({id, examples: examples?.length}).not.toEqual({id, examples: 0});
  }
});
