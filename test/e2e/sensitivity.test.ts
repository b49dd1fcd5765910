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

interface Row {
  readonly kind: string;
  readonly data: Readonly<Record<string, number>>;
}

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

test('search.start: sensitivity begins one candidate above what the method chooses, and comes down from there', async () => {
  writeSmallImages(path.join(cwd, 'few'), {train: 40, test: 10});
  const weights = initialWeights(cnnSmall.build({classes: 10, inputShape: [1, 28, 28]}, {}), 5);
  writeFileSync(path.join(cwd, 'few.safetensors'), serializeSafetensors(weights, {}));
  const config = {
    model: {name: 'cnn-small', weights: './few.safetensors'},
    data: {name: 'mnist', directory: 'few', batchSize: 20, validation: 0, augment: false},
    search: {
      candidates: [1, 2, 4, 8],
      target: {meanWeightBits: 2.1},
      options: {score: 'taylor'},
      epochs: 10,
      dualRate: 5,
      dbp: {learningRate: 1},
    },
    engine: {name: 'wasm', threads: 1},
    tracking: [],
    runs: {logEverySteps: 1},
  };
  const searched = async (search: object): Promise<{strategy: Strategy; rows: Row[]; steps: number}> => {
    writeFileSync(
      path.join(cwd, 'few.config.json'),
      JSON.stringify({...config, search: {...config.search, ...search}}),
    );
    const {exitCode, stdout, stderr} = await sdq(['search', '--config', 'few.config.json', '--json'], {cwd});
    expect({exitCode, output: exitCode === 0 ? '' : stdout + stderr}).toEqual({exitCode: 0, output: ''});
    const {strategy, steps} = JSON.parse(stdout) as {strategy: string; steps: number};
    const journal = readFileSync(path.join(path.dirname(strategy), 'events.jsonl'), 'utf8')
      .trim()
      .split('\n');
    return {
      steps,
      strategy: JSON.parse(readFileSync(strategy, 'utf8')) as Strategy,
      rows: journal.map((line) => JSON.parse(line) as Row).filter(({kind}) => kind === 'metric'),
    };
  };
  const program = await searched({method: 'sensitivity'});
  const fromThere = await searched({method: 'sdq', start: 'sensitivity'});
  const first = fromThere.rows.find(({data}) => 'search/loss' in data)!.data;
  const {candidates} = config.search;
  for (const {name, pinned, weightBits} of program.strategy.layers) {
    const above = candidates[Math.min(candidates.indexOf(weightBits) + 1, candidates.length - 1)];
    expect({name, bits: first[`dbp/${name}/bits`]}).toEqual({name, bits: pinned === true ? weightBits : above});
  }
  expect(fromThere.rows.some(({data}) => 'sensitivity/layer1.0.conv1/w1a32' in data)).toBe(true);
  expect(fromThere.steps).toBeGreaterThan(0);
  expect(fromThere.strategy.provenance.method).toBe('sdq');
  expect(fromThere.strategy.summary.meanWeightBits).toBeLessThanOrEqual(2.1);
});
