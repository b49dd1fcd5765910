/** What a plugin may register: all that sdq has itself, and nothing that would fail later as if sdq were wrong. */
import {expect, test} from '@jest/globals';

import {checkDefinition} from '../../../src/config/check-definition.ts';
import register from '../../../src/hooks/register.ts';
import {Registry, type Definitions, type Kind} from '../../../src/plugin-api/registry.ts';

const kinds: readonly Kind[] = [
  'engine',
  'dataset',
  'model',
  'weight-quantizer',
  'activation-quantizer',
  'searcher',
  'cost-model',
  'exporter',
  'strategy-format',
  'tracker',
];

test('every built-in definition would do', async () => {
  const registry = new Registry(kinds);
  await registry.from('all', () => register({registry}));
  const added = registry.additions;
  for (const {definition, source} of added) checkDefinition(definition, source);
  expect(new Set(added.map(({definition}) => definition.kind))).toEqual(new Set(kinds));
});

const model: Definitions['model'] = {
  kind: 'model',
  name: 'my-net',
  summary: 'Two convolutions.',
  optionsSchema: {type: 'object', properties: {channels: {type: 'integer', default: 8}}},
  defaults: {classes: 10, inputShape: [3, 32, 32]},
  build: () => {
    throw new Error('not built here');
  },
};

test('a class that has what its kind asks for will do', () => {
  class Net {
    kind = 'model';
    name = 'my-net';
    summary = 'Two convolutions.';
    optionsSchema = {type: 'object'};
    defaults = model.defaults;
    build(): void {}
  }
  expect(() => checkDefinition(new Net(), 'mine')).not.toThrow();
});

test.each([
  [{kind: 'modell'}, '/kind: expected one of "engine", "dataset", "model"'],
  [{name: 'My Net'}, '/name: expected text like /^[a-z0-9][a-z0-9.-]*$/, found "My Net".'],
  [{name: undefined}, 'something, which cannot be used: "name" is missing.'],
  [{summary: ''}, '/summary: expected text that is not empty, found "".'],
  [{optionsSchema: [1]}, '/optionsSchema: expected a mapping, found [1].'],
  [
    {optionsSchema: {type: 'strin'}},
    '/optionsSchema: not a JSON Schema (2020-12): schema is invalid: data/type must be',
  ],
  [
    {optionsSchema: {$ref: '#/$defs/x'}},
    "/optionsSchema: not a JSON Schema (2020-12): can't resolve reference #/$defs/x",
  ],
  [{build: 'later'}, '/build: expected a function.'],
  [{defaults: undefined}, '"defaults" is missing.'],
  [
    {defaults: {classes: 0, inputShape: [3, 32, 32]}},
    '/defaults/classes: expected a whole number of at least 1, found 0.',
  ],
  [{kind: 'searcher'}, '/load: expected a function.'],
])('%j is refused: %s', (change, message) => {
  const refuse = (): void => checkDefinition({...model, ...change}, 'mine');
  expect(refuse).toThrow('The plugin mine registers');
  expect(refuse).toThrow(message);
  expect(refuse).toThrow(expect.objectContaining({code: 'plugin-failed', oclif: {exit: 3}}));
});
