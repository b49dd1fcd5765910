// Prints the ```sh blocks of README.md and of the tutorials as one shell script, so that CI runs every command they show.
// `--installed` leaves out `npm ci`, where it was done already: it builds everything anew, which takes a minute each time.
// The script comes to bash by a pipe, which is stdin: the commands get another one, or they would read the rest of it.
import {readFileSync} from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const pages = ['README.md', 'docs/first-run.md', 'docs/first-sweep.md'];
const readme = pages.map((page) => readFileSync(path.join(root, page), 'utf8')).join('\n');
const installed = process.argv.includes('--installed');
const blocks = [...readme.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) =>
  installed ? block.replaceAll('npm ci && ', '') : block,
);
if (blocks.length === 0) throw new Error('README.md has no ```sh block');
process.stdout.write(`set -x\n${blocks.map((block) => `{\n${block}} </dev/null\n`).join('')}`);
