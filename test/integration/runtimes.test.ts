/**
 * Exported files in the runtimes of `sdq verify --runtime`: ONNX Runtime and OpenVINO in Python, ONNX Runtime's native npm package.
 * Needs `npm run build` and `node scripts/python-services.js runtimes onnxruntime-node`; skips where those are missing.
 */
import {mkdirSync, readFileSync, symlinkSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, describe, expect, test} from '@jest/globals';

import {initialWeights} from '../../src/graph/initialize.ts';
import {layerTable} from '../../src/graph/layer-table.ts';
import {encodeOnnx} from '../../src/graph/onnx/proto.ts';
import {elements} from '../../src/graph/ops/operator.ts';
import {readTarget} from '../../src/phases/deployment.ts';
import {madeUpNetwork} from '../../src/phases/hardware-measure.ts';
import {withRuntime, type RuntimeRequest} from '../../src/phases/runtime.ts';
import {mobilenetV2} from '../../src/plugins/models/mobilenet-v2.ts';
import {smallJob} from '../helpers/failures.ts';
import {describeWith, nodeModules, pythonProgram} from '../helpers/python-service.ts';
import {resultProblems, root} from '../helpers/result-schemas.ts';
import {sdq, sdqProcess} from '../helpers/sdq.ts';
import {writeSmallImages} from '../helpers/small-images.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const cwd = temporaryFolder();
const python = pythonProgram('runtimes');

interface Verified {
  readonly passed: boolean;
  readonly runtime: string;
  readonly agreement: number;
  readonly maxAbsError: number;
  readonly maxAbsLogit: number;
  readonly optimized: {readonly agreement: number};
  readonly size: {readonly file: number; readonly float: number};
  readonly kernels: readonly {readonly op: string; readonly integer: boolean; readonly count: number}[] | null;
  readonly latency: {readonly runs: number; readonly ratio: number} | null;
}

/** A residual network with padded shortcuts and one that reads signed inputs, W 8 / A 8 and W 4 / A 4. */
beforeAll(async () => {
  writeSmallImages(path.join(cwd, 'images'), {train: 96, test: 32});
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify({...smallJob, model: {name: 'resnet20'}}));
  const steps = [
    ['pretrain', '--output', 'fp.safetensors'],
    ...[8, 4].map((bits) => [
      ...['strategy', 'create', '--weight-bits', String(bits), '--set', `search.activationBits=${bits}`],
      ...['--output', `w${bits}.json`],
    ]),
  ];
  for (const args of steps) expect(await sdq([...args, '--quiet'], {cwd})).toMatchObject({exitCode: 0});
}, 120_000);

async function verified(
  bits: number,
  target: string,
  flags: readonly string[],
  run: typeof sdqProcess = sdq,
): Promise<Verified> {
  const quantized = ['--checkpoint', 'fp.safetensors', '--strategy', `w${bits}.json`];
  const file = `w${bits}.${target}.onnx`;
  const exported = await sdq(['export', ...quantized, '--target', target, '--output', file, '--quiet'], {cwd});
  expect(exported).toMatchObject({exitCode: 0});
  const args = ['verify', file, ...quantized, '--split', 'train', '--samples', '64', '--agreement', '0', '--json'];
  const {exitCode, stderr, stdout} = await run([...args, ...flags], {cwd});
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  expect(resultProblems('verify', stdout)).toEqual([]);
  return JSON.parse(stdout) as Verified;
}

interface Bits {
  readonly weightBits: number;
  readonly activationBits: number;
  readonly latencyUs: number;
}

interface Estimated {
  readonly source: string;
  readonly totals: {readonly latencyUs: number};
}

const integerOps = ({kernels}: Verified): Record<string, number> =>
  Object.fromEntries((kernels ?? []).filter(({integer}) => integer).map(({count, op}) => [op, count]));

const cases: readonly [number, string][] = [
  [8, 'onnxruntime'],
  [8, 'tensorrt'],
  [4, 'portable'],
];

describeWith('runtimes')('Python', () => {
  test.each(cases)('W %i, target %s, in ONNX Runtime', async (bits, target) => {
    const flags = ['--runtime', 'onnxruntime', '--python', python, '--runs', '3'];
    const result = await verified(bits, target, flags);
    expect(result.runtime).toMatch(/^onnxruntime \d+\.\d+\.\d+ \(Python\)$/);
    expect(result.agreement).toBeGreaterThanOrEqual(0.95);
    expect(result.optimized.agreement).toBeGreaterThanOrEqual(0.95);
    expect(result.latency).toMatchObject({runs: 3});
    expect(result.size.file).toBeLessThan(0.5 * result.size.float);
    if (target === 'onnxruntime') expect(integerOps(result)).toEqual({QLinearConv: 19, QLinearAdd: 9, QGemm: 1});
  }, 60_000); // prettier-ignore

  test('no ReLU6 keeps a convolution of a MobileNetV2 at W 4 / A 4 in float', async () => {
    const graph = mobilenetV2.build({classes: 10, inputShape: [3, 32, 32]}, {stem: 'cifar', width: 0.25});
    const bits = layerTable(graph).layers.map(() => ({weightBits: 4, activationBits: 4}));
    const {model} = await madeUpNetwork(graph, readTarget('onnxruntime'), bits, initialWeights(graph, 0));
    const kernels = await withRuntime({name: 'onnxruntime', python, threads: 1}, (runtime) =>
      runtime.kernels(encodeOnnx(model), 'mobilenet-v2'),
    );
    const counts = Object.fromEntries((kernels ?? []).map(({count, op}) => [op, count]));
    expect(counts).toMatchObject({QLinearConv: 52, QGemm: 1});
    expect([counts['Conv'], counts['FusedConv']]).toEqual([undefined, undefined]);
  }, 60_000); // prettier-ignore

  test('W 4, target openvino, in OpenVINO', async () => {
    const flags = ['--runtime', 'openvino', '--python', python, '--runs', '0'];
    const result = await verified(4, 'openvino', flags);
    expect(result.runtime).toMatch(/^openvino \d+\.\d+\.\d+ \(Python\)$/);
    expect(result.agreement).toBeGreaterThanOrEqual(0.95);
    expect(result.latency).toBeNull();
    expect(integerOps(result)).toMatchObject({Convolution: 19, FullyConnected: 1});
  }, 60_000); // prettier-ignore

  test.each(['onnxruntime', 'openvino'] as const)('every output of a file in %s', async (name) => {
    const bytes = readFileSync(path.join(root, 'test/fixtures/import/heads.onnx'));
    const shape = [3, 2, 7, 5];
    const images = Float32Array.from({length: elements(shape)}, (_, i) => Math.sin(i));
    const outputs = (request: RuntimeRequest) =>
      withRuntime(request, async (runtime) => (await runtime.open(bytes, 'heads.onnx', 'disabled')).run(images, shape));
    const web = await outputs({name: 'onnxruntime-web', python, threads: 1});
    expect(web.map(({length}) => length)).toEqual([3 * 4, 3 * 3, 3 * 36]);
    const found = await outputs({name, python, threads: 1});
    expect(found.map(({length}) => length)).toEqual(web.map(({length}) => length));
    found.forEach((values, o) => values.forEach((value, i) => expect(value).toBeCloseTo(web[o]![i]!, 5)));
  }, 60_000); // prettier-ignore

  (thorough ? test : test.skip)('hardware measure times the layers, and a search keeps to its times', async () => {
    const flags = ['--runtime', 'onnxruntime', '--python', python, '--runs', '5', '--output', 'times.json'];
    const args = ['hardware', 'measure', 'onnxruntime', '--model', 'resnet20', '--json', ...flags];
    const {exitCode, stderr, stdout} = await sdq(args, {cwd});
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
    expect(resultProblems('hardware-measure', stdout)).toEqual([]);
    const {measured, rows} = JSON.parse(stdout) as {measured: {networks: Bits[]}; rows: number};
    expect(rows).toBe(20 * 9 * 8);
    expect(await sdq(args, {cwd})).toMatchObject({exitCode: 3});
    const estimate = ['hardware', 'estimate', 'onnxruntime', '--strategy', 'w8.json', '--latency-table', 'times.json'];
    const estimated = JSON.parse((await sdq([...estimate, '--json'], {cwd})).stdout) as Estimated;
    expect(estimated.source).toBe('measured');
    const whole = measured.networks.find(({activationBits, weightBits}) => weightBits === 8 && activationBits === 8)!;
    expect(estimated.totals.latencyUs / whole.latencyUs).toBeCloseTo(1, 1);
    const table = ['--set', 'search.target.latencyTable=times.json', '--set', 'search.target.hardware=onnxruntime'];
    const settings = ['model.weights=fp.safetensors', 'search.activationBits=8', 'search.target.latencyMs=1e-6'];
    const search = ['search', ...settings.flatMap((each) => ['--set', each]), ...table, '--json'];
    const refused = await sdq(search, {cwd});
    expect(refused.exitCode).toBe(3);
    const {message} = (JSON.parse(refused.stdout) as {error: {message: string}}).error;
    const reachable = Number.parseFloat(message.split(' ').at(-1)!);
    // Weights of any bits take the same time.
    expect(reachable / (estimated.totals.latencyUs / 1000)).toBeCloseTo(1, 1);
  }, 120_000); // prettier-ignore

  test('a package that the interpreter does not have: exit 6, and how to get it', async () => {
    const empty = path.join(cwd, 'python');
    writeFileSync(empty, `#!/bin/sh\nexec "${python}" -S "$@"\n`, {mode: 0o755});
    const args = ['verify', 'w4.portable.onnx', '--checkpoint', 'fp.safetensors', '--strategy', 'w4.json', '--json'];
    const {exitCode, stdout} = await sdq([...args, '--runtime', 'openvino', '--python', empty], {cwd});
    expect(exitCode).toBe(6);
    expect(JSON.parse(stdout)).toMatchObject({
      error: {code: 'runtime-missing', suggestions: [`${empty} -m pip install numpy openvino`]},
    });
  });
});

(thorough ? describeWith('hls4ml') : describe.skip)('qonnx (in the slow suite)', () => {
  test('its executor runs a QONNX file', async () => {
    const quantized = ['--checkpoint', 'fp.safetensors', '--strategy', 'w4.json'];
    const exported = ['export', ...quantized, '--format', 'qonnx', '--output', 'w4.qonnx.onnx', '--quiet'];
    expect(await sdq(exported, {cwd})).toMatchObject({exitCode: 0, stderr: ''});
    const runtime = ['--runtime', 'qonnx', '--python', pythonProgram('hls4ml'), '--runs', '0', '--json'];
    const images = ['--split', 'train', '--samples', '24', '--agreement', '0'];
    const {exitCode, stderr, stdout} = await sdq(['verify', 'w4.qonnx.onnx', ...quantized, ...images, ...runtime], {cwd});
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
    expect(resultProblems('verify', stdout)).toEqual([]);
    const result = JSON.parse(stdout) as Verified;
    expect(result.runtime).toMatch(/^qonnx \d+\.\d+\.\d+ \(Python\)$/);
    // 20 layers' weights and inputs.
    expect(result.kernels).toContainEqual({op: 'Quant', integer: false, count: 40});
    expect(result.agreement).toBeGreaterThanOrEqual(0.95);
  }, 120_000); // prettier-ignore
});

describeWith('onnxruntime-node')('the native package of npm', () => {
  beforeAll(() => {
    mkdirSync(path.join(cwd, 'node_modules'));
    symlinkSync(
      path.join(nodeModules('onnxruntime-node'), 'onnxruntime-node'),
      path.join(cwd, 'node_modules/onnxruntime-node'),
    );
    writeFileSync(path.join(cwd, 'package.json'), '{}');
  });

  test('is found in the project, and says its kernels', async () => {
    const result = await verified(8, 'onnxruntime', ['--runtime', 'onnxruntime-node', '--runs', '2'], sdqProcess);
    expect(result.runtime).toMatch(/^onnxruntime-node \d/);
    expect(result.agreement).toBeGreaterThanOrEqual(0.95);
    expect(integerOps(result)).toEqual({QLinearConv: 19, QLinearAdd: 9, QGemm: 1});
    expect(result.latency?.ratio).toBeGreaterThan(0);
  }, 60_000); // prettier-ignore
});

describe('a runtime that is not there', () => {
  const refused = async (...flags: string[]): Promise<{exitCode: number; error: object}> => {
    const {exitCode, stdout} = await sdq(['verify', 'fp.onnx', '--checkpoint', 'fp.safetensors', '--json', ...flags], {
      cwd,
    });
    return {exitCode, error: (JSON.parse(stdout) as {error: object}).error};
  };
  beforeAll(async () => {
    expect(
      await sdq(['export', '--checkpoint', 'fp.safetensors', '--output', 'fp.onnx', '--quiet'], {cwd}),
    ).toMatchObject({exitCode: 0});
  });

  test('no such interpreter, one that ends, threads in WebAssembly', async () => {
    const gone = path.join(cwd, 'gone');
    const none = await refused('--runtime', 'onnxruntime', '--python', gone);
    expect(none).toMatchObject({exitCode: 6, error: {code: 'python-failed'}});
    const ends = path.join(cwd, 'ends');
    writeFileSync(ends, '#!/bin/sh\necho "no library" >&2\nexit 3\n', {mode: 0o755});
    expect(await refused('--runtime', 'openvino', '--python', ends)).toMatchObject({
      exitCode: 6,
      error: {message: `The Python interpreter ${ends} ended with exit code 3: no library.`},
    });
    expect(await refused('--threads', '2')).toMatchObject({exitCode: 2, error: {code: 'invalid-flag'}});
  });
});
