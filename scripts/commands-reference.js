// Writes docs/commands.md, the reference of the built commands; with --check it only says whether it is up to date.
import {spawnSync} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const file = path.join(root, 'docs/commands.md');
const oclif = path.join(root, 'node_modules/oclif/bin/run.js');
const args = ['readme', '--readme-path', 'docs/commands.md', '--no-aliases', '--no-source-links'];

const before = readFileSync(file, 'utf8');
const {status, stderr} = spawnSync(process.execPath, [oclif, ...args], {
  cwd: root,
  encoding: 'utf8',
  // The width of the help text, whatever terminal this runs in.
  env: {...process.env, NODE_ENV: 'production', OCLIF_COLUMNS: '120', OCLIF_SKIP_NEW_VERSION_CHECK: 'true'},
});
if (status !== 0) {
  console.error(stderr);
  process.exit(1);
}
if (process.argv.includes('--check')) {
  const generated = readFileSync(file, 'utf8');
  writeFileSync(file, before);
  if (generated !== before) {
    console.error('docs/commands.md is not what the commands say: run `npm run build && npm run commands-reference`.');
    process.exitCode = 1;
  }
}
