import {homedir} from 'node:os';
import path from 'node:path';

import {expect, test} from '@jest/globals';

import {dataCache} from '../../../src/data/cache.ts';

test('the cache is $SDQ_DATA_DIR, else below $XDG_CACHE_HOME, else below ~/.cache', () => {
  expect(dataCache({SDQ_DATA_DIR: '/data/sdq-sets', XDG_CACHE_HOME: '/xdg'})).toBe(path.resolve('/data/sdq-sets'));
  expect(dataCache({XDG_CACHE_HOME: path.resolve('/xdg')})).toBe(path.join(path.resolve('/xdg'), 'sdq'));
  expect(dataCache({})).toBe(path.join(homedir(), '.cache', 'sdq'));
});

test('an empty variable counts as none, and so does a relative XDG folder', () => {
  const standard = path.join(homedir(), '.cache', 'sdq');
  expect(dataCache({SDQ_DATA_DIR: '', XDG_CACHE_HOME: ''})).toBe(standard);
  expect(dataCache({XDG_CACHE_HOME: 'relative/folder'})).toBe(standard);
});
