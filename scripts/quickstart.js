// The main job on real data: fetches MNIST, writes a config, and does the whole job with it in `quickstart/`.
import {spawnSync} from 'node:child_process';
import {existsSync} from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const config = path.join(root, 'quickstart', 'sdq.config.yaml');

function sdq(...args) {
  console.log(`\n$ npx sdq ${args.map((arg) => arg.replace(`${root}${path.sep}`, '')).join(' ')}`);
  const {status, signal} = spawnSync(process.execPath, [path.join(root, 'bin/run.js'), ...args], {stdio: 'inherit'});
  if (status !== 0) process.exit(status ?? (signal === 'SIGINT' ? 130 : 143));
}

sdq('data', 'fetch', 'mnist');
if (!existsSync(config)) sdq('init', '--template', 'mnist', '--output', config);
sdq('run', '--config', config);
