/** A third-party package, installed from a folder, offline, and used by name. */
import {spawnSync} from 'node:child_process';
import {mkdirSync, symlinkSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';

import {root} from '../helpers/result-schemas.ts';
import {sdqProcess} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const project = temporaryFolder();
const env = {SDQ_DATA_DIR: path.join(project, 'cache')};
const run = (...args: string[]) => sdqProcess(args, {cwd: project, env});

beforeAll(() => {
  writeFileSync(path.join(project, 'package.json'), JSON.stringify({name: 'a-user', private: true}));
  const flags = ['--offline', '--install-links', '--no-audit', '--no-fund', '--ignore-scripts'];
  const {status, stderr} = spawnSync('npm', ['install', path.join(root, 'examples/plugin-example'), ...flags], {
    cwd: project,
    encoding: 'utf8',
    env: {...process.env, npm_config_cache: path.join(project, 'npm-cache')},
  });
  if (status !== 0) throw new Error(stderr);
  // sdq itself, which a user has from the registry.
  mkdirSync(path.join(project, 'node_modules'), {recursive: true});
  symlinkSync(root, path.join(project, 'node_modules/sdq'));
  writeFileSync(
    path.join(project, 'sdq.config.yaml'),
    'plugins: [sdq-plugin-example]\nmodel: {name: tiny-net, options: {channels: 4}}\ndata: {name: stripes, validation: 256}\n',
  );
});

test('its data set is fetched, verified and listed', async () => {
  const fetched = await run('data', 'fetch', 'stripes', '--json');
  expect(fetched).toMatchObject({exitCode: 0});
  expect(JSON.parse(fetched.stdout)).toMatchObject({name: 'stripes', splits: {train: 2048, test: 512}, verified: true});
  expect((await run('data', 'list')).stdout).toMatch(/^stripes +made +yes/m);
});

test('its model is shown with its options and the classes of its data set', async () => {
  const {exitCode, stdout} = await run('model', 'show', 'tiny-net', '--json');
  expect(exitCode).toBe(0);
  const {layers} = JSON.parse(stdout) as {layers: unknown[]};
  expect(layers).toMatchObject([
    {name: 'conv1', params: 4 * 9, inputShape: [1, 16, 16]},
    {name: 'conv2', params: 8 * 4 * 9},
    {name: 'linear', params: 8 * 2, outputShape: [2]},
  ]);
});

test('a wrong option is refused by its schema', async () => {
  const {exitCode, stderr} = await run('model', 'show', 'tiny-net', '--set', 'model.options={chanels: 4}');
  expect(exitCode).toBe(3);
  expect(stderr).toContain('/model/options/chanels: unknown key "chanels"');
  expect(stderr).toContain('Did you mean "channels"?');
});

test.each([
  ['a package that is not there', 'sdq-plugin-missing', 'is not installed'],
  ['a package without the hook', './node_modules/sdq/node_modules/yaml', 'has no oclif hook sdq:register'],
  ['a package whose hook throws', './broken', 'The plugin broken failed to register: it broke'],
  [
    'a definition that is none',
    './half',
    'The plugin half registers the model "half", which cannot be used: "summary"',
  ],
  ['a name that is taken', './taken', 'model "resnet20" is defined by two packages: sdq and taken.'],
])('%s is named', async (_, name, message) => {
  writePlugin('broken', `export default async () => { throw new Error('it broke'); };`);
  writePlugin('half', `export default async ({registry}) => registry.add({kind: 'model', name: 'half'});`);
  writePlugin('taken', `export default async ({registry}) => registry.add({kind: 'model', name: 'resnet20'});`);
  const {exitCode, stderr} = await run('model', 'list', '--set', `plugins=[${name}]`);
  expect(stderr).toContain(message);
  expect(exitCode).toBe(3);
});

function writePlugin(name: string, source: string): void {
  const folder = path.join(project, name);
  mkdirSync(folder, {recursive: true});
  const hooks = {'sdq:register': './register.js'};
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({name, type: 'module', oclif: {hooks}}));
  writeFileSync(path.join(folder, 'register.js'), source);
}
