/** Flags beside --set, dry runs, and the shortest run of every phase. */
import {existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';

import {encodePng} from '../../src/data/png.ts';
import {failure, writeSmallJob} from '../helpers/failures.ts';
import {resultProblems} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = temporaryFolder();
beforeAll(() => writeSmallJob(cwd));

async function dryRun(...args: string[]): Promise<unknown> {
  const {exitCode, stderr, stdout} = await sdq([...args, '--dry-run', '--json'], {cwd});
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  expect(resultProblems('dry-run', stdout)).toEqual([]);
  return JSON.parse(stdout);
}

test('a dry run checks everything, says what would be done and leaves nothing', async () => {
  const plan = await dryRun('run', '--epochs', '3', '--set', 'search.epochs=9');
  // 128 images, 32 of them held out, in batches of 16; the flag goes before --set.
  const phases = ['pretrain', 'search', 'train'].map((name) => ({name, epochs: 3, steps: 18}));
  expect(plan).toMatchObject({command: 'run', samples: {train: 96, validation: 32, test: 32}, phases});
  expect(await dryRun('pretrain')).toMatchObject({phases: [{name: 'pretrain', epochs: 1, steps: 6}]});
  expect(existsSync(path.join(cwd, '.sdq'))).toBe(false);
  const {stdout} = await sdq(['pretrain', '--dry-run'], {cwd});
  expect(stdout).toMatch(/^mnist: 96 to train on, 32 held out, 32 to test on$/m);
  expect(await failure(['run', '--dry-run', '--set', 'data.batchSize=200'], cwd, 3)).toContain('data.batchSize is 200');
  const long = ['--bits', '1.5', '--epochs', '1', '--set', 'search.start=highest'];
  expect(await failure(['run', '--dry-run', ...long], cwd, 5)).toContain('--set search.epochs');
  expect(await failure(['run', '--dry-run', '--resume', 'latest'], cwd, 2)).toContain('--resume');
});

test.each([
  [['run', '--bits', '0.5'], '--bits 0.5: /search/target/meanWeightBits: expected a number'],
  [['pretrain', '--lr', 'high'], '--lr high: /pretrain/optimizer/learningRate: expected a number'],
  [['train', '--epochs', '1.5'], '--epochs 1.5: /train/epochs: expected a whole number'],
])('%j names the flag', async (args, message) => {
  expect(await failure(args, cwd, 3)).toContain(message);
});

test('--fast-dev-run goes through every phase, whatever the target', async () => {
  const {exitCode, stderr, stdout} = await sdq(
    ['run', '--fast-dev-run', '--set', 'search.target={meanWeightBits: 1.5, sizeKiB: 1}', '--json'],
    {cwd},
  );
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  expect(resultProblems('run', stdout)).toEqual([]);
  const {meanWeightBits, quantized} = JSON.parse(stdout) as {meanWeightBits: number; quantized: object};
  expect(meanWeightBits).toBeLessThanOrEqual(7.9);
  expect(quantized).not.toBeNull();
  const [id] = readdirSync(path.join(cwd, '.sdq/runs'));
  const steps = readFileSync(path.join(cwd, '.sdq/runs', id!, 'events.jsonl'), 'utf8').matchAll(/"step":(\d+)/g);
  // Three phases of 8 steps; the search may reach its target earlier.
  const last = Math.max(...[...steps].map(([, step]) => Number(step)));
  expect(last > 16 && last <= 24).toBe(true);
}, 60_000);

test('init takes the images of the folder; the config passes a dry run', async () => {
  const folder = path.join(cwd, 'own');
  const names = ['cat', 'dog', 'fox'];
  const image = encodePng(new Uint8Array(3 * 28 * 40), 28, 40, 3);
  for (const [split, count] of [
    ['train', 30],
    ['test', 4],
  ] as const) {
    for (const name of names) {
      const directory = path.join(folder, 'pictures', split, name);
      mkdirSync(directory, {recursive: true});
      for (let i = 0; i < count; i++) writeFileSync(path.join(directory, `${i}.png`), image);
    }
  }
  const {stdout} = await sdq(['init', '--json'], {cwd: folder});
  expect(resultProblems('init', stdout)).toEqual([]);
  const {found, path: file, template} = JSON.parse(stdout) as {found: string[]; path: string; template: string};
  expect(template).toBe('image-folder');
  expect(found).toEqual([
    'Images: ./pictures, 90 of 3 classes to train on',
    'Network: resnet20 with random weights, for images of 28 × 28',
  ]);
  const text = readFileSync(file, 'utf8');
  const [schema] = /(?<=^# yaml-language-server: \$schema=).*$/m.exec(text)!;
  expect(existsSync(path.resolve(folder, schema))).toBe(true);
  // 9 steps of 8 images an epoch: with the usual epochs the search would miss its target.
  const {exitCode, stderr, stdout: plan} = await sdq(['run', '--dry-run', '--json'], {cwd: folder});
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  expect(JSON.parse(plan)).toMatchObject({samples: {train: 76, validation: 14, test: 12}});
});
