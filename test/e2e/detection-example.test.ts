/** The commands of examples/detection/README.md in their order, on few small photographs; and what `sdq init` makes of the same folder. */
import {copyFileSync, existsSync, readdirSync, readFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';
import {parse} from 'yaml';

import {writeBoxImages} from '../helpers/box-images.ts';
import {root} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const base = temporaryFolder();
const example = path.join(root, 'examples/detection');

/** Commands of the section, without `npx sdq`. */
function commands(): string[][] {
  const text = readFileSync(path.join(example, 'README.md'), 'utf8').split(
    '## From photographs to a quantized detector\n',
  )[1]!;
  return /```sh\n([^`]*)```/
    .exec(text)![1]!
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((line) => line.startsWith('npx sdq '))
    .map((line) => line.trim().split(/\s+/).slice(2));
}

test('its commands are those of the whole way', () => {
  expect(commands().map(([name]) => name)).toEqual([
    'data',
    'pretrain',
    'search',
    'train',
    'evaluate',
    'export',
    'verify',
    'predict',
    'hardware',
  ]);
});

/** What makes the job small. */
const small = {
  'pretrain.optimizer.learningRate': '0.0001',
  'train.optimizer.learningRate': '0.00002',
  'data.batchSize': '4',
  'data.options.size': '64',
  'pretrain.epochs': '1',
  'search.method': 'uniform',
  'train.epochs': '1',
  'engine.threads': '1',
};

/**
 * After two steps of training the network magnifies how inputs of 8 bits are rounded, and that depends on the last digits of sums: the
 * engines `wasm` and `cpu` differ as much as ONNX Runtime does. That exported boxes are exact is tested in detector-export.test.ts.
 */
const more: Readonly<Record<string, readonly string[]>> = {verify: ['--agreement', '0.7']};

// A minute of training: the slow suite.
(thorough ? test : test.skip)(
  'from photographs to a quantized, exported and priced detector',
  async () => {
    const cwd = path.join(base, 'job');
    await writeBoxImages(path.join(cwd, 'photos'), 'voc', {train: 10, test: 3});
    copyFileSync(path.join(example, 'sdq.config.yaml'), path.join(cwd, 'sdq.config.yaml'));
    copyFileSync(path.join(cwd, 'photos/JPEGImages/test0.png'), path.join(cwd, 'photos/JPEGImages/1.jpg'));
    const all = commands();
    const outputs = new Map<string, string>();
    for (const command of all) {
      const settings = Object.entries(small).flatMap(([key, to]) => ['--set', `${key}=${to}`]);
      const {exitCode, stdout, stderr} = await sdq([...command, ...(more[command[0]!] ?? []), ...settings, '--json'], {
        cwd,
      });
      expect({command, exitCode, stderr: exitCode === 0 ? '' : stderr}).toEqual({command, exitCode: 0, stderr: ''});
      outputs.set(command[0]!, stdout);
    }
    expect(JSON.parse(outputs.get('evaluate')!)).toMatchObject({task: 'detection', samples: 3});
    expect(JSON.parse(outputs.get('verify')!)).toMatchObject({passed: true});
    expect(JSON.parse(outputs.get('predict')!)).toMatchObject({predictions: [{width: 96, height: 64}]});
    const runs = path.join(cwd, '.sdq/runs');
    const trained = readdirSync(runs).find((name) => name.includes('-train-'))!;
    for (const file of ['detections-quantized.json', 'detections/test-0.boxes.png'])
      expect(existsSync(path.join(runs, trained, file))).toBe(true);
    for (const file of ['sheet.png', 'found/1.boxes.png']) expect(existsSync(path.join(cwd, file))).toBe(true);
  },
  600_000,
);

test.each(['voc', 'coco', 'yolo'] as const)(
  'init finds photographs with boxes as %s',
  async (format) => {
    const cwd = path.join(base, format);
    await writeBoxImages(path.join(cwd, 'photos'), format, {train: 12, test: 2});
    const {exitCode, stdout, stderr} = await sdq(['init', '--json'], {cwd});
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
    expect(JSON.parse(stdout)).toMatchObject({template: 'boxes'});
    const config: unknown = parse(readFileSync(path.join(cwd, 'sdq.config.yaml'), 'utf8'));
    expect(config).toMatchObject({
      model: {name: 'yolov4-tiny'},
      task: {name: 'detection'},
      data: {name: 'boxes', directory: './photos'},
    });
    expect(await sdq(['config', 'validate'], {cwd})).toMatchObject({exitCode: 0});
  },
  60_000,
);

test.each([
  {train: 5, batchSize: 4},
  {train: 2, batchSize: 1},
])('init takes a batch that $train photographs fill', async ({train, batchSize}) => {
  const cwd = path.join(base, `few${train}`);
  await writeBoxImages(path.join(cwd, 'photos'), 'voc', {train, test: 1});
  const {exitCode, stderr} = await sdq(['init', '--json'], {cwd});
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  expect(parse(readFileSync(path.join(cwd, 'sdq.config.yaml'), 'utf8'))).toMatchObject({data: {batchSize}});
});
