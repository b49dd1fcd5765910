import {existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import {create} from 'tar';

import {extractEntries} from '../../../src/data/tarball.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const folder = temporaryFolder();
let made = 0;

/** A tarball of `package/<name>` for every content; a content of `{target}` is a symbolic link. */
async function tarball(
  contents: Readonly<Record<string, string | {target: string}>>,
): Promise<{file: string; target: string}> {
  const root = path.join(folder, `${made++}`);
  const target = path.join(root, 'out');
  mkdirSync(path.join(root, 'package', 'sub'), {recursive: true});
  mkdirSync(target);
  for (const [name, content] of Object.entries(contents)) {
    const file = path.join(root, 'package', name);
    if (typeof content === 'string') writeFileSync(file, content);
    else symlinkSync(content.target, file);
  }
  const file = path.join(target, 'p.tgz');
  await create({file, gzip: true, cwd: root}, ['package']);
  return {file, target};
}

describe('extractEntries', () => {
  test('writes the named files and nothing else', async () => {
    const {file, target} = await tarball({a: 'first', 'sub/b': 'second', c: 'not wanted'});
    await extractEntries(file, [
      {entry: 'package/a', bytes: 5, file: path.join(target, 'one')},
      {entry: 'package/sub/b', bytes: 6, file: path.join(target, 'two')},
    ]);
    expect(readdirSync(target).toSorted()).toEqual(['one', 'p.tgz', 'two']);
    expect(readFileSync(path.join(target, 'two'), 'utf8')).toBe('second');
  });

  test.each([
    ['an entry of another length', {a: 'longer'}, 'package/a has 6 bytes; 5 are expected.'],
    ['an entry that is missing', {b: 'first'}, 'it has no file package/a.'],
    ['a link in place of the file', {a: {target: '/etc/passwd'}}, 'it has no file package/a.'],
  ])('%s is refused, and nothing is left behind', async (_, contents, message) => {
    const {file, target} = await tarball(contents);
    const extracted = extractEntries(file, [{entry: 'package/a', bytes: 5, file: path.join(target, 'one')}]);
    await expect(extracted).rejects.toThrow(`${file}: ${message}`);
    expect(readdirSync(target)).toEqual(['p.tgz']);
  });

  test('an archive that is cut or is none is named', async () => {
    const {file, target} = await tarball({a: 'first'.repeat(10_000)});
    const entries = [{entry: 'package/a', bytes: 50_000, file: path.join(target, 'one')}];
    const whole = readFileSync(file);
    for (const bytes of [whole.subarray(0, whole.length / 2), Buffer.from('no archive'), Buffer.alloc(0)]) {
      writeFileSync(file, bytes);
      await expect(extractEntries(file, entries)).rejects.toMatchObject({code: 'tarball-invalid', oclif: {exit: 3}});
      expect(existsSync(path.join(target, 'one'))).toBe(false);
    }
  });
});
