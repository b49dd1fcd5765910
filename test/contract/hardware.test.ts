/** Hardware rules at the built command: `--json` against its schemas, exit codes, files of other tools. */
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, describe, expect, test} from '@jest/globals';

import {failure, smallJob, writeSmallJob} from '../helpers/failures.ts';
import type {CommandOutcome} from '../helpers/in-process.ts';
import {resultProblems, root} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = temporaryFolder();
const model = ['--set', 'model.name=resnet18'];

async function json(name: string, args: readonly string[], exit = 0): Promise<Record<string, unknown>> {
  const {exitCode, stdout} = await sdq([...args, '--json'], {cwd});
  expect(exitCode).toBe(exit);
  expect(resultProblems(name, stdout)).toEqual([]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

const readJson = (file: string): unknown => JSON.parse(readFileSync(path.join(cwd, file), 'utf8'));

beforeAll(async () => {
  const activations = ['--set', 'search.activationBits=4'];
  await json('strategy-create', [
    'strategy',
    'create',
    '--weight-bits',
    '4',
    ...model,
    ...activations,
    '--output',
    's.json',
  ]);
});

test('hardware list, show and schema', async () => {
  const {hardware} = await json('hardware-list', ['hardware', 'list']);
  expect(hardware).toHaveLength(22);
  await json('hardware-show', ['hardware', 'show', 'cutlass-sm80']);
  const schema = await json('hardware-schema', ['hardware', 'schema', 'dpu-b512', '--output', 'dpu.json']);
  expect(readJson('dpu.json')).toEqual(schema);
});

test('strategy validate: valid exits 0, a violation 4 with the result', async () => {
  const valid = await json('strategy-validate', [
    'strategy',
    'validate',
    's.json',
    '--hardware',
    'cutlass-sm80',
    'cutlass-sm90',
  ]);
  expect(valid).toEqual({valid: true, hardware: ['cutlass-sm80', 'cutlass-sm90'], violations: [], unchecked: []});
  const {violations} = await json(
    'strategy-validate',
    ['strategy', 'validate', 's.json', '--hardware', 'tensorrt-int8'],
    4,
  );
  expect((violations as unknown[])[0]).toEqual({
    hardware: 'tensorrt-int8',
    layer: 'layer1.0.conv1',
    rule: 'weight-bits',
    found: 4,
    allowed: [8, 32],
    nearest: 8,
  });
});

test('a strategy is checked against the hardware that it names, and the config’s', async () => {
  const strategy = readJson('s.json') as Record<string, unknown>;
  writeFileSync(path.join(cwd, 'named.json'), JSON.stringify({...strategy, hardware: ['dpu-b512']}));
  const {hardware, valid} = await json(
    'strategy-validate',
    ['strategy', 'validate', 'named.json', '--set', 'hardware=[bitfusion-edge]'],
    4,
  );
  expect({hardware, valid}).toEqual({hardware: ['bitfusion-edge', 'dpu-b512'], valid: false});
});

describe('strategy convert', () => {
  test('to a device: every layer up, what it costs, and the result is valid', async () => {
    const {moves, before, after, quantizer} = await json('strategy-convert', [
      'strategy',
      'convert',
      's.json',
      '--to',
      'dpu-b512',
    ]);
    expect(moves).toHaveLength(19);
    expect(quantizer).toEqual({from: 'narrow', to: 'narrow-per-tensor'});
    // 8 bits everywhere: 116 G bit operations (algorithm of ResNet18 at 224 × 224, 1.814 G multiply-accumulates).
    expect((after as {bops: number}).bops / 1e9).toBeCloseTo(116.1, 1);
    expect((before as {bops: number}).bops).toBeLessThan((after as {bops: number}).bops);
    const {valid} = await json('strategy-validate', ['strategy', 'validate', 's.dpu-b512.json']);
    expect(valid).toBe(true);
  });

  test.each(['hawq', 'nncf'])('%s and back', async (format) => {
    const {path: file} = await json('strategy-convert', ['strategy', 'convert', 's.json', '--format', format]);
    await json('strategy-convert', [
      'strategy',
      'convert',
      file as string,
      '--from',
      format,
      ...model,
      '--output',
      'back.json',
    ]);
    const {layers} = await json('strategy-diff', ['strategy', 'diff', 's.json', 'back.json']);
    const differing = (layers as {weightBits: [number, number]}[]).filter(({weightBits: [a, b]}) => a !== b);
    expect(differing).toEqual([]);
  });

  test('a folding for a board of FINN', async () => {
    const small = ['--set', 'model.name=cnn-small', '--set', 'search.activationBits=4'];
    await json('strategy-create', ['strategy', 'create', '--weight-bits', '4', ...small, '--output', 'small.json']);
    const result = await json('strategy-convert', [
      'strategy',
      'convert',
      'small.json',
      '--to',
      'finn-zu7ev',
      '--format',
      'finn',
    ]);
    const folding = readJson(path.basename(result['path'] as string)) as Record<string, {PE: number; SIMD: number}>;
    const units = Object.keys(folding).filter((name) => /^[MV]VAU_/.test(name));
    expect(units).toHaveLength(8);
    expect(units.every((name) => folding[name]!.PE >= 1 && folding[name]!.SIMD >= 1)).toBe(true);
  });
});

describe('refused', () => {
  test.each([
    [
      4,
      ['strategy', 'create', '--weight-bits', '4', ...model, '--hardware', 'bitfusion-edge'],
      /activation bits 32; allowed: 1, 2, 3.*search\.activationBits=8/,
    ],
    [
      4,
      ['strategy', 'validate', 's.json', '--hardware', 'dpu-b512'],
      /and \d+ more.*strategy convert s\.json --to dpu-b512/,
    ],
    [
      3,
      ['strategy', 'validate', 's.json', '--hardware', 'dpu-512'],
      /no hardware profile "dpu-512".*Did you mean "dpu-b512"/,
    ],
    [
      3,
      ['strategy', 'validate', 's.json', '--set', 'model.name=resnet20'],
      /layers\/0\/params is 9408; layer "conv1" of resnet20 has 432/,
    ],
    [3, ['strategy', 'validate', 'large.json'], /16777217 bytes; at most 16777216 are read/],
    [
      3,
      ['strategy', 'convert', 's.json', '--format', 'aimet'],
      /learned in training.*--checkpoint quantized\.safetensors/,
    ],
    [3, ['strategy', 'convert', 's.json', '--from', 'nncf'], /does not say which network it is for/],
    [3, ['strategy', 'convert', 's.json', '--format', 'torcha'], /no strategy-format "torcha".*Did you mean "torchao"/],
    [3, ['strategy', 'convert', 's.json', '--from', 'finn', ...model], /Files of finn are written, not read/],
  ] as const)('exit %i: %j', async (exit, args, message) => {
    writeFileSync(path.join(cwd, 'large.json'), Buffer.alloc((16 << 20) + 1, ' '));
    expect(await failure(args, cwd, exit)).toMatch(message);
  });
});

test('train refuses a strategy that the hardware of the config does not run, before it trains', async () => {
  const job = path.join(cwd, 'job');
  writeSmallJob(job);
  const run = async (...args: string[]): Promise<void> => {
    expect(await sdq(args, {cwd: job})).toMatchObject({exitCode: 0});
  };
  await run('pretrain', '--output', 'full.safetensors');
  await run('strategy', 'create', '--weight-bits', '4', '--set', 'search.activationBits=4');
  const args = ['train', '--strategy', 'strategy.json', '--checkpoint', 'full.safetensors'];
  const message = await failure([...args, '--set', 'hardware=[bitfusion-edge,dpu-b512]'], job, 4);
  expect(message).toMatch(
    /strategy\.json breaks \d+ hardware rules: dpu-b512: weight quantizer narrow; allowed: narrow-per-tensor/,
  );
});

test('train for a target: the accuracy of evaluate --target', async () => {
  const job = path.join(cwd, 'target');
  writeSmallJob(job);
  const options = {patch: 7, width: 12, depth: 1, heads: 3, mlpRatio: 2};
  const config = {...smallJob, model: {name: 'vit', options}, hardware: ['onnxruntime']};
  writeFileSync(path.join(job, 'sdq.config.json'), JSON.stringify(config));
  const run = async (...args: string[]): Promise<CommandOutcome> => {
    const outcome = await sdq(args, {cwd: job});
    expect(outcome).toMatchObject({exitCode: 0});
    return outcome;
  };
  await run('pretrain', '--output', 'full.safetensors');
  await run('strategy', 'create', '--weight-bits', '4', '--set', 'search.activationBits=8');
  const args = [
    'train',
    '--strategy',
    'strategy.json',
    '--checkpoint',
    'full.safetensors',
    '--output',
    'q.safetensors',
  ];
  const {stdout} = await run(...args, '--json');
  const {accuracy} = JSON.parse(stdout) as {accuracy: Readonly<Record<string, number>>};
  for (const [split, key] of [
    ['validation', 'best'],
    ['test', 'test'],
  ] as const) {
    const flags = ['--checkpoint', 'q.safetensors', '--target', 'onnxruntime', '--split', split, '--json'];
    const evaluated = await run('evaluate', ...flags);
    expect(accuracy[key]).toBe((JSON.parse(evaluated.stdout) as {accuracy: number}).accuracy);
  }
  const several = await run(...args.slice(0, 5), '--set', 'hardware=[onnxruntime,portable]');
  expect(several.stderr + several.stdout).toContain('phase 2 learns under the rounding of none of them');
});

test('every profile that is published is a file of the package', () => {
  const {files} = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {files: string[]};
  expect(files).toContain('hardware');
});
