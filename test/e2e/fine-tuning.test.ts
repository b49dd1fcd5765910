/** Weights of a network with other classes: a fresh last layer, the rest from the file. */
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';

import {initialWeights} from '../../src/graph/initialize.ts';
import {parseSafetensors, serializeSafetensors} from '../../src/graph/safetensors.ts';
import {cnnSmall} from '../../src/plugins/models/cnn-small.ts';
import {sdq} from '../helpers/sdq.ts';
import {writeSmallImages} from '../helpers/small-images.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = temporaryFolder();
const weightsFile = path.join(cwd, 'thousand.safetensors');
/** A network for 1000 classes; the data have ten. */
const thousand = initialWeights(cnnSmall.build({classes: 1000, inputShape: [1, 28, 28]}, {}), 5);

beforeAll(() => {
  writeSmallImages(path.join(cwd, 'images'), {train: 64, test: 20});
  writeFileSync(weightsFile, serializeSafetensors(thousand, {}));
  const config = {
    model: {name: 'cnn-small', weights: './thousand.safetensors'},
    data: {name: 'mnist', directory: 'images', batchSize: 32, validation: 0, augment: false},
    pretrain: {epochs: 2, optimizer: {learningRate: 0.01}},
    engine: {name: 'wasm', threads: 1},
    tracking: [],
  };
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify(config));
});

const head = Object.keys(Object.fromEntries(thousand)).slice(-2);

function trained(
  stdout: string,
): ReadonlyMap<string, {readonly data: Float32Array; readonly shape: readonly number[]}> {
  const {checkpoint} = JSON.parse(stdout) as {checkpoint: string};
  return parseSafetensors(readFileSync(checkpoint), checkpoint).tensors;
}

test('without model.head the weights are refused, and the error says how to go on', async () => {
  const {exitCode, stderr} = await sdq(['pretrain'], {cwd});
  expect(exitCode).toBe(3);
  expect(stderr).toContain('--set model.head=reset');
});

test('with model.head=reset the last layer starts fresh; with headEpochs only it is trained', async () => {
  const args = ['pretrain', '--set', 'model.head=reset', '--json'];
  const frozen = await sdq([...args, '--set', 'pretrain.headEpochs=2'], {cwd});
  expect(frozen).toMatchObject({exitCode: 0});
  const tensors = trained(frozen.stdout);
  expect(head.map((name) => tensors.get(name)!.shape[0])).toEqual([10, 10]);
  const body = [...thousand].filter(([name]) => !head.includes(name) && !name.includes('running'));
  expect(body.length).toBeGreaterThan(4);
  for (const [name, {data}] of body) expect({name, data: tensors.get(name)!.data}).toEqual({name, data});
  const start = initialWeights(cnnSmall.build({classes: 10, inputShape: [1, 28, 28]}, {}), 0);
  for (const name of head) expect(tensors.get(name)!.data).not.toEqual(start.get(name)!.data);

  const whole = trained((await sdq([...args, '--set', 'pretrain.headEpochs=1'], {cwd})).stdout);
  const moved = body.filter(([name, {data}]) => data.some((value, i) => value !== whole.get(name)!.data[i]));
  expect(moved).toHaveLength(body.length);
});
