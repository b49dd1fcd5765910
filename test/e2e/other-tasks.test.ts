/** Another task than classification from weights to a proven file, on the data set of a plugin: results, tables and files. */
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';

import {parseSafetensors, serializeSafetensors} from '../../src/graph/safetensors.ts';
import {openCheckpoints} from '../../src/runs/checkpoints.ts';
import {failure} from '../helpers/failures.ts';
import {resultProblems, root} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = temporaryFolder();
const withoutConfig = temporaryFolder();
const inFolder = (name: string): string => path.join(cwd, name);

/** 12 × 12 images whose brightness is the number to learn, and whose number modulo the classes is their class. */
const plugin = `
const split = (count, classes) => {
  const images = new Uint8Array(new SharedArrayBuffer(count * 144));
  const labels = new Uint16Array(new SharedArrayBuffer(2 * count));
  const targets = new Float32Array(new SharedArrayBuffer(4 * count));
  for (let i = 0; i < count; i++) {
    const brightness = (i * 37) % 200;
    for (let k = 0; k < 144; k++) images[i * 144 + k] = brightness + ((k * 7 + i) % 50);
    targets[i] = brightness / 100 - 1;
    if (classes > 0) labels[i] = i % classes;
  }
  return {kind: 'memory', images, labels, targets};
};
export default async ({registry}) =>
  registry.add({
    kind: 'dataset',
    name: 'brightness',
    summary: 'Grey images.',
    optionsSchema: {type: 'object', properties: {classes: {type: 'integer', default: 0}}, additionalProperties: false},
    sources: [],
    fetch: async () => {},
    verify: async () => [],
    open: async (_, {classes}) => ({
      name: 'brightness',
      classes: Array.from({length: classes}, (_, i) => \`class \${i}\`),
      values: ['brightness'],
      height: 12,
      width: 12,
      channels: 1,
      mean: [0.5],
      std: [0.25],
      augmentation: {pad: 0, flip: true},
      train: split(96, classes),
      test: split(40, classes),
    }),
  });
`;

const config = {
  plugins: ['./brightness'],
  task: {name: 'regression'},
  model: {name: 'cnn-small'},
  data: {name: 'brightness', batchSize: 16, validation: 16},
  pretrain: {epochs: 1, optimizer: {learningRate: 0.01}},
  search: {method: 'uniform', target: {meanWeightBits: 4}, epochs: 1, activationBits: 8},
  train: {epochs: 1, optimizer: {learningRate: 0.001}},
  engine: {threads: 1},
};

async function done(...args: string[]): Promise<Record<string, unknown>> {
  const {exitCode, stderr, stdout} = await sdq([...args, '--json'], {cwd});
  const error = exitCode === 0 ? undefined : stdout;
  expect({exitCode, stderr, error}).toEqual({exitCode: 0, stderr: '', error: undefined});
  expect(resultProblems(args[0]!, stdout)).toEqual([]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

beforeAll(() => {
  mkdirSync(inFolder('brightness'));
  const hooks = {'sdq:register': './register.js'};
  writeFileSync(inFolder('brightness/package.json'), JSON.stringify({name: 'b', type: 'module', oclif: {hooks}}));
  writeFileSync(inFolder('brightness/register.js'), plugin);
  writeFileSync(inFolder('sdq.config.json'), JSON.stringify(config));
});

test('a regression from weights to a proven file: its metrics by name, and nothing of classes', async () => {
  const number: unknown = expect.any(Number);
  const run = await done('run', '--output', 'q.safetensors');
  expect(run).toMatchObject({
    task: 'regression',
    fullPrecision: {mse: number, mae: number, r2: number, samples: 40},
    quantized: {mse: {best: number, last: number, test: number}},
  });
  const evaluated = await done('evaluate', '--checkpoint', 'q.safetensors');
  expect(evaluated).toMatchObject({task: 'regression', samples: 40, mse: number, mae: number, r2: number});
  expect(JSON.stringify([run, evaluated])).not.toMatch(/accuracy|top5/);

  await done('export', '--checkpoint', 'q.safetensors', '--output', 'model.onnx');
  const verify = ['verify', 'model.onnx', '--checkpoint', 'q.safetensors', '--split', 'test'];
  const verified = await done(...verify);
  expect(verified).toMatchObject({task: 'regression', passed: true, samples: 40, agreement: 1});
  const mse = verified['mse'] as {sdq: number; exported: number};
  expect(mse.sdq).toBeCloseTo(evaluated['mse'] as number, 6);
  expect(Math.abs(mse.exported - mse.sdq)).toBeLessThan(0.01 * mse.sdq);
  const {stdout} = await sdq(verify, {cwd});
  expect(stdout).toMatch(/same output \(to 1 % of the largest\) % +100\.00/);
  expect(stdout).toMatch(/mse, the file +\d/);
  expect(stdout).not.toMatch(/class|accuracy|logit/i);

  // The output's bias, 1 more: half of the largest output or so.
  const {data} = parseSafetensors(readFileSync(inFolder('q.safetensors')), 'q').tensors.get('linear.bias')!;
  const bytes = readFileSync(inFolder('model.onnx'));
  const place = bytes.indexOf(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  expect(place).toBeGreaterThan(0);
  bytes.writeFloatLE(data[0]! + 1, place);
  writeFileSync(inFolder('wrong.onnx'), bytes);
  const wrong = await failure([...verify.with(1, 'wrong.onnx')], cwd, 7);
  expect(wrong).toContain('same output (to 1 % of the largest) for 0.00 % of the images, at least 98.00 % needed.');
}, 120_000);

test.each([
  [3, ['accuracy %']],
  [5, ['accuracy %']],
  [6, ['accuracy %', 'top5 %']],
  [10, ['accuracy %', 'top5 %']],
])(
  'the table of %i classes has %j; JSON has both',
  async (classes, rows) => {
    const set = ['--set', 'task.name=classification', '--set', `data.options={classes: ${classes}}`];
    await done('pretrain', ...set, '--output', 'fp.safetensors');
    const evaluate = ['evaluate', ...set, '--checkpoint', 'fp.safetensors'];
    const {stdout} = await sdq(evaluate, {cwd});
    expect(stdout.match(/^(accuracy|top5) %/gm)).toEqual(rows);
    const {accuracy, top5} = await done(...evaluate);
    expect(top5).toBeGreaterThanOrEqual(accuracy as number);
    if (classes <= 5) expect(top5).toBe(1);
  },
  60_000,
);

test('of an ONNX file with several outputs the config names the one to learn', async () => {
  const file = path.join(root, 'test/fixtures/import/heads.onnx');
  const shown = await sdq(['model', 'show', file], {cwd});
  expect(shown.exitCode).toBe(0);
  expect(shown.stderr.replaceAll(/\s+/g, ' ')).toContain(
    'It has the outputs "boxes" [4], "classes" [3], "features" [6, 3, 2] for one image: --set task.options.output=NAME',
  );
  const model = ['--set', 'model.name=onnx', '--set', `model.options.file=${file}`];
  const layers = async (...flags: string[]): Promise<string[]> => {
    const output = path.join(withoutConfig, `${flags.length}.json`);
    const create = ['strategy', 'create', '--weight-bits', '4', ...model, ...flags, '--output', output];
    const {exitCode, stderr} = await sdq(create, {cwd: withoutConfig});
    expect({exitCode, stderr}).toMatchObject({exitCode: 0});
    expect(stderr.includes('the task learns "boxes"')).toBe(flags.length === 0);
    return (JSON.parse(readFileSync(output, 'utf8')) as {layers: {name: string}[]}).layers.map(({name}) => name);
  };
  const body = ['backbone.0', 'backbone.3'];
  expect(await layers()).toEqual([...body, 'box']);
  expect(await layers('--set', 'task.options.output=classes')).toEqual([...body, 'classes']);
  const wrong = ['strategy', 'create', '--weight-bits', '4', ...model, '--set', 'task.options.output=class'];
  expect(await failure(wrong, withoutConfig, 3)).toContain(
    'The network has "boxes" [N, 4], "classes" [N, 3], "features" [N, 6, 3, 2].',
  );
});

test('a run whose state an earlier build wrote: exit 3, and the weights in it are of use', async () => {
  const {runId} = await done('pretrain', '--output', 'fp.safetensors');
  const folder = inFolder(`.sdq/runs/${runId as string}`);
  const record = JSON.parse(readFileSync(path.join(folder, 'run.json'), 'utf8')) as Record<string, unknown>;
  writeFileSync(path.join(folder, 'run.json'), JSON.stringify({...record, status: 'interrupted', results: {}}));
  const {tensors} = parseSafetensors(readFileSync(inFolder('fp.safetensors')), 'fp');
  const optimizer = [...tensors].map(([name, array]) => [`optimizer:${name}/velocity`, array] as const);
  const older = serializeSafetensors(new Map([...tensors, ...optimizer]), {format: 'sdq-checkpoint-1', state: '{}'});
  openCheckpoints(path.join(folder, 'checkpoints')).save('older', older);
  const text = await failure(['pretrain', '--resume', runId as string], cwd, 3);
  expect(text).toContain('step-older.safetensors: an older version of sdq wrote it (sdq-checkpoint-1');
  expect(text).toContain('--set model.weights=FILE');
  await done('pretrain', '--set', `model.weights=${path.join(folder, 'checkpoints/step-older.safetensors')}`);
}, 60_000);
