/** The generated JSON Schemas against our validator, and against another implementation of JSON Schema where it is installed. */
import {spawnSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import {Ajv2020} from 'ajv/dist/2020.js';

import type {HardwareProfile, IntegerFormat} from '../../../src/hardware/profile.ts';
import {hardwareViolations} from '../../../src/hardware/rules.ts';
import {strategySchemaOf} from '../../../src/phases/hardware-check.ts';
import {profileNames, readProfile} from '../../../src/phases/hardware-file.ts';
import {checkedStrategy} from '../../../src/phases/strategy-file.ts';
import {weightQuantizers} from '../../../src/plugins/quantizers/index.ts';
import {Registry} from '../../../src/plugin-api/registry.ts';
import {generator} from '../../helpers/random-strategy.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';
import {thorough} from '../../helpers/thorough.ts';

const folder = temporaryFolder();
const registry = new Registry(['weight-quantizer']);
for (const quantizer of weightQuantizers) registry.add(quantizer);

const base = readProfile('bitfusion-edge');
const eight: IntegerFormat = {...(base.formats['weights'] as IntegerFormat), bits: [8]};
/** Bit Fusion with 8 bits in the first layer. */
const strictFirst: HardwareProfile = {
  ...base,
  name: 'strict-first',
  formats: {...base.formats, eight},
  first: {weights: ['eight'], activations: ['eight']},
};
const profiles = [...profileNames().map(readProfile), strictFirst];

/** Whether our validator accepts it: the file, then the device. */
function accepts(strategy: unknown, profile: HardwareProfile): boolean {
  try {
    return hardwareViolations(profile, checkedStrategy(strategy, 'strategy.json'), weightQuantizers).length === 0;
  } catch {
    return false;
  }
}

const count = thorough ? 10_000 : 1000;
const seed = 20_261_123;

describe(`${count} random strategies, seed ${seed}`, () => {
  const draw = generator(seed);
  const drawn = Array.from({length: count}, (_, i) => {
    const profile = profiles[i % profiles.length]!;
    const strategy = draw(profile);
    return {profile, strategy, accepted: accepts(strategy, profile)};
  });

  test('many are accepted and many are refused, on every device', () => {
    for (const {name} of profiles) {
      const own = drawn.filter(({profile}) => profile.name === name);
      const accepted = own.filter((one) => one.accepted).length;
      expect(accepted).toBeGreaterThan(own.length / 10);
      expect(own.length - accepted).toBeGreaterThan(own.length / 10);
    }
  });

  test('the generated schema and our validator agree', () => {
    const validators = new Map(
      profiles.map((profile) => [
        profile.name,
        new Ajv2020({strictTypes: false, strictRequired: false, strictTuples: false}).compile(
          strategySchemaOf(profile, registry),
        ),
      ]),
    );
    const disagreements = drawn.filter(
      ({profile, strategy, accepted}) => validators.get(profile.name)!(strategy) !== accepted,
    );
    expect(disagreements).toEqual([]);
  });

  const python = spawnSync('python3', ['-c', 'from jsonschema import Draft202012Validator'], {encoding: 'utf8'});
  const testPython = python.status === 0 ? test : test.skip;
  testPython('so does the jsonschema package of Python (skipped where it is not installed)', () => {
    const file = path.join(folder, 'drawn.json');
    writeFileSync(
      file,
      JSON.stringify({
        schemas: Object.fromEntries(profiles.map((profile) => [profile.name, strategySchemaOf(profile, registry)])),
        drawn: drawn.map(({profile, strategy}) => [profile.name, strategy]),
      }),
    );
    const script = [
      'import json, sys',
      'from jsonschema import Draft202012Validator as V',
      'd = json.load(open(sys.argv[1]))',
      'for s in d["schemas"].values(): V.check_schema(s)',
      'v = {n: V(s) for n, s in d["schemas"].items()}',
      'print(json.dumps([v[n].is_valid(s) for n, s in d["drawn"]]))',
    ].join('\n');
    const {status, stdout, stderr} = spawnSync('python3', ['-c', script, file], {
      encoding: 'utf8',
      maxBuffer: 2 ** 24,
      timeout: 50_000,
    });
    expect({status, stderr}).toEqual({status: 0, stderr: ''});
    const verdicts = JSON.parse(stdout) as boolean[];
    expect(drawn.filter(({accepted}, i) => verdicts[i] !== accepted)).toEqual([]);
  });
});

test('a schema stands alone: no reference leads out of it', () => {
  for (const profile of profiles) {
    const text = JSON.stringify(strategySchemaOf(profile, registry));
    expect(text).not.toContain('"$ref"');
  }
});
