/** The built command's real `--json` output against its published schema. */
import {cpSync, mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import {parse} from 'yaml';

import {resultProblems, root} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const base = temporaryFolder();
const folder = (): string => mkdtempSync(path.join(base, 'cwd-'));

describe('--json prints one object that fits the schema', () => {
  test.each([
    ['init', ['init']],
    ['doctor', ['doctor']],
    ['model-list', ['model', 'list']],
    ['model-show', ['model', 'show', 'resnet20']],
    ['data-list', ['data', 'list']],
    ['strategy-create', ['strategy', 'create', '--weight-bits', '2', '--set', 'model.name=resnet20']],
  ])('%s', async (name, args) => {
    const {exitCode, stderr, stdout} = await sdq([...args, '--json'], {cwd: folder()});
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
    expect(resultProblems(name, stdout)).toEqual([]);
  });

  test('model import, model show of its file, strategy show and diff', async () => {
    const cwd = folder();
    const outputs: Record<string, string> = {};
    for (const [name, ...args] of [
      [
        'strategy-create',
        'strategy',
        'create',
        '--weight-bits',
        '2',
        '--set',
        'model.name=cnn-small',
        '--output',
        'a.json',
      ],
      [
        'strategy-create',
        'strategy',
        'create',
        '--weight-bits',
        '3',
        '--set',
        'model.name=cnn-small',
        '--output',
        'b.json',
      ],
      ['strategy-show', 'strategy', 'show', 'a.json'],
      ['strategy-diff', 'strategy', 'diff', 'a.json', 'b.json'],
    ] as const) {
      const {exitCode, stdout} = await sdq([...args, '--json'], {cwd});
      expect(exitCode).toBe(0);
      expect(resultProblems(name, stdout)).toEqual([]);
      outputs[name] = stdout;
    }
    const {layers} = JSON.parse(outputs['strategy-diff']!) as {layers: {weightBits: number[]}[]};
    expect(layers).toHaveLength(6);
    expect(layers.every(({weightBits}) => weightBits.join() === '2,3')).toBe(true);
  });

  test('a failed check prints its result and the exit code tells', async () => {
    const cwd = folder();
    writeSafetensors(path.join(cwd, 'partial.safetensors'));
    const {exitCode, stderr, stdout} = await sdq(
      ['model', 'import', 'partial.safetensors', '--model', 'cnn-small', '--json'],
      {cwd},
    );
    expect(exitCode).toBe(3);
    expect(stderr).toMatch(/lacks \d+ tensors of cnn-small/);
    expect(resultProblems('model-import', stdout)).toEqual([]);
    expect(JSON.parse(stdout)).toMatchObject({checkpoint: null, matched: 1, unexpected: []});
    const shown = await sdq(['model', 'show', 'partial.safetensors', '--json'], {cwd});
    expect(resultProblems('model-show', shown.stdout)).toEqual([]);
  });
});

describe('an error is an object too', () => {
  test.each([
    ['unknown-command', 2, ['modle', 'list']],
    ['unknown-command', 2, ['help', 'modle']],
    ['unknown-command', 2, ['modle', '--help']],
    ['usage', 2, ['model', 'list', '--conifg', 'x']],
    ['invalid-set', 2, ['model', 'list', '--set', 'seed']],
    ['invalid-config', 3, ['model', 'list', '--set', 'seeed=1']],
    ['cannot-read-file', 3, ['model', 'list', '--config', 'missing.yaml']],
    ['unknown-model', 3, ['model', 'show', 'resnt20']],
    ['config-incomplete', 3, ['strategy', 'create', '--weight-bits', '2']],
  ])('%s exits %i: %j', async (name, exit, args) => {
    const {exitCode, stderr, stdout} = await sdq([...args, '--json'], {cwd: folder()});
    expect({exitCode, stderr}).toEqual({exitCode: exit, stderr: ''});
    expect(resultProblems('error', stdout)).toEqual([]);
    expect(JSON.parse(stdout)).toMatchObject({error: {code: name, exit}});
  });
});

test('an unfit word is refused with the nearest fit one', async () => {
  const cwd = folder();
  for (const [args, word] of [
    [['modle', 'list'], 'model list'],
    [['model', 'list', '--conifg', 'x'], '--config'],
    [['model', 'list', '--set', 'serch.epochs=2'], 'search'],
    [['model', 'show', 'resnt20'], 'resnet20'],
  ] as const) {
    const {stderr} = await sdq(args, {cwd});
    expect(stderr).toContain(`Did you mean "${word}"?`);
    expect(stderr).not.toMatch(/\n\s+at /);
  }
});

test('init does not overwrite', async () => {
  const cwd = folder();
  cpSync(path.join(root, 'templates/mnist.yaml'), path.join(cwd, 'sdq.config.yaml'));
  const {exitCode, stderr} = await sdq(['init', '--template', 'image-folder'], {cwd});
  expect(exitCode).toBe(3);
  expect(stderr).toContain('is not overwritten');
});

test('the template of ResNet20 has the settings that docs/reproduction.md measured: those of the example', () => {
  const settings = (file: string): unknown => parse(readFileSync(path.join(root, file), 'utf8'));
  const example = settings('examples/cifar10-resnet20/sdq.config.yaml');
  expect(example).toMatchObject({model: {name: 'resnet20'}});
  expect(settings('templates/cifar10-resnet20.yaml')).toEqual(example);
});

/** One tensor of cnn-small, linear.bias. */
function writeSafetensors(file: string): void {
  const header = Buffer.from(JSON.stringify({'linear.bias': {dtype: 'F32', shape: [10], data_offsets: [0, 40]}}));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(file, Buffer.concat([length, header, Buffer.alloc(40)]));
}
