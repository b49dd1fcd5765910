import {expect, test} from '@jest/globals';

import {models} from '../../../src/plugins/models/index.ts';
import {Registry} from '../../../src/plugin-api/registry.ts';

test('after a hook that throws, the next definition is not credited to its package', async () => {
  const registry = new Registry(['model']);
  const [definition] = models;
  await expect(registry.from('bad-plugin', () => Promise.reject(new Error('no luck')))).rejects.toThrow('no luck');
  registry.add(definition!);
  expect(registry.source('model', definition!.name)).toBe('sdq');
});
