/** `search.method: sensitivity` as a user runs it. */
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';

import {initialWeights} from '../../src/graph/initialize.ts';
import {serializeSafetensors} from '../../src/graph/safetensors.ts';
import {cnnSmall} from '../../src/plugins/models/cnn-small.ts';
import type {Strategy} from '../../src/sdq/strategy.ts';
import {sdq} from '../helpers/sdq.ts';
import {writeSmallImages} from '../helpers/small-images.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = temporaryFolder();

test('finds bitwidths that keep two targets without a training step, and logs what each bitwidth costs', async () => {
  writeSmallImages(path.join(cwd, 'images'), {train: 40, test: 10});
  const weights = initialWeights(cnnSmall.build({classes: 10, inputShape: [1, 28, 28]}, {}), 5);
  writeFileSync(path.join(cwd, 'start.safetensors'), serializeSafetensors(weights, {}));
  const config = {
    model: {name: 'cnn-small', weights: './start.safetensors'},
    data: {name: 'mnist', directory: 'images', batchSize: 20, validation: 0, augment: false},
    search: {
      method: 'sensitivity',
      candidates: [2, 4, 8],
      activationBits: [4, 8],
      target: {meanWeightBits: 4.2, sizeKiB: 60},
    },
    engine: {name: 'wasm', threads: 1},
    tracking: [],
  };
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify(config));
  const {exitCode, stdout, stderr} = await sdq(['search', '--json'], {cwd});
  expect({exitCode, output: exitCode === 0 ? '' : stdout + stderr}).toEqual({exitCode: 0, output: ''});
  const result = JSON.parse(stdout) as {strategy: string; steps: number; budgets: {missedBy: number}[]};
  expect(result.steps).toBe(0);
  expect(result.budgets.map(({missedBy}) => missedBy)).toEqual([0, 0]);
  const {layers, provenance, summary} = JSON.parse(readFileSync(result.strategy, 'utf8')) as Strategy;
  expect(provenance.method).toBe('sensitivity');
  expect(summary.meanWeightBits).toBeLessThanOrEqual(4.2);
  const free = layers.filter(({pinned}) => pinned !== true);
  expect(free.every(({weightBits}) => [2, 4, 8].includes(weightBits))).toBe(true);
  const journal = readFileSync(path.join(path.dirname(result.strategy), 'events.jsonl'), 'utf8');
  expect(journal).toContain(`"sensitivity/${free[0]!.name}/w2"`);
});
