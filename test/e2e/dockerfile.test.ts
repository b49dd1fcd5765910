/** What examples/docker/Dockerfile runs, line by line, without Docker: but for apt-get, which would change this machine. */
import {execFileSync, spawnSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';

import {hasTensorflow, tensorflowEnvironment, withoutTensorflow} from '../helpers/installed-engines.ts';
import {root} from '../helpers/result-schemas.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const instructions = readFileSync(path.join(root, 'examples/docker/Dockerfile'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => ({name: line.slice(0, line.indexOf(' ')), text: line.slice(line.indexOf(' ') + 1)}));
const texts = (name: string): string[] => instructions.filter((each) => each.name === name).map(({text}) => text);

test('the Dockerfile has these instructions, and only apt-get needs the image', () => {
  expect(instructions.map(({name}) => name)).toEqual([
    'FROM',
    'ARG',
    'ARG',
    'ENV',
    'RUN',
    'RUN',
    'WORKDIR',
    'ENTRYPOINT',
  ]);
  expect(texts('RUN')[0]).toMatch(/^apt-get update && apt-get install -y --no-install-recommends python3-pip && rm/);
  expect(texts('RUN')[1]).not.toContain('apt-get');
});

(hasTensorflow ? test : test.skip)(
  `sdq and its engine from the line that installs them${hasTensorflow ? '' : ` (${withoutTensorflow})`}`,
  () => {
    const packed = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
      cwd: root,
      encoding: 'utf8',
    });
    const [{filename}] = JSON.parse(packed) as [{readonly filename: string}];
    const env: NodeJS.ProcessEnv = {
      ...process.env,
      ...Object.fromEntries(
        texts('ENV').flatMap((text) => text.split(' ').map((pair) => pair.split('=') as [string, string])),
      ),
      SDQ: path.join(folder, filename),
      ENGINE_FLAGS: '--cpu',
      npm_config_prefix: folder,
      PATH: `${path.join(folder, 'bin')}:${process.env['PATH'] ?? ''}`,
      // The engine of the other tests, so that TensorFlow is not fetched again.
      ...tensorflowEnvironment,
    };
    const run = spawnSync('sh', ['-c', texts('RUN')[1] ?? ''], {cwd: folder, env, encoding: 'utf8'});
    expect({status: run.status, stderr: run.status === 0 ? '' : run.stderr}).toEqual({status: 0, stderr: ''});
    const [program = ''] = JSON.parse(texts('ENTRYPOINT')[0] ?? '[]') as string[];
    const doctor = execFileSync(program, ['doctor', '--json'], {cwd: folder, env, encoding: 'utf8'});
    const {engines} = JSON.parse(doctor) as {engines: {name: string; available: boolean}[]};
    expect(engines.find(({name}) => name === 'tensorflow')).toMatchObject({available: true});
  },
  600_000,
);
