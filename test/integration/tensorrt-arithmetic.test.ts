/**
 * The arithmetic of TensorRT, by a Python program that shares no code with ours (test/helpers/run_tensorrt.py), on files of
 * `sdq export --target tensorrt`: a ResNet20 with public weights on 1,000 test images. Needs `node scripts/python-services.js tools`,
 * ../shared/weights and CIFAR-10 (`sdq data fetch cifar10`); skips where those are missing. In the slow suite only.
 */
import {spawnSync} from 'node:child_process';
import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {dataCache} from '../../src/data/cache.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {root} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const cwd = temporaryFolder();
const weights = path.join(root, '../shared/weights/resnet20-cifar10.safetensors');
const records = path.join(dataCache(), 'cifar10', 'test_batch.bin');
const isThere = thorough && existsSync(weights) && existsSync(records);
const samples = 1000;
const job = {model: {name: 'resnet20'}, data: {name: 'cifar10', normalization: 'imagenet'}};

async function run(args: readonly string[]): Promise<string> {
  const {exitCode, stderr, stdout} = await sdq(args, {cwd, env: {SDQ_DATA_DIR: dataCache()}});
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  return stdout;
}

(isThere ? describeWith('tools') : describe.skip)('TensorRT, computed on integers', () => {
  test.each([
    [8, 8],
    [4, 8],
    [4, 4],
  ])(
    'W %i / A %i: the accuracy of evaluate --target',
    async (weightBits, activationBits) => {
      writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify(job));
      const [strategy, file] = [`w${weightBits}a${activationBits}.json`, `w${weightBits}a${activationBits}.onnx`];
      const settings = ['--set', `search.activationBits=${activationBits}`];
      await run(['strategy', 'create', '--weight-bits', `${weightBits}`, ...settings, '--output', strategy, '--quiet']);
      const quantized = ['--checkpoint', weights, '--strategy', strategy];
      await run(['export', ...quantized, '--target', 'tensorrt', '--output', file, '--quiet']);
      // Its side `sdq` is the network of `evaluate --target`.
      const flags = ['--split', 'test', '--samples', String(samples), '--agreement', '0.95', '--runs', '0', '--json'];
      const verified = await run(['verify', file, ...quantized, ...flags]);
      const {accuracy} = JSON.parse(verified) as {accuracy: {sdq: number}};
      const helper = path.join(root, 'test/helpers/run_tensorrt.py');
      const program = [helper, path.join(cwd, file), records, String(samples)];
      const {status, stderr, stdout} = spawnSync(pythonProgram('tools'), program, {encoding: 'utf8'});
      expect({status, stderr}).toEqual({status: 0, stderr: ''});
      const {classes} = JSON.parse(stdout) as {classes: readonly number[]};
      expect(classes).toHaveLength(samples);
      const bytes = readFileSync(records);
      const correct = classes.filter((label, i) => label === bytes[i * 3073]).length;
      // Half a point: values at the middle of two levels round otherwise in floats. 3 of 1,000 images differ at W 4 / A 8.
      expect(Math.abs(correct - Math.round(samples * accuracy.sdq))).toBeLessThanOrEqual(5);
    },
    600_000,
  );
});
