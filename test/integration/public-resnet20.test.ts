/**
 * A ResNet20 with public weights on 1,000 test images, in the runtimes that its files are written for: the classes of
 * `evaluate --target`. Needs `node scripts/python-services.js runtimes`, ../shared/weights and CIFAR-10 (`sdq data fetch cifar10`);
 * skips where those are missing. In the slow suite only.
 */
import {existsSync, writeFileSync} from 'node:fs';
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
const job = {model: {name: 'resnet20'}, data: {name: 'cifar10', normalization: 'imagenet'}, engine: {threads: 1}};

async function run(args: readonly string[]): Promise<string> {
  const {exitCode, stderr, stdout} = await sdq(args, {cwd, env: {SDQ_DATA_DIR: dataCache()}});
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  return stdout;
}

(isThere ? describeWith('runtimes') : describe.skip)('ResNet20 with public weights, 1,000 test images', () => {
  test.each([
    ['openvino', 8, 8],
    ['openvino', 4, 8],
    ['openvino', 8, 4],
    ['openvino', 4, 4],
    ['onnxruntime', 8, 8],
    ['onnxruntime', 4, 8],
  ])(
    '%s, W %i / A %i',
    async (target, weightBits, activationBits) => {
      writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify(job));
      const name = `${target}.w${weightBits}a${activationBits}`;
      const settings = ['--set', `search.activationBits=${activationBits}`, '--output', `${name}.json`, '--quiet'];
      await run(['strategy', 'create', '--weight-bits', `${weightBits}`, ...settings]);
      const quantized = ['--checkpoint', weights, '--strategy', `${name}.json`];
      await run(['export', ...quantized, '--target', target, '--output', `${name}.onnx`, '--quiet']);
      const runtime = ['--runtime', target, '--python', pythonProgram('runtimes'), '--runs', '0'];
      const flags = ['--split', 'test', '--samples', '1000', '--agreement', '0', ...runtime, '--json'];
      // Its side `sdq` is the network of `evaluate --target`.
      const {accuracy, agreement, optimized} = JSON.parse(
        await run(['verify', `${name}.onnx`, ...quantized, ...flags]),
      ) as {
        accuracy: {sdq: number; exported: number};
        agreement: number;
        optimized: {agreement: number};
      };
      const found = {name, accuracy, agreement, optimized: optimized.agreement};
      const images = Math.round(1000 * Math.abs(accuracy.sdq - accuracy.exported));
      // 0.2 points, and the same class of 99 %.
      expect({...found, fits: images <= 2 && agreement >= 0.99}).toEqual({...found, fits: true});
    },
    600_000,
  );
});
