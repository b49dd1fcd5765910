/** A small job in a folder of its own, and how a failure of the built command is judged. */
import {mkdirSync, readdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect} from '@jest/globals';

import {sdq, type sdqProcess} from './sdq.ts';
import {writeSmallImages} from './small-images.ts';

export const smallJob = {
  model: {name: 'cnn-small'},
  data: {name: 'mnist', directory: './images', batchSize: 16, validation: 32},
  pretrain: {epochs: 1},
  search: {target: {meanWeightBits: 4.5}, epochs: 2, dualRate: 10, dbp: {learningRate: 1}},
  train: {epochs: 1},
  engine: {threads: 1},
  runs: {checkpointSeconds: 0, logEverySteps: 3},
};

/** Writes images and config of the small job. */
export function writeSmallJob(cwd: string): void {
  mkdirSync(cwd, {recursive: true});
  writeSmallImages(path.join(cwd, 'images'), {train: 128, test: 32});
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify(smallJob));
}

/** The small job with its trained weights, `fp.safetensors`, and a strategy of W 3 / A 4, `w3a4.json`. */
export async function prepareQuantizedJob(cwd: string): Promise<void> {
  writeSmallJob(cwd);
  expect(await sdq(['pretrain', '--output', 'fp.safetensors', '--quiet'], {cwd})).toMatchObject({exitCode: 0});
  const create = ['strategy', 'create', '--weight-bits', '3', '--set', 'search.activationBits=4', '--quiet'];
  expect(await sdq([...create, '--output', 'w3a4.json'], {cwd})).toMatchObject({exitCode: 0});
}

/** Runs the command; it must fail with this exit code, say so in plain words and leave no half-written file. */
export async function failure(
  args: readonly string[],
  cwd: string,
  exit: number,
  run: typeof sdqProcess = sdq,
): Promise<string> {
  const {exitCode, stderr} = await run(args, {cwd});
  expect({exitCode, stderr}).toMatchObject({exitCode: exit});
  expect(stderr).not.toMatch(/^\s+at |bug in sdq/m);
  expect(temporaryFiles(cwd)).toEqual([]);
  return stderr.replaceAll(/\s+/g, ' ');
}

/** Files that a write left unfinished. */
export function temporaryFiles(folder: string): string[] {
  return readdirSync(folder, {recursive: true, encoding: 'utf8'}).filter((name) => name.endsWith('.tmp'));
}
