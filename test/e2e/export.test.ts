/** `sdq export` and `sdq verify` with the built command: the way of a user from weights to a proven file, and what may go wrong. */
import {mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, describe, expect, test} from '@jest/globals';

import {parseSafetensors, serializeSafetensors} from '../../src/graph/safetensors.ts';
import {failure, prepareQuantizedJob, temporaryFiles} from '../helpers/failures.ts';
import {resultProblems, root} from '../helpers/result-schemas.ts';
import {sdq, sdqProcess} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const base = temporaryFolder();
const cwd = path.join(base, 'job');
const inFolder = (name: string): string => path.join(cwd, name);

const quantized = ['--checkpoint', 'fp.safetensors', '--strategy', 'w3a4.json'];

async function done(...args: string[]): Promise<Record<string, unknown>> {
  const {exitCode, stderr, stdout} = await sdq([...args, '--json'], {cwd});
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  expect(resultProblems(args[0]!, stdout)).toEqual([]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

beforeAll(async () => {
  await prepareQuantizedJob(cwd);
  await done('export', ...quantized, '--output', 'model.onnx');
}, 120_000);

test.each(['onnx-qdq', 'onnx-qdq-int2', 'qonnx'])(
  '%s: next to the weights, and right',
  async (format) => {
    const {files, opset} = await done('export', ...quantized, '--format', format);
    const file = inFolder(`fp.${format}.onnx`);
    expect(files).toEqual([{path: file, bytes: readFileSync(file).length}]);
    expect(opset).toBe({'onnx-qdq': 21, 'onnx-qdq-int2': 21, qonnx: 17}[format]);
    const verified = await done('verify', `fp.${format}.onnx`, ...quantized, '--split', 'test');
    // The small data set has 32 test images.
    expect(verified).toMatchObject({passed: true, samples: 32, agreement: 1});
    expect(verified['roundedInputs']).toBeGreaterThan(0);
    expect(verified['maxAbsLogit']).toBeGreaterThan(0);
    const accuracy = verified['accuracy'] as {sdq: number; exported: number};
    expect(accuracy.exported).toBe(accuracy.sdq);
    const evaluated = await done('evaluate', ...quantized);
    expect(accuracy.sdq).toBeCloseTo(evaluated['accuracy'] as number, 6);
  },
  60_000,
);

test('aimet: next to the weights, its inputs in float, and right', async () => {
  await done('export', ...quantized, '--format', 'aimet');
  const verified = await done('verify', 'fp.aimet.onnx', ...quantized, '--split', 'test');
  expect(verified).toMatchObject({passed: true, agreement: 1, roundedInputs: 0});
  expect(verified['maxAbsError']).toBeLessThan(1e-4 * (verified['maxAbsLogit'] as number));
});

test('safetensors: complete by itself, and older files are read and written anew', async () => {
  const {files, opset} = await done('export', ...quantized, '--format', 'safetensors');
  const file = inFolder('fp.quantized.safetensors');
  expect(await failure(['export', ...quantized, '--format', 'safetensors'], cwd, 3)).toContain('is not overwritten');
  expect({files, opset}).toEqual({files: [{path: file, bytes: readFileSync(file).length}], opset: null});
  const own = ['--checkpoint', 'fp.quantized.safetensors'];
  expect(await done('evaluate', ...own)).toMatchObject({
    loss: (await done('evaluate', ...quantized))['loss'],
  });
  const {metadata, tensors} = parseSafetensors(readFileSync(file), file);
  const {layers} = JSON.parse(metadata['sdq.quantization']!) as {layers: Record<string, object>};
  expect(layers['layer1.0.conv1']).toEqual({
    tensor: 'layer1.0.conv1.weight',
    weights: {
      bits: 3,
      qmin: -3,
      qmax: 3,
      offset: 0,
      of: 'w',
      gradient: {input: 'identity', scale: 'none', gradientScale: 1},
    },
    input: {
      bits: 4,
      signed: false,
      qmin: 0,
      qmax: 15,
      offset: 0,
      gradient: {input: 'clipped', scale: 'clip', gradientScale: 1},
    },
  });
  const value = (name: string): number => tensors.get(`layer1.0.conv1.${name}`)!.data[0]!;
  expect(15 * value('input_step')).toBeCloseTo(value('input_range'), 6);
  // As earlier versions wrote it: no record, no steps of inputs.
  const old = new Map([...tensors].filter(([name]) => !name.endsWith('.input_step')));
  writeFileSync(inFolder('old.safetensors'), serializeSafetensors(old, {'sdq.strategy': metadata['sdq.strategy']!}));
  await done('export', '--checkpoint', 'old.safetensors', '--format', 'safetensors', '--output', 'anew.safetensors');
  const anew = parseSafetensors(readFileSync(inFolder('anew.safetensors')), 'anew');
  expect(anew.tensors).toEqual(tensors);
}, 60_000);

test('in full precision, over more than one batch, with part of the last', async () => {
  await done('export', '--checkpoint', 'fp.safetensors', '--output', 'fp.onnx');
  const args = ['verify', 'fp.onnx', '--checkpoint', 'fp.safetensors', '--samples', '41'];
  expect(await done(...args)).toMatchObject({passed: true, samples: 41, roundedInputs: 0});
  const {exitCode, stdout} = await sdq(args, {cwd});
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/images \(train\) +41/);
}, 60_000);

describe('a file that is not what it should be', () => {
  test('other numbers than the weights: exit 7, and the result says how far off', async () => {
    const bias = parseSafetensors(readFileSync(inFolder('fp.safetensors')), 'fp').tensors.get('linear.bias')!;
    const {buffer, byteLength, byteOffset} = bias.data;
    const bytes = readFileSync(inFolder('model.onnx'));
    const place = bytes.indexOf(Buffer.from(buffer, byteOffset, byteLength));
    expect(place).toBeGreaterThan(0);
    const wrong = (value: number, name: string): void => {
      const changed = Buffer.from(bytes);
      changed.writeFloatLE(value, place);
      writeFileSync(inFolder(name), changed);
    };
    wrong(1000, 'wrong.onnx');
    const {exitCode, stdout} = await sdq(['verify', 'wrong.onnx', ...quantized, '--json'], {cwd});
    expect(exitCode).toBe(7);
    expect(resultProblems('verify', stdout)).toEqual([]);
    const {agreement, maxAbsError, passed} = JSON.parse(stdout) as Record<string, number | boolean>;
    expect(passed).toBe(false);
    expect(maxAbsError).toBeCloseTo(1000 - bias.data[0]!, 1);
    expect(await failure(['verify', 'wrong.onnx', ...quantized], cwd, 7)).toContain(
      `for ${(100 * (agreement as number)).toFixed(2)} % of the images, at least 98.00 % needed`,
    );
    const tolerant = ['verify', 'wrong.onnx', ...quantized, '--agreement', '0'];
    expect(await sdq(tolerant, {cwd})).toMatchObject({exitCode: 0});
    wrong(NaN, 'nan.onnx');
    expect(await failure(['verify', 'nan.onnx', ...quantized], cwd, 7)).toContain('values that are not finite');
  }, 60_000);

  test('of other weights or other bits', async () => {
    await sdq(['pretrain', '--output', 'other.safetensors', '--quiet', '--set', 'seed=5'], {cwd});
    const other = ['verify', 'model.onnx', '--checkpoint', 'other.safetensors', '--strategy', 'w3a4.json'];
    expect(await failure(other, cwd, 3)).toMatch(
      /exported from other weights than other.safetensors: SHA-256 \w+…, not/,
    );
    const plain = ['verify', 'model.onnx', '--checkpoint', 'fp.safetensors'];
    expect(await failure(plain, cwd, 3)).toMatch(
      /model.onnx was exported at other bits \(8\/8 3\/4 .*\) than those of fp.safetensors \(full precision\)/,
    );
  }, 60_000);

  test('broken, of another network, or missing', async () => {
    const bytes = readFileSync(inFolder('model.onnx'));
    writeFileSync(inFolder('cut.onnx'), bytes.subarray(0, bytes.length / 2));
    writeFileSync(inFolder('empty.onnx'), '');
    writeFileSync(inFolder('text.onnx'), 'not a model');
    for (const name of ['cut.onnx', 'empty.onnx', 'text.onnx', 'fp.safetensors'])
      expect(await failure(['verify', name, ...quantized], cwd, 3)).toContain(`${name} is not an ONNX model`);
    // An operator that no runtime has.
    const unknown = Buffer.from(
      bytes.toString('latin1').replaceAll('MaxPool', 'MaxPuul').replaceAll('Relu', 'Rolu'),
      'latin1',
    );
    writeFileSync(inFolder('unknown.onnx'), unknown);
    expect(await failure(['verify', 'unknown.onnx', ...quantized], cwd, 3)).toContain('ONNX Runtime does not run it');
    expect(await failure(['verify', 'missing.onnx', ...quantized], cwd, 3)).toContain('missing.onnx');
    expect(await failure(['verify', 'model.onnx', '--checkpoint', 'missing'], cwd, 3)).toContain('missing');
    expect(await failure(['export', '--checkpoint', 'missing'], cwd, 3)).toContain('missing');
  }, 60_000);
});

test('wrong flags, and a place that cannot be written', async () => {
  expect(await failure(['export', ...quantized, '--format', 'onnx-qqd'], cwd, 3)).toContain('Did you mean "onnx-qdq"?');
  for (const [flag, value] of [
    ['--tolerance', '-1'],
    ['--tolerance', ''],
    ['--agreement', '2'],
    ['--agreement', 'most'],
  ] as const)
    expect(await failure(['verify', 'model.onnx', ...quantized, flag, value], cwd, 2)).toContain(
      `${flag} is "${value}"; it takes a number from 0 to 1`,
    );
  expect(await failure(['verify', 'model.onnx', ...quantized, '--samples', '0'], cwd, 2)).toContain('1');
  expect(await failure(['verify'], cwd, 2)).toContain('Missing');
  const validation = ['verify', 'model.onnx', ...quantized, '--split', 'validation', '--set', 'data.validation=0'];
  expect(await failure(validation, cwd, 3)).toContain('The validation split is empty');
  const taken = mkdtempSync(path.join(base, 'taken-'));
  mkdirSync(path.join(taken, 'model.onnx'));
  const output = path.join(taken, 'model.onnx');
  expect(await failure(['export', ...quantized, '--output', output], cwd, 6)).toContain(output);
  expect(temporaryFiles(taken)).toEqual([]);
}, 60_000);

test('without ONNX Runtime: exit 6, and how to get it', async () => {
  const hooks = `export const resolve = (name, context, next) => {
    if (name !== 'onnxruntime-web') return next(name, context);
    throw Object.assign(new Error('no such package'), {code: 'ERR_MODULE_NOT_FOUND'});
  };`;
  writeFileSync(inFolder('hooks.mjs'), hooks);
  writeFileSync(
    inFolder('register.mjs'),
    "import {register} from 'node:module';\nregister('./hooks.mjs', import.meta.url);\n",
  );
  const env = {NODE_OPTIONS: `--import=${inFolder('register.mjs')}`};
  const {exitCode, stdout} = await sdqProcess(['verify', 'model.onnx', ...quantized, '--json'], {cwd, env});
  expect(exitCode).toBe(6);
  expect(JSON.parse(stdout)).toMatchObject({
    error: {code: 'runtime-missing', suggestions: ['npm install onnxruntime-web@1.30.0']},
  });
}, 60_000);

test('the format of docs/plugins.md, in a package', async () => {
  const [source] = /^import \{floatTensor.*?^```/ms.exec(readFileSync(path.join(root, 'docs/plugins.md'), 'utf8'))!;
  const plugin = inFolder('rounded');
  mkdirSync(path.join(plugin, 'node_modules'), {recursive: true});
  symlinkSync(root, path.join(plugin, 'node_modules/sdq'));
  const manifest = {name: 'rounded', type: 'module', oclif: {hooks: {'sdq:register': './register.js'}}};
  writeFileSync(path.join(plugin, 'package.json'), JSON.stringify(manifest));
  const hook = 'export default async ({registry}) => registry.add(rounded);\n';
  writeFileSync(path.join(plugin, 'register.js'), `${source.replace(/```$/, '')}${hook}`);
  const create = ['strategy', 'create', '--weight-bits', '2', '--output', 'w2.json', '--quiet'];
  expect(await sdq(create, {cwd})).toMatchObject({exitCode: 0});
  const w2 = ['--checkpoint', 'fp.safetensors', '--strategy', 'w2.json'];
  await done('export', ...w2, '--format', 'onnx-float', '--set', 'plugins=[./rounded]', '--output', 'rounded.onnx');
  expect(await done('verify', 'rounded.onnx', ...w2)).toMatchObject({passed: true, roundedInputs: 0});
}, 60_000);

describe('the network of an ONNX file as the model', () => {
  const model = ['--set', 'model.name=onnx', '--set', 'model.options.file=fp.onnx'];

  test('is shown, evaluated with its own weights, searched and exported again', async () => {
    await done('export', '--checkpoint', 'fp.safetensors', '--output', 'fp.onnx');
    const {layers, params} = await shown('fp.onnx');
    const own = await shown('cnn-small');
    expect([layers, params]).toEqual([own.layers, own.params]);
    const evaluated = await done('evaluate', '--checkpoint', 'fp.safetensors');
    const again = await done('evaluate', '--checkpoint', 'fp.onnx', ...model);
    expect(again['loss']).toBeCloseTo(evaluated['loss'] as number, 6);
    const settings = ['model.weights=fp.onnx', 'search.target.meanWeightBits=7', 'search.epochs=8'];
    const sets = settings.flatMap((setting) => ['--set', setting]);
    const search = await sdq(['search', ...model, ...sets, '--output', 'found.json', '--quiet'], {cwd});
    expect(search).toMatchObject({exitCode: 0});
    const found = ['--checkpoint', 'fp.onnx', '--strategy', 'found.json', ...model];
    await done('export', ...found, '--output', 'found.onnx');
    expect(await done('verify', 'found.onnx', ...found)).toMatchObject({passed: true});
  }, 60_000);

  test('its weights are imported into a model of the same names', async () => {
    const imported = ['model', 'import', 'fp.onnx', '--model', 'cnn-small', '--output', 'back.safetensors', '--quiet'];
    expect(await sdq(imported, {cwd})).toMatchObject({exitCode: 0});
    const tensors = (name: string) => parseSafetensors(readFileSync(inFolder(name)), name).tensors;
    const [before, after] = [tensors('fp.safetensors'), tensors('back.safetensors')];
    expect([...after.keys()].toSorted()).toEqual([...before.keys()].toSorted());
    for (const [name, {data}] of after) expect({name, data}).toEqual({name, data: before.get(name)!.data});
  });

  test('without a file, of another data set, or quantized already: exit 3', async () => {
    const bare = ['evaluate', '--checkpoint', 'fp.onnx', '--set', 'model.name=onnx'];
    expect(await failure(bare, cwd, 3)).toContain('The model onnx needs the file of its network');
    const fixture = path.join(root, 'test/fixtures/network.onnx');
    const other = [
      'evaluate',
      '--checkpoint',
      'fp.onnx',
      '--set',
      'model.name=onnx',
      '--set',
      `model.options.file=${fixture}`,
    ];
    const fits = await failure(other, cwd, 3);
    expect(fits).toContain('takes [2, 7, 5]; the data set has images of [1, 28, 28].');
    expect(fits).toContain('torch.zeros(1, 1, 28, 28)');
    expect(await failure(['model', 'show', 'model.onnx'], cwd, 3)).toContain('cannot be imported: ');
    expect(await failure(['model', 'show', 'none.onnx'], cwd, 3)).toContain('none.onnx');
  });

  async function shown(name: string): Promise<{layers: unknown; params: number}> {
    const {exitCode, stdout} = await sdq(['model', 'show', name, '--json'], {cwd});
    expect(exitCode).toBe(0);
    expect(resultProblems('model-show', stdout)).toEqual([]);
    return JSON.parse(stdout) as {layers: unknown; params: number};
  }
});
