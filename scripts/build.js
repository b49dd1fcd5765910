// Builds everything that `npm ci` must leave behind: the WebAssembly kernels, `dist/` and the oclif manifest.
import {spawnSync} from 'node:child_process';
import {existsSync, rmSync} from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');

function run(script, ...args) {
  const {status} = spawnSync(process.execPath, [path.join(root, 'node_modules', script), ...args], {
    cwd: root,
    // `oclif manifest` takes what it finds on stdin for its argument.
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {...process.env, NODE_ENV: 'production'},
  });
  if (status !== 0) process.exit(status ?? 1);
}

const assembly = 'src/plugins/engines/wasm/assembly';
const kernels = ['--config', `${assembly}/asconfig.json`];
if (existsSync(path.join(root, assembly, 'asconfig.json'))) {
  for (const target of ['simd', 'relaxed-simd']) run('assemblyscript/bin/asc.js', ...kernels, '--target', target);
}
run('assemblyscript/bin/asc.js', '--config', 'src/data/assembly/asconfig.json');
rmSync(path.join(root, 'dist'), {recursive: true, force: true});
run('typescript/bin/tsc', '-p', 'tsconfig.json');
run('oclif/bin/run.js', 'manifest');
