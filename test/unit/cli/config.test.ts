/** `sdq config show` and `sdq config validate`. */
import {mkdirSync, mkdtempSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';
import {parse} from 'yaml';

import {resultProblems} from '../../helpers/result-schemas.ts';
import {sdq} from '../../helpers/sdq.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const base = temporaryFolder();

function folder(text: string): string {
  const cwd = mkdtempSync(path.join(base, 'cwd-'));
  writeFileSync(path.join(cwd, 'sdq.config.yaml'), text);
  return cwd;
}

const text = `model: {name: cnn-small}
data: {name: mnist, batchSize: 16}
search:
  target: {meanWeightBits: 3, sizeKiB: 40}
  pin: {conv1: 8}
`;

test('config show names the place of every value, and prints a config with the same values', async () => {
  const cwd = folder(text);
  const set = ['--set', 'search.target.sizeKiB=null', '--set', 'search.pin={}'];
  const env = {SDQ_TRAIN_EPOCHS: '7'};
  const {stdout} = await sdq(['config', 'show', ...set, '--json'], {cwd, env});
  expect(resultProblems('config-show', stdout)).toEqual([]);
  const {config, file, origins} = JSON.parse(stdout) as {
    config: {search: {target: object; pin: object}; train: {epochs: number}};
    file: string;
    origins: Record<string, string>;
  };
  expect(file).toBe(path.join(cwd, 'sdq.config.yaml'));
  expect(config).toMatchObject({train: {epochs: 7}, search: {target: {meanWeightBits: 3}, pin: {}}});
  expect(origins).toMatchObject({
    'model.name': `${file}:1:9`,
    'data.batchSize': `${file}:2:21`,
    'search.target.meanWeightBits': `${file}:4:12`,
    'search.pin': '--set search.pin={}',
    'search.epochs': 'default',
    'train.epochs': 'SDQ_TRAIN_EPOCHS',
  });
  expect(origins).not.toHaveProperty('search.target.sizeKiB');
  const shown = await sdq(['config', 'show', ...set], {cwd, env});
  expect(parse(shown.stdout)).toEqual(config);
  expect(shown.stdout).toContain('batchSize: 16 # sdq.config.yaml:2:21\n');
  expect(shown.stdout).toMatch(/^ {2}epochs: 7 # SDQ_TRAIN_EPOCHS$/m);
});

test('config show of a part', async () => {
  const cwd = folder(text);
  const {stdout} = await sdq(['config', 'show', 'search.target'], {cwd});
  expect(stdout).toBe('meanWeightBits: 3 # sdq.config.yaml:4:12\nsizeKiB: 40 # sdq.config.yaml:4:31\n');
  expect((await sdq(['config', 'show', 'model.name'], {cwd})).stdout).toBe('cnn-small # sdq.config.yaml:1:9\n');
  const {exitCode, stderr} = await sdq(['config', 'show', 'search.epoch'], {cwd});
  expect({exitCode, stderr}).toMatchObject({exitCode: 3, stderr: expect.stringContaining('"search.epochs"')});
});

test('config validate lists every mistake with its place, and takes what a run would take', async () => {
  const {stdout} = await sdq(['config', 'validate', '--json'], {cwd: folder(text)});
  expect(resultProblems('config-validate', stdout)).toEqual([]);
  const empty = path.join(base, 'empty');
  mkdirSync(empty);
  expect(await sdq(['config', 'validate'], {cwd: empty})).toMatchObject({exitCode: 0});
  for (const [wrong, message] of [
    ['search: {epochs: -1, targets: {}}', /2 settings are wrong:.*yaml:1:22: .*yaml:1:10: /s],
    ['model: {name: resnt20}', /Did you mean "resnet20"/],
    ['hardware: [bitfusion-egde]', /Did you mean "bitfusion-edge"/],
  ] as const) {
    const {exitCode, stderr} = await sdq(['config', 'validate'], {cwd: folder(wrong)});
    expect({exitCode, stderr}).toMatchObject({exitCode: 3, stderr: expect.stringMatching(message)});
  }
});
