/** What the built command loads before it does anything (bench/startup.ts times it). */
import {spawnSync} from 'node:child_process';
import {existsSync, mkdtempSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {root} from '../helpers/result-schemas.ts';
import {sdqProcess} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const base = temporaryFolder();
const folder = (): string => mkdtempSync(path.join(base, 'cwd-'));
const reporter = path.join(root, 'test/helpers/report-modules.cjs');

async function loadedPackages(args: readonly string[], cwd: string): Promise<string[]> {
  const {stderr} = await sdqProcess(args, {cwd, env: {NODE_OPTIONS: `--require=${JSON.stringify(reporter)}`}});
  return [...stderr.matchAll(/^loaded: (.*)$/gm)].map((match) => match[1]!);
}

describe('tensor libraries and image decoders stay unloaded', () => {
  test.each([
    [['--help']],
    [['search', '--help']],
    [['init']],
    [['data', 'list']],
    [['model', 'list']],
    [['model', 'show', 'resnet20']],
    [['runs', 'list']],
    [['strategy', 'create', '--weight-bits', '2', '--set', 'model.name=resnet20']],
    [['strategy', 'show', 'missing.json']],
    [['hardware', 'list']],
    [['hardware', 'schema', 'bitfusion-edge']],
  ])('%j', async (args) => {
    const loaded = await loadedPackages(args, folder());
    expect(loaded).toContain('@oclif/core');
    expect(loaded.filter((name) => name.startsWith('@tensorflow/') || name === 'sharp')).toEqual([]);
  });

  test('nor do they load where a strategy is checked, moved and priced', async () => {
    const cwd = folder();
    const model = ['--set', 'model.name=cnn-small', '--set', 'data.name=mnist', '--set', 'search.activationBits=8'];
    for (const args of [
      ['strategy', 'create', '--weight-bits', '3', '--hardware', 'bitfusion-edge', ...model],
      ['strategy', 'validate', 'strategy.json', '--hardware', 'bitfusion-edge', ...model],
      ['strategy', 'convert', 'strategy.json', '--to', 'dpu-b512', '--output', 'moved.json', ...model],
      ['hardware', 'estimate', 'bitfusion-edge', '--strategy', 'strategy.json', ...model],
    ]) {
      const loaded = await loadedPackages(args, cwd);
      expect({args, loaded: loaded.filter((name) => name.startsWith('@tensorflow/'))}).toEqual({args, loaded: []});
    }
    expect(existsSync(path.join(cwd, 'moved.json'))).toBe(true);
  });

  test('a command that computes does load them', async () => {
    expect(await loadedPackages(['doctor'], folder())).toContain('@tensorflow/tfjs-core');
  });
});

test('bash completes commands and flags after `sdq autocomplete`, whose variable is no setting', async () => {
  const cache = folder();
  const env = {XDG_CACHE_HOME: cache};
  const {exitCode} = await sdqProcess(['autocomplete', 'bash', '--refresh-cache'], {cwd: cache, env});
  expect(exitCode).toBe(0);
  const complete = (...words: string[]): string[] => {
    const script = `source ${cache}/sdq/autocomplete/functions/bash/sdq.bash
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sdq_autocomplete; echo "\${COMPREPLY[@]}"`;
    const {stdout} = spawnSync('bash', ['-c', script, 'bash', ...words], {encoding: 'utf8'});
    return stdout.trim().split(/\s+/);
  };
  expect(complete('sdq', 'runs', 'w')).toEqual(['watch']);
  expect(complete('sdq', 'runs', 'prune', '--keep')).toEqual(['--keep-last']);
  const setup = {SDQ_AC_BASH_SETUP_PATH: `${cache}/sdq/autocomplete/bash_setup`};
  expect(await sdqProcess(['runs', 'list'], {cwd: cache, env: setup})).toMatchObject({exitCode: 0, stderr: ''});
}, 60_000);

test('a reader that closes the pipe is no error', () => {
  const script = `"$NODE" "$BIN" model show resnet56 | head -1; exit "\${PIPESTATUS[0]}"`;
  const {status, stderr} = spawnSync('bash', ['-c', script], {
    cwd: folder(),
    encoding: 'utf8',
    env: {...process.env, NODE_ENV: 'production', NODE: process.execPath, BIN: path.join(root, 'bin/run.js')},
  });
  expect({status, stderr}).toEqual({status: 0, stderr: ''});
});
