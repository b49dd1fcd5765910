import {mkdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {afterAll, beforeAll, expect, test} from '@jest/globals';

import {isInstalled, readyFile, readyText} from '../../scripts/python-service-list.js';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const before = process.env['TEST_CACHE'];
beforeAll(() => {
  process.env['TEST_CACHE'] = folder;
});
afterAll(() => {
  if (before === undefined) delete process.env['TEST_CACHE'];
  else process.env['TEST_CACHE'] = before;
});

test('an environment of another list of requirements is not used', () => {
  const ready = readyFile('tools');
  expect(ready.startsWith(folder)).toBe(true);
  expect(isInstalled('tools')).toBe(false);
  mkdirSync(path.dirname(ready), {recursive: true});
  // What environments were marked with before the list was compared.
  writeFileSync(ready, '');
  expect(isInstalled('tools')).toBe(false);
  writeFileSync(ready, readyText('tools'));
  expect(isInstalled('tools')).toBe(true);
  writeFileSync(ready, readyText('tools').replace(/torch==[\d.]+/, 'torch==0.1'));
  expect(isInstalled('tools')).toBe(false);
});
