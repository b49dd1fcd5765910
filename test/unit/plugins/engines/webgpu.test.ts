/** The webgpu engine: what it says of a machine, and, in the slow suite on a GPU in software, what it does when that fails. */
import {execFile} from 'node:child_process';
import path from 'node:path';
import {promisify} from 'node:util';

import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

import {wasmEngine} from '../../../../src/plugins/engines/wasm/index.ts';
import {verdict, webgpuEngine} from '../../../../src/plugins/engines/webgpu/index.ts';
import {trainingMs} from '../../../../src/plugins/engines/webgpu/trial.ts';
import {hasWebgpu, webgpuEnvironment, withoutWebgpu} from '../../../helpers/installed-engines.ts';
import {temporaryFolder} from '../../../helpers/temporary-folder.ts';
import type {Failures} from '../../../helpers/webgpu-failures.ts';
import type {WebgpuRuns} from '../../../helpers/webgpu-runs.ts';

const root = path.resolve(import.meta.dirname, '../../../..');
const folder = temporaryFolder();
const before = process.env['SDQ_ENGINE_DIR'];
beforeAll(() => {
  process.env['SDQ_ENGINE_DIR'] = folder;
});
afterAll(() => {
  if (before === undefined) delete process.env['SDQ_ENGINE_DIR'];
  else process.env['SDQ_ENGINE_DIR'] = before;
});

test('where it is not installed it says how to get it, and does not start', async () => {
  const reason = 'Not installed: `sdq engine install webgpu` (30 MB; any GPU with Vulkan, Metal or Direct3D 12).';
  expect(await webgpuEngine.probe({threads: 1})).toEqual({available: false, reason, device: '', rank: 0});
  await expect(webgpuEngine.start({threads: 1})).rejects.toMatchObject({
    code: 'engine-not-available',
    oclif: {exit: 6},
    message: `The webgpu engine is not available. ${reason}`,
  });
});

test.each([
  ['faster than wasm: above it', false, {webgpu: 4, wasm: 9}, 15, '4.0 ms a trial step, wasm 9.0.'],
  ['slower than wasm: below it', false, {webgpu: 9, wasm: 4}, 4, '9.0 ms a trial step, wasm 4.0.'],
  [
    'software: below all but the oracle',
    true,
    undefined,
    1,
    'A software adapter, for tests only: auto does not take it.',
  ],
] as const)('auto takes what a trial says: %s', (_, software, times, rank, reason) => {
  expect(verdict(software, 'GPU', times)).toEqual({available: true, reason, device: 'GPU', rank});
});

test('the trial trains on the current backend and leaves nothing behind', async () => {
  const wasm = await wasmEngine.start({threads: 1});
  const tensors = tf.memory().numTensors;
  expect(await trainingMs()).toBeGreaterThan(0);
  expect(tf.memory().numTensors).toBe(tensors);
  await wasm.dispose();
});

describe('on a GPU in software', () => {
  const onGpu = hasWebgpu ? test : test.skip;

  onGpu(
    `a lost device and a tensor without room end with exit code 6, and a new engine starts${hasWebgpu ? '' : `: ${withoutWebgpu}`}`,
    async () => {
      const script = path.join(root, 'test/helpers/webgpu-failures.ts');
      const {stdout} = await promisify(execFile)(process.execPath, ['--import', 'tsx', script], {
        cwd: root,
        env: {...process.env, ...webgpuEnvironment},
      });
      const failures = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Failures;
      expect(failures).toEqual({
        healthy: [6],
        tooLarge: {
          code: 'engine-out-of-memory',
          exit: 6,
          message: expect.stringContaining('4096.0 MiB were asked for'),
        },
        lost: {code: 'device-lost', exit: 6, message: expect.stringContaining('The GPU was lost')},
        afterwards: {code: 'device-lost', exit: 6, message: expect.stringContaining('The GPU was lost')},
        restarted: [6],
      });
    },
  );

  onGpu(
    `a run that is stopped, then loses its GPU in the middle, ends with the weights of one in one go${hasWebgpu ? '' : `: ${withoutWebgpu}`}`,
    async () => {
      const script = path.join(root, 'test/helpers/webgpu-runs.ts');
      const {stdout} = await promisify(execFile)(process.execPath, ['--import', 'tsx', script, folder], {
        cwd: root,
        env: {...process.env, ...webgpuEnvironment},
      });
      const runs = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as WebgpuRuns;
      const continued = {
        stopped: {code: 'interrupted', exit: 143},
        lost: {code: 'device-lost', exit: 6},
        sameWeights: true,
        sameLosses: true,
      };
      expect(runs).toEqual({pretrain: continued, train: continued});
    },
  );
});
