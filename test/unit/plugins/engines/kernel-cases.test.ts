/** Every operator of training on every engine beside the oracle, tfjs' stock cpu backend: test/helpers/kernel-cases.ts. */
import {execFile} from 'node:child_process';
import path from 'node:path';
import {promisify} from 'node:util';

import {beforeAll, describe, expect, test} from '@jest/globals';

import {
  hasTensorflow,
  hasWebgpu,
  tensorflowEnvironment,
  webgpuEnvironment,
  withoutTensorflow,
  withoutWebgpu,
} from '../../../helpers/installed-engines.ts';
import type {Differences} from '../../../helpers/kernel-cases.ts';
import {thorough} from '../../../helpers/thorough.ts';

const root = path.resolve(import.meta.dirname, '../../../..');
const script = path.join(root, 'test/helpers/kernel-cases.ts');

describe.each([
  ['wasm', thorough, 'in the slow suite', {}],
  ['tensorflow', hasTensorflow, withoutTensorflow, tensorflowEnvironment],
  ['webgpu', hasWebgpu, withoutWebgpu, webgpuEnvironment],
] as const)('%s', (engine, isPossible, why, environment) => {
  const onEngine = isPossible ? test : test.skip;
  let differences: Differences;
  beforeAll(async () => {
    if (!isPossible) return;
    const {stdout} = await promisify(execFile)(process.execPath, ['--import', 'tsx', script, engine], {
      cwd: root,
      env: {...process.env, ...environment},
    });
    differences = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Differences;
  }, 900_000);

  onEngine(`is within 1e-5 of the oracle in every operator and gradient${isPossible ? '' : `: ${why}`}`, () => {
    const wrong = Object.entries(differences).filter(
      ([, difference]) => typeof difference === 'string' || difference.elements === 0 || difference.relative > 1e-5,
    );
    expect(wrong).toEqual([]);
    expect(Object.keys(differences).length).toBeGreaterThan(110);
  });
});
