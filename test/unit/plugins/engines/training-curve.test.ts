/**
 * Twenty training steps on real CIFAR-10 images give the same losses on every engine as on tfjs' stock cpu backend, the oracle. Uses the
 * cached data set; where it is not there (`sdq data fetch cifar10`) the tests are skipped by name, as are those of an engine that is not
 * installed.
 */
import {execFile} from 'node:child_process';
import {existsSync} from 'node:fs';
import path from 'node:path';
import {promisify} from 'node:util';

import {beforeAll, describe, expect, test} from '@jest/globals';

import {dataCache} from '../../../../src/data/cache.ts';
import {
  hasTensorflow,
  hasWebgpu,
  tensorflowEnvironment,
  webgpuEnvironment,
} from '../../../helpers/installed-engines.ts';
import type {Curves} from '../../../helpers/training-curve.ts';

const root = path.resolve(import.meta.dirname, '../../../..');
const fetched = existsSync(path.join(dataCache(), 'cifar10'));

type EngineName = 'wasm' | 'tensorflow' | 'webgpu';

const installed = [
  'wasm',
  ...(hasTensorflow ? [`tensorflow=${tensorflowEnvironment.SDQ_ENGINE_DIR}`] : []),
  ...(hasWebgpu ? [`webgpu=${webgpuEnvironment.SDQ_ENGINE_DIR}`] : []),
];

describe('twenty steps of a small residual network on CIFAR-10 give the losses of the oracle', () => {
  let curves: Readonly<Record<'4' | '32', Curves>>;
  beforeAll(async () => {
    if (!fetched) return;
    const script = path.join(root, 'test/helpers/training-curve.ts');
    const {stdout} = await promisify(execFile)(process.execPath, ['--import', 'tsx', script, ...installed], {
      cwd: root,
      env: {...process.env, ...webgpuEnvironment},
    });
    curves = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as typeof curves;
  }, 1_200_000);

  /** |loss − oracle| / oracle of each step. */
  function deviations(bits: '4' | '32', engine: EngineName): number[] {
    const {oracle, [engine]: losses} = curves[bits];
    expect(new Set(losses).size).toBe(20);
    return losses!.map((loss, i) => Math.abs(loss - oracle[i]!) / oracle[i]!);
  }

  describe.each<[EngineName, boolean]>([
    ['wasm', fetched],
    ['tensorflow', fetched && hasTensorflow],
    ['webgpu', fetched && hasWebgpu],
  ])('%s', (engine, possible) => {
    const onRealImages = possible ? test : test.skip;

    onRealImages('full precision', () => {
      expect(Math.max(...deviations('32', engine))).toBeLessThan(1e-4);
    });

    // Sooner or later rounding turns a difference in the last digit into a whole step of a grid, and the two part by some percent.
    onRealImages('W 4 / A 4', () => {
      const found = deviations('4', engine);
      expect(Math.max(...found.slice(0, 5))).toBeLessThan(1e-5);
      expect(Math.max(...found)).toBeLessThan(0.2);
      expect(found.reduce((sum, deviation) => sum + deviation, 0) / 20).toBeLessThan(0.05);
    });
  });
});
