import {createHash} from 'node:crypto';
import {mkdirSync, mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {packNpm} from '../../../src/data/npm-package.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const root = temporaryFolder();
const integrity = createHash('sha512').update('the package').digest('base64');

/** Runs `packNpm` with an `npm` that is this shell script. */
function packWith(script: string, signal = new AbortController().signal): {packed: Promise<string>; folder: string} {
  const folder = mkdtempSync(path.join(root, 'run-'));
  const bin = path.join(folder, 'bin');
  mkdirSync(bin);
  writeFileSync(path.join(bin, 'npm'), `#!/bin/sh\n${script}\n`, {mode: 0o755});
  const environment = {PATH: `${bin}:/usr/bin:/bin`};
  return {packed: packNpm({name: 'pics', version: '1.0.0', integrity, folder, signal, environment}), folder};
}

(process.platform === 'win32' ? describe.skip : describe)('packNpm', () => {
  test('asks npm for exactly this version, in its own folder, without scripts', async () => {
    const {packed, folder} = packWith('echo "$@" > arguments; printf "the package" > pics-1.0.0.tgz');
    expect(await packed).toBe(path.join(folder, 'pics-1.0.0.tgz'));
    const given = readFileSync(path.join(folder, 'arguments'), 'utf8').split(/\s+/);
    expect(given.slice(0, 2)).toEqual(['pack', 'pics@1.0.0']);
    expect(given).toContain('--ignore-scripts');
  });

  test('a tarball that is not the pinned one is refused', async () => {
    const {packed} = packWith('printf "another package" > pics-1.0.0.tgz');
    await expect(packed).rejects.toThrow(`${integrity} is expected`);
  });

  test.each([
    [
      'its own words',
      'echo "npm error code E404" >&2; echo "npm error 404 Not Found." >&2; exit 1',
      'code E404; 404 Not Found.',
    ],
    ['its exit code', 'exit 7', 'it ended with exit code 7.'],
    ['no tarball', 'exit 0', 'it wrote no pics-1.0.0.tgz.'],
  ])('npm that fails is named with %s', async (_, script, message) => {
    const {packed} = packWith(script);
    await expect(packed).rejects.toThrow(`npm pack pics@1.0.0: ${message}`);
    await expect(packed).rejects.toMatchObject({oclif: {exit: 6}});
  });

  test('without npm on the PATH the reason is named', async () => {
    const folder = mkdtempSync(path.join(root, 'run-'));
    const signal = new AbortController().signal;
    const packed = packNpm({name: 'pics', version: '1.0.0', integrity, folder, signal, environment: {PATH: folder}});
    await expect(packed).rejects.toThrow('npm pack pics@1.0.0: spawn npm ENOENT.');
  });

  test('a stop ends npm', async () => {
    const stop = new AbortController();
    const {packed} = packWith('exec sleep 60', stop.signal);
    setTimeout(() => stop.abort(new Error('stop now')), 100);
    await expect(packed).rejects.toThrow('stop now');
  });
});
