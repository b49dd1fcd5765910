/** `train.learnScales` and `train.scaleRateFactor` with the built command. */
import {readFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';

import {parseSafetensors} from '../../src/graph/safetensors.ts';
import {readModelFile} from '../../src/phases/model-file.ts';
import {prepareQuantizedJob} from '../helpers/failures.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = path.join(temporaryFolder(), 'job');

beforeAll(() => prepareQuantizedJob(cwd), 60_000);

/** The learned steps and ranges, by their tensors' names, after this many epochs. */
async function scales(epochs: number, ...settings: string[]): Promise<Map<string, readonly number[]>> {
  const set = ['model.weights=fp.safetensors', `train.epochs=${epochs}`, ...settings].flatMap((s) => ['--set', s]);
  const args = ['train', '--strategy', 'w3a4.json', '--output', 'q.safetensors', '--quiet', ...set];
  expect(await sdq(args, {cwd})).toMatchObject({exitCode: 0, stderr: ''});
  const {tensors} = parseSafetensors(readFileSync(path.join(cwd, 'q.safetensors')), 'q.safetensors');
  const learned = [...tensors].filter(([name]) => /\.(weight_step|input_range)$/.test(name));
  return new Map(learned.map(([name, {data}]) => [name, [...data]]));
}

test('steps and ranges stay where they started at a rate of almost nothing, and move at that of the weights', async () => {
  const [one, two] = [await scales(1, 'train.scaleRateFactor=1e-12'), await scales(2, 'train.scaleRateFactor=1e-12')];
  const kinds = [expect.stringMatching(/weight_step$/), expect.stringMatching(/input_range$/)];
  expect([...one.keys()]).toEqual(expect.arrayContaining(kinds));
  expect(two).toEqual(one);
  const moved = await scales(1);
  const still = [...one].filter(([name, values]) => String(moved.get(name)) === String(values)).map(([name]) => name);
  // The range of an input that is clipped nowhere has no gradient.
  expect(still.filter((name) => name.endsWith('.weight_step'))).toEqual([]);
  expect(still.length).toBeLessThan([...one.keys()].filter((name) => name.endsWith('.input_range')).length);
}, 60_000);

test('without learnScales the steps in the file come from statistics, and it says so', async () => {
  const [rates, still] = ['train.optimizer.learningRate=1e-12', 'train.optimizer.weightDecay=0'];
  const statistic = await scales(1, 'train.learnScales=false', rates, still);
  expect(gradients()).toEqual(new Set(['none']));
  const learned = await scales(1, 'train.scaleRateFactor=1e-12', rates, still);
  expect(gradients()).toEqual(new Set(['lsq']));
  const steps = [...statistic].filter(([name]) => name.endsWith('.weight_step'));
  expect(steps.length).toBeGreaterThan(5);
  // Learned steps start from the statistics.
  for (const [name, values] of steps) {
    for (const [i, value] of values.entries()) expect(value / (learned.get(name)?.[i] ?? NaN)).toBeCloseTo(1, 5);
  }
}, 60_000);

/** How the file of the last training says that the steps of weights are trained. */
function gradients(): Set<unknown> {
  const {quantization} = readModelFile(path.join(cwd, 'q.safetensors'));
  const {layers} = quantization as {layers: Record<string, {weights: {gradient: {scale: string}}}>};
  return new Set(Object.values(layers).map(({weights}) => weights.gradient.scale));
}
