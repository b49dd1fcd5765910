/** The commands of examples/own-table/README.md on made rows, and rows that do not fit a model. */
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';
import {parse, stringify} from 'yaml';

import {graphBuilder} from '../../src/graph/builder.ts';
import {initialWeights} from '../../src/graph/initialize.ts';
import {encodeOnnx} from '../../src/graph/onnx/proto.ts';
import {toOnnx} from '../../src/graph/onnx/to-onnx.ts';
import {normal, uniform} from '../../src/random.ts';
import {failure} from '../helpers/failures.ts';
import {resultProblems, root} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = temporaryFolder();
const example = path.join(root, 'examples/own-table');
const exampleConfig = readFileSync(path.join(example, 'sdq.config.yaml'), 'utf8');
const readme = readFileSync(path.join(example, 'README.md'), 'utf8');

/** Every command of the page, without `npx sdq`. */
const commands = [...readme.matchAll(/```sh\n([^`]*)```/g)]
  .flatMap(([, script]) => script!.replaceAll('\\\n', ' ').split('\n'))
  .filter((line) => line.startsWith('npx sdq '))
  .map((line) =>
    line
      .match(/'[^']*'|\S+='[^']*'|\S+/g)!
      .map((word) => word.replaceAll("'", ''))
      .slice(2),
  );

const blocks = [...readme.matchAll(/```yaml\n([^`]*)```/g)].map(([, block]) => block!);

/** Points around three centres, whose class is their centre; `time` grows with the class and is to be left out. */
function rows(count: number, seed: number): string {
  const draw = uniform(seed, 'bench');
  const line = (i: number): string => {
    const state = i % 3;
    const at = [0, 1, 2].map((axis) => (axis === state ? 3 : 0) + 0.4 * normal(draw));
    return `${1e9 * (state + 1)},${at.map((value) => value.toFixed(3)).join()},${['idle', 'slow', 'fast'][state]}\n`;
  };
  return `time,x,y,z,state\n${Array.from({length: count}, (_, i) => line(i)).join('')}`;
}

/** The phases of the example, short. */
const small = ['pretrain.epochs=3', 'search.epochs=20', 'train.epochs=1', 'engine.threads=1'].flatMap((setting) => [
  '--set',
  setting,
]);

const uniformly = [...small, '--set', 'search.method=uniform', '--set', 'search.epochs=1'];

async function done(...args: string[]): Promise<Record<string, unknown>> {
  const {exitCode, stderr, stdout} = await sdq([...args, '--json'], {cwd});
  expect({args, exitCode, stderr, error: exitCode === 0 ? '' : stdout}).toEqual({
    args,
    exitCode: 0,
    stderr: '',
    error: '',
  });
  expect(resultProblems(args[0] === 'data' ? 'data-verify' : args[0]!, stdout)).toEqual([]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

beforeAll(() => {
  mkdirSync(path.join(cwd, 'data'));
  writeFileSync(path.join(cwd, 'data/train.csv'), rows(600, 1));
  writeFileSync(path.join(cwd, 'data/test.csv'), rows(60, 2));
  writeConfig('sdq.config.yaml', '{}');
  const net = graphBuilder('rows', [3]);
  const hidden = net.node('Relu', 'relu', [net.linear('fc', net.input, {features: 16})]);
  const second = net.node('Relu', 'relu2', [net.linear('fc2', hidden, {features: 16})]);
  const graph = net.build(net.linear('out', second, {features: 3}));
  const onnx = {irVersion: 10, opsets: {'': 21}, graph: toOnnx(graph, initialWeights(graph, 3), ({inputs}) => inputs)};
  writeFileSync(path.join(cwd, 'network.onnx'), encodeOnnx({...onnx, producerVersion: '', metadata: {}}));
});

test('the commands of the example: a search, a training, an export that ONNX Runtime computes alike', async () => {
  expect(commands.map(([name]) => name)).toEqual(['data', 'run', 'evaluate', 'export', 'verify']);
  const [data, run, evaluate, exported, verify] = commands.map((words) => [...words, ...small]);
  expect(await done(...data!)).toMatchObject({splits: {train: 600, test: 60}, problems: []});
  expect(await done(...run!)).toMatchObject({
    task: 'classification',
    quantized: {accuracy: {test: expect.any(Number)}},
  });
  expect(await done(...evaluate!)).toMatchObject({accuracy: 1, samples: 60});
  expect(await done(...exported!)).toMatchObject({format: 'onnx-qdq'});
  expect(await done(...verify!)).toMatchObject({passed: true});
});

/** The example's config with one of the blocks of the page in place of its sections. */
function writeConfig(name: string, block: string): void {
  const config = {...(parse(exampleConfig) as object), ...(parse(block) as object)};
  writeFileSync(path.join(cwd, name), stringify(config).replaceAll('.parquet', '.csv'));
}

test('a network of an ONNX file on rows', async () => {
  writeConfig('onnx.yaml', blocks[0]!);
  const result = await done('run', '--config', 'onnx.yaml', ...uniformly);
  expect(result).toMatchObject({quantized: {accuracy: {test: expect.any(Number)}}});
});

test('numbers to learn', async () => {
  writeConfig('numbers.yaml', blocks[1]!);
  const result = await done('run', '--config', 'numbers.yaml', ...uniformly);
  expect(result).toMatchObject({task: 'regression', quantized: {mse: {test: expect.any(Number)}}});
});

test('rows are no images: the error says what takes them; a wrong cell stops the job before it begins', async () => {
  writeConfig('resnet.yaml', 'model: {name: resnet20}');
  expect(await failure(['run', '--config', 'resnet.yaml'], cwd, 3)).toMatch(
    /The model resnet20 takes images; the data set has rows of 3 numbers\..*model\.name=mlp/,
  );
  writeFileSync(path.join(cwd, 'data/wrong.csv'), 'time,x,y,z,state\n1,2,,4,idle\n');
  expect(await failure(['run', '--set', 'data.options.file=wrong.csv'], cwd, 3)).toMatch(
    /wrong\.csv, line 2: the column "y" is empty; a number is needed\./,
  );
});
