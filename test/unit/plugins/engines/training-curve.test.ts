/**
 * Twenty training steps on real CIFAR-10 images give the same losses on the wasm engine as on tfjs' stock cpu backend, the
 * oracle. Uses the cached data set; where it is not there (`sdq data fetch cifar10`) the tests are skipped by name.
 */
import {execFile} from 'node:child_process';
import {existsSync} from 'node:fs';
import path from 'node:path';
import {promisify} from 'node:util';

import {beforeAll, describe, expect, test} from '@jest/globals';

import {dataCache} from '../../../../src/data/cache.ts';
import type {Curves} from '../../../helpers/training-curve.ts';

const root = path.resolve(import.meta.dirname, '../../../..');
const fetched = existsSync(path.join(dataCache(), 'cifar10'));
const onRealImages = fetched ? test : test.skip;

/** |ours − oracle| / oracle of each step. */
function deviations({oracle, ours}: Curves): number[] {
  return ours.map((loss, i) => Math.abs(loss - oracle[i]!) / oracle[i]!);
}

describe('twenty steps of a small residual network on CIFAR-10 give the losses of the oracle', () => {
  let curves: Readonly<Record<'4' | '32', Curves>>;
  beforeAll(async () => {
    if (!fetched) return;
    const script = path.join(root, 'test/helpers/training-curve.ts');
    const {stdout} = await promisify(execFile)(process.execPath, ['--import', 'tsx', script], {cwd: root});
    curves = JSON.parse(stdout) as typeof curves;
  }, 120_000);

  onRealImages('full precision', () => {
    expect(new Set(curves[32].ours).size).toBe(20);
    expect(Math.max(...deviations(curves[32]))).toBeLessThan(1e-4);
  });

  // Sooner or later rounding turns a difference in the last digit into a whole step of a grid, and the two part by some percent.
  onRealImages('W 4 / A 4', () => {
    expect(new Set(curves[4].ours).size).toBe(20);
    const found = deviations(curves[4]);
    expect(Math.max(...found.slice(0, 5))).toBeLessThan(1e-5);
    expect(Math.max(...found)).toBeLessThan(0.2);
    expect(found.reduce((sum, deviation) => sum + deviation, 0) / 20).toBeLessThan(0.05);
  });
});
