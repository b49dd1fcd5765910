import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';

import {digestOf, faultsOf, readDatasetFile, type PinnedFile} from '../../../src/data/pinned-files.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const folder = temporaryFolder();
// FIPS 180-2, appendix B.1, and RFC 1321, appendix A.5.
const sha256OfAbc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
const md5OfAbc = '900150983cd24fb0d6963f7d28e17f72';
const abc: PinnedFile = {name: 'abc', bytes: 3, algorithm: 'sha256', digest: sha256OfAbc};

test('digests equal the published ones', async () => {
  const file = path.join(folder, 'abc');
  writeFileSync(file, 'abc');
  expect(await digestOf(file, 'sha256')).toBe(sha256OfAbc);
  expect(await digestOf(file, 'md5')).toBe(md5OfAbc);
  await expect(digestOf(path.join(folder, 'absent'), 'md5')).rejects.toMatchObject({oclif: {exit: 3}});
});

test('a missing file, another length and another content are told apart', async () => {
  const [short, other, absent] = ['short', 'other', 'absent'].map((name) => ({...abc, name})) as PinnedFile[];
  writeFileSync(path.join(folder, 'short'), 'ab');
  writeFileSync(path.join(folder, 'other'), 'abd');
  expect(await faultsOf(folder, [abc, short!, other!, absent!])).toEqual([
    `${path.join(folder, 'short')} has 2 bytes; 3 are expected.`,
    expect.stringMatching(/other has sha256 [0-9a-f]{64}; ba7816bf.* is expected\.$/),
    `${path.join(folder, 'absent')} is missing.`,
  ]);
});

test('reading a data set that was never fetched says how to fetch it', async () => {
  await expect(readDatasetFile(folder, {...abc, name: 'absent'}, 'letters')).rejects.toMatchObject({
    code: 'dataset-not-fetched',
    oclif: {exit: 6},
    suggestions: ['Run: sdq data fetch letters'],
  });
});

test('a file far longer than it should be is not read', async () => {
  writeFileSync(path.join(folder, 'long'), 'abcabcabc');
  await expect(readDatasetFile(folder, {...abc, name: 'long'}, 'letters')).rejects.toThrow(
    'has 9 bytes; 3 are expected.',
  );
});
