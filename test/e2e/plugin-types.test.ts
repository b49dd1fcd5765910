/** A plugin of each kind compiles against the package as it is published, under the strictest settings. */
import {execFileSync, spawnSync} from 'node:child_process';
import {copyFileSync, mkdirSync, symlinkSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';

import {root} from '../helpers/result-schemas.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const project = temporaryFolder();

test('every kind of plugin can be written with what the package exports', () => {
  const [{filename}] = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', project], {
      cwd: root,
      encoding: 'utf8',
    }),
  ) as [{readonly filename: string}];
  const sdq = path.join(project, 'node_modules/sdq');
  mkdirSync(sdq, {recursive: true});
  execFileSync('tar', ['-xzf', path.join(project, filename), '--strip-components=1', '-C', sdq]);
  for (const name of ['@tensorflow', '@oclif', '@types', '@webgpu']) {
    symlinkSync(path.join(root, 'node_modules', name), path.join(project, 'node_modules', name));
  }
  copyFileSync(path.join(root, 'test/fixtures/every-kind/plugin.ts'), path.join(project, 'plugin.ts'));
  writeFileSync(path.join(project, 'package.json'), JSON.stringify({type: 'module', private: true}));
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023'],
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    // Of tfjs.
    skipLibCheck: true,
    noEmit: true,
    types: ['node'],
  };
  writeFileSync(path.join(project, 'tsconfig.json'), JSON.stringify({compilerOptions, files: ['plugin.ts']}));
  const {stdout} = spawnSync(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', project], {
    encoding: 'utf8',
  });
  expect(stdout).toBe('');
}, 120_000);
