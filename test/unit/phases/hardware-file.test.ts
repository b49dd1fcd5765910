import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import {Ajv2020} from 'ajv/dist/2020.js';

import type {SdqError} from '../../../src/errors.ts';
import {allowedPairs} from '../../../src/hardware/rules.ts';
import {
  checkedProfile,
  profileNames,
  profilesFor,
  readProfile,
  readProfiles,
} from '../../../src/phases/hardware-file.ts';
import {root} from '../../helpers/result-schemas.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const folder = temporaryFolder();

/** The profile in docs/hardware.md. */
const example = /```json\n([^`]*)```/.exec(readFileSync(path.join(root, 'docs/hardware.md'), 'utf8'))![1]!;
const file = path.join(folder, 'my-npu.json');
writeFileSync(file, example);

/** The example with the value at a JSON pointer changed. */
function changed(pointer: string, value: unknown): Record<string, unknown> {
  const profile = JSON.parse(example) as Record<string, unknown>;
  const keys = pointer.split('/').slice(1);
  const last = keys.pop()!;
  const holder = keys.reduce((node, key) => node[key] as Record<string, unknown>, profile);
  holder[last] = value;
  return profile;
}

test('the example of the documentation: bits of the first, a depthwise, a middle and the last layer', () => {
  const layers = [
    {name: 'conv1', op: 'Conv'},
    {name: 'depthwise', op: 'Conv', depthwise: true},
    {name: 'conv2', op: 'Conv'},
    {name: 'fc', op: 'Gemm'},
  ];
  const pairs = allowedPairs(readProfile(file), layers);
  expect(pairs.map((of) => of.map(({weightBits}) => weightBits))).toEqual([[8], [8], [2, 3, 4, 8], [8]]);
  expect(pairs[2]![1]).toEqual({weightBits: 3, activationBits: 8, executedAs: [4, 8]});
});

test('the profiles that come with sdq fit the published schema', () => {
  const read = (name: string): unknown => JSON.parse(readFileSync(path.join(root, name), 'utf8')) as unknown;
  const isValid = new Ajv2020({strict: false}).compile(read('schemas/hardware.schema.json') as object);
  const refused = profileNames().filter((name) => !isValid(read(`hardware/${name}.json`)));
  expect(refused).toEqual([]);
});

test('the profile of a cost model that a plugin brings is not held to the constants of ours', () => {
  const constants = {speed: {value: 1, unit: 'm/s', source: 'datasheet'}};
  const profile = changed('/costModel', {family: 'my-model', constants});
  expect(checkedProfile(profile, 'my-npu.json').costModel.family).toBe('my-model');
});

const conv = {weights: ['int4'], activations: ['uint8']};
const clock = {value: 1, unit: 'MHz', source: 'hearsay'};
const cycle = [
  {weights: [4], activations: [8], executedAs: [8, 4]},
  {weights: [8], activations: [4], executedAs: [4, 8]},
];

describe('a broken profile is refused with place, value and what is allowed', () => {
  test.each([
    [
      'an unknown operator',
      '/operators/Convv',
      conv,
      /\/operators\/Convv: unknown key "Convv". Known here: Conv, Gemm/,
    ],
    [
      'an unknown format',
      '/operators/Gemm/weights/0',
      'int5',
      /weights\/0: there is no format "int5". Known: int4, int8/,
    ],
    [
      'an unknown format of the last layer',
      '/last/activations',
      ['x'],
      /\/last\/activations\/0: there is no format "x"/,
    ],
    [
      'a depthwise Gemm',
      '/operators/Gemm/depthwise',
      conv,
      /\/operators\/Gemm\/depthwise: only a Conv can be depthwise/,
    ],
    ['half a bit', '/formats/int4/bits', [2.5], /\/formats\/int4\/bits\/0: expected a whole number/],
    ['bits out of range', '/formats/int4/bits', [9], /\/formats\/int4\/bits\/0: .*at most 8, found 9/],
    [
      'a type that is none',
      '/formats/int4/type',
      'complex',
      /type: expected one of "integer", "float", found "complex"/,
    ],
    [
      'a cycle',
      '/pairs',
      cycle,
      /\/pairs\/0\/executedAs: 8×4 runs as 4×8: it must be a combination that the device runs directly/,
    ],
    ['executed as what is not allowed', '/pairs/0/executedAs', [8, 4], /executedAs: 8×4 is not an allowed combination/],
    ['a constant of another family', '/costModel/constants/clockMHz', clock, /\/constants\/clockMHz: unknown key/],
    ['a missing constant', '/costModel/family', 'finn-dataflow', /\/costModel\/constants: "clockMHz" is missing/],
    [
      'a number without a source',
      '/costModel',
      {family: 'finn-dataflow', constants: {clockMHz: clock}},
      /\/costModel\/constants\/clockMHz\/source: there is no source "hearsay". Known: datasheet/,
    ],
    ['another version', '/version', 2, /\/version: expected 1, found 2/],
    ['no object', '/operators', 3, /\/operators: expected a mapping/],
  ])('%s', (_, pointer, value, message) => {
    let error: unknown;
    try {
      checkedProfile(changed(pointer, value), 'my-npu.json');
    } catch (thrown) {
      error = thrown;
    }
    expect((error as SdqError).message).toMatch(message);
    expect((error as SdqError).message).toMatch(/^my-npu\.json: /);
    expect((error as SdqError).oclif.exit).toBe(3);
  });
});

describe('references', () => {
  test('an unknown name is refused with the nearest', () => {
    expect(() => readProfile('bitfusion-edg')).toThrow(expect.objectContaining({code: 'unknown-hardware'}));
    try {
      readProfile('bitfusion-edg');
    } catch (error) {
      expect((error as SdqError).suggestions).toContain('Did you mean "bitfusion-edge"?');
    }
  });

  test('a file that is not JSON, too large, or not there', () => {
    const bad = path.join(folder, 'bad.json');
    writeFileSync(bad, '{"version": 1');
    expect(() => readProfile(bad)).toThrow(/bad\.json is not JSON/);
    writeFileSync(bad, ' '.repeat(2 ** 20 + 1));
    expect(() => readProfile(bad)).toThrow(/at most 1048576 are read/);
    expect(() => readProfile(path.join(folder, 'none.json'))).toThrow(/no such file/);
  });

  test('two files of one name cannot both be meant; the same one twice is one', () => {
    const copy = path.join(folder, 'copy.json');
    writeFileSync(copy, example);
    expect(() => readProfiles([file, copy])).toThrow(/Two hardware profiles have the name "my-npu"/);
    expect(readProfiles([file, file, 'dpu-b512']).map(({name}) => name)).toEqual(['my-npu', 'dpu-b512']);
  });

  test('the names of a strategy are looked up among those given, then among ours', () => {
    expect(profilesFor([file], ['my-npu', 'dpu-b512']).map(({name}) => name)).toEqual(['my-npu', 'dpu-b512']);
    expect(() => profilesFor([], ['my-npu'])).toThrow(/no hardware profile "my-npu"/);
  });
});
