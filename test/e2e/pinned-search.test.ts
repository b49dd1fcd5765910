/** `sdq search` with a layer that the user leaves in full precision. */
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';

import {readStrategy} from '../../src/phases/strategy-file.ts';
import {prepareQuantizedJob} from '../helpers/failures.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = path.join(temporaryFolder(), 'job');

beforeAll(() => prepareQuantizedJob(cwd), 60_000);

test('a pin of 32 goes with search.quantizationErrorWeight', async () => {
  const layers = readStrategy(path.join(cwd, 'w3a4.json')).layers.map(({name}) => name);
  const set = [
    'model.weights=fp.safetensors',
    `search.pin={${layers[0]!}: 32}`,
    'search.quantizationErrorWeight=0.1',
    'search.target.meanWeightBits=7',
    'search.epochs=1',
  ].flatMap((setting) => ['--set', setting]);
  const outcome = await sdq(['search', '--output', 'found.json', '--quiet', ...set], {cwd});
  expect(outcome.stderr).not.toMatch(/bug in sdq/);
  const [first, ...others] = readStrategy(path.join(cwd, 'found.json')).layers;
  expect(first).toMatchObject({weightBits: 32, pinned: true});
  expect(Math.max(...others.map(({weightBits}) => weightBits))).toBeLessThanOrEqual(8);
}, 60_000);
