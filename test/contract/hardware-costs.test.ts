/** `hardware estimate`, `compare` and `table-template`. */
import {mkdirSync, mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, describe, expect, test} from '@jest/globals';

import type {LatencyTable} from '../../src/hardware/latency-table.ts';
import type {Estimate} from '../../src/phases/hardware-estimate.ts';
import {resultProblems, root} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = mkdtempSync(path.join(temporaryFolder(), 'cwd-'));

beforeAll(async () => {
  for (const bits of ['2', '8']) {
    const model = ['--set', 'model.name=cnn-small', '--set', `search.activationBits=${bits}`];
    const pins = ['--set', 'search.pin={}'];
    const args = ['strategy', 'create', '--weight-bits', bits, ...model, ...pins, '--output', `w${bits}.json`];
    expect(await sdq(args, {cwd})).toMatchObject({exitCode: 0});
  }
});

describe('hardware estimate', () => {
  test.each([
    ['bitfusion-edge', 'w2.json'],
    ['cutlass-sm75', 'w8.json'],
    ['finn-zcu102', 'w2.json'],
    ['dpu-b4096', 'w8.json'],
    ['generic-bops', 'w2.json'],
    ['generic-energy-45nm', 'w8.json'],
  ])('%s of %s fits its schema', async (hardware, strategy) => {
    const args = ['hardware', 'estimate', hardware, '--strategy', strategy, '--batch', '4', '--json'];
    const {exitCode, stderr, stdout} = await sdq(args, {cwd});
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
    expect(resultProblems('hardware-estimate', stdout)).toEqual([]);
    expect(JSON.parse(stdout)).toMatchObject({hardware, batch: 4, source: 'modelled'});
  });

  test('says which rules a strategy breaks whose bits have a cost all the same', async () => {
    const profile = JSON.parse(readFileSync(path.join(root, 'hardware/generic-bops.json'), 'utf8')) as {
      formats: object;
    };
    const int8 = {type: 'integer', bits: [8], sign: 'any', symmetric: false, granularity: 'channel'};
    const formats = {...profile.formats, int8: {...int8, narrowRange: false, scale: 'float'}};
    const first = {weights: ['int8'], activations: ['int8']};
    writeFileSync(path.join(cwd, 'strict.json'), JSON.stringify({...profile, name: 'strict', formats, first}));
    const args = ['hardware', 'estimate', './strict.json', '--strategy', 'w2.json'];
    const asJson = await sdq([...args, '--json'], {cwd});
    expect(asJson.exitCode).toBe(0);
    expect(resultProblems('hardware-estimate', asJson.stdout)).toEqual([]);
    const at = {hardware: 'strict', layer: 'conv1', found: 2, allowed: [8], nearest: 8};
    expect(JSON.parse(asJson.stdout)).toMatchObject({
      violations: [
        {...at, rule: 'weight-bits'},
        {...at, rule: 'activation-bits'},
      ],
    });
    expect((await sdq(args, {cwd})).stdout).toContain(
      'It breaks 2 rules of strict: see sdq strategy validate w2.json --hardware ./strict.json',
    );
  });

  test('the table says that it is modelled', async () => {
    const {stdout} = await sdq(['hardware', 'estimate', 'bitfusion-edge', '--strategy', 'w2.json'], {cwd});
    expect(stdout).toMatch(/conv1 +2\/2 +2\/2/);
    expect(stdout).toContain('Modelled for bitfusion-edge, not measured.');
  });

  test.each([
    [3, 'batch-out-of-range', 'bitfusion-edge', ['--batch', '1000000000']],
    [3, 'batch-out-of-range', 'bitfusion-edge', ['--batch', '0']],
    [3, 'unknown-hardware', 'bitfusion-egde', []],
    [4, 'hardware-pair-not-allowed', 'dpu-b512', []],
  ])('exits %i, %s', async (exit, code, hardware, flags) => {
    const args = ['hardware', 'estimate', hardware, '--strategy', 'w2.json', ...flags, '--json'];
    const {exitCode, stdout} = await sdq(args, {cwd});
    expect(exitCode).toBe(exit);
    expect(resultProblems('error', stdout)).toEqual([]);
    expect(JSON.parse(stdout)).toMatchObject({error: {code}});
  });
});

test('hardware compare: a row a strategy and device; exits 4 where one does not run', async () => {
  const strategies = ['--strategy', 'w8.json', '--strategy', 'w2.json'];
  const both = ['--hardware', 'bitfusion-edge', '--hardware', 'bitfusion-server'];
  const {exitCode, stdout} = await sdq(['hardware', 'compare', ...strategies, ...both, '--json'], {cwd});
  expect(exitCode).toBe(0);
  expect(resultProblems('hardware-compare', stdout)).toEqual([]);
  const {rows} = JSON.parse(stdout) as {rows: {hardware: string; speedup: number}[]};
  expect(rows.map(({hardware}) => hardware)).toEqual([
    'bitfusion-edge',
    'bitfusion-edge',
    'bitfusion-server',
    'bitfusion-server',
  ]);
  expect(rows[0]!.speedup).toBe(1);
  expect(rows[1]!.speedup).toBeGreaterThan(1);

  const refused = await sdq(['hardware', 'compare', ...strategies, '--hardware', 'dpu-b512', '--json'], {cwd});
  expect(refused.exitCode).toBe(4);
  expect(resultProblems('hardware-compare', refused.stdout)).toEqual([]);
  expect(refused.stderr).toContain('dpu-b512 does not run 2-bit weights with 2-bit activations');
});

test('hardware table-template, filled in, takes the place of the model; it is not overwritten', async () => {
  const template = [
    'hardware',
    'table-template',
    'bitfusion-edge',
    '--model',
    'cnn-small',
    '--output',
    't.json',
    '--json',
  ];
  const {exitCode, stdout} = await sdq(template, {cwd});
  expect(exitCode).toBe(0);
  expect(resultProblems('hardware-table-template', stdout)).toEqual([]);
  expect((await sdq(template, {cwd})).exitCode).toBe(3);

  const file = path.join(cwd, 't.json');
  const table = JSON.parse(readFileSync(file, 'utf8')) as LatencyTable;
  const filled = table.rows.map((row) =>
    row.layer === 'conv1' && row.weightBits === 2 && row.activationBits === 2 ? {...row, latencyUs: 1234} : row,
  );
  writeFileSync(file, JSON.stringify({...table, rows: filled}));
  const measured = ['hardware', 'estimate', 'bitfusion-edge', '--strategy', 'w2.json', '--latency-table', 't.json'];
  const estimated = await sdq([...measured, '--json'], {cwd});
  expect(resultProblems('hardware-estimate', estimated.stdout)).toEqual([]);
  const {source, layers, totals} = JSON.parse(estimated.stdout) as Estimate;
  expect({source, first: layers[0]!.latencyUs}).toEqual({source: 'mixed', first: 1234});
  expect(totals.latencyUs).toBeGreaterThan(1234);
  expect((await sdq(measured, {cwd})).stdout).toContain('measured by you');

  writeFileSync(file, JSON.stringify({...table, rows: [{...table.rows[0], latencyUs: -1}]}));
  const wrong = await sdq(measured, {cwd});
  expect(wrong.exitCode).toBe(3);
  expect(wrong.stderr).toMatch(/t\.json: \/rows\/0\/latencyUs: expected .*above 0, found -1/s);
});

test("a plugin's cost model, as docs/cost-models.md has it, on a profile of the user's own", async () => {
  const plugin = path.join(cwd, 'serial');
  mkdirSync(plugin);
  const [, code] = /```js\n([\s\S]*?)```/.exec(readFileSync(path.join(root, 'docs/cost-models.md'), 'utf8'))!;
  writeFileSync(
    path.join(plugin, 'register.js'),
    `${code!}export default async ({registry}) => registry.add(serial);\n`,
  );
  const hooks = {'sdq:register': './register.js'};
  writeFileSync(
    path.join(plugin, 'package.json'),
    JSON.stringify({name: 'serial', version: '1.0.0', type: 'module', exports: './register.js', oclif: {hooks}}),
  );
  const profile = JSON.parse(readFileSync(path.join(root, 'hardware/generic-bops.json'), 'utf8')) as object;
  const constant = (value: number, unit: string) => ({value, unit, source: 'hawq-v3'});
  const constants = {clockMHz: constant(100, 'MHz'), lanes: constant(1000, 'lanes')};
  const own = {...profile, name: 'serial-array', costModel: {family: 'my-serial-array', constants}};
  writeFileSync(path.join(cwd, 'own.json'), JSON.stringify(own));
  const args = ['hardware', 'estimate', 'own.json', '--strategy', 'w2.json', '--set', 'plugins=[./serial]', '--json'];
  const {exitCode, stdout} = await sdq(args, {cwd});
  expect({exitCode, problems: resultProblems('hardware-estimate', stdout)}).toEqual({exitCode: 0, problems: []});
  const {layers} = JSON.parse(stdout) as Estimate;
  expect(layers.map(({cycles, bops}) => cycles === Math.ceil(bops / 1000))).not.toContain(false);
});
