/** `train.learnScales` and `train.scaleRateFactor` with the built command. */
import {readFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';

import {parseSafetensors} from '../../src/graph/safetensors.ts';
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

test('no step is learned without learnScales', async () => {
  expect([...(await scales(1, 'train.learnScales=false')).keys()].filter((n) => n.endsWith('.weight_step'))).toEqual(
    [],
  );
});
