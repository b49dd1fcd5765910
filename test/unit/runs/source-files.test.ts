/** Of a real repository: what the diff and the code of a run hold, and what they never do. */
import {execFileSync} from 'node:child_process';
import {existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {afterEach, beforeEach, expect, test} from '@jest/globals';

import type {Run} from '../../../src/runs/run-directory.ts';
import {keepCode, keepDiff} from '../../../src/runs/source-files.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const base = temporaryFolder();
const before = process.cwd();
let count = 0;
let notices: string[] = [];
const notice = (message: string): void => void notices.push(message);

function folder(name: string): string {
  const made = path.join(base, `${name}-${count++}`);
  mkdirSync(made);
  process.chdir(made);
  return made;
}

const run = (): Run => {
  const directory = folder('run');
  return {path: (...parts: string[]) => path.join(directory, ...parts)} as Run;
};

function repository(files: Readonly<Record<string, string>>): string {
  const root = folder('repository');
  execFileSync('git', ['init', '-q']);
  write(files);
  execFileSync('git', ['add', '-A']);
  execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b.c', 'commit', '-qm', 'first']);
  return root;
}

function write(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.resolve(name)), {recursive: true});
    writeFileSync(name, text);
  }
}

const env = {WANDB_API_KEY: 'of-the-environment'};
const secrets = [
  'of-the-environment',
  'hunter2-and-more',
  'ghp_0123456789abcdefghijklmnop',
  's3cret/with/slashes',
  'pass-of-the-url',
  'MIIEvQIBADANBgkq',
];
const leaky = `
key = 'of-the-environment'
"apiKey": "hunter2-and-more",
const header = "ghp_0123456789abcdefghijklmnop"
export DB_PASSWORD=s3cret/with/slashes
url: https://me:pass-of-the-url@example.com/x
-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkq
-----END PRIVATE KEY-----
const tokens = count(words); learningRate: 0.05
`;

beforeEach(() => void (notices = []));
afterEach(() => process.chdir(before));

test('the diff has what changed since the commit, and no secret', () => {
  const kept = run();
  repository({'a.js': 'let a = 1;\n', '.env': 'X=1\n', 'sub/prod.env': 'Y=1\n', 'sub/server.pem': 'old\n'});
  write({
    'a.js': `let a = 2;\n${leaky}`,
    '.env': 'X=visible\n',
    'sub/prod.env': 'Y=visible\n',
    'sub/server.pem': 'visible\n',
  });
  process.chdir('sub');
  keepDiff(kept, env, notice);
  const diff = readFileSync(kept.path('diff.patch'), 'utf8');
  expect(diff).toContain('-let a = 1;\n+let a = 2;');
  expect(diff).toContain('+const tokens = count(words); learningRate: 0.05');
  for (const secret of [...secrets, 'visible']) expect(diff).not.toContain(secret);
  expect(notices).toEqual([]);
});

test('the code is what git does not ignore, bounded, and no secret', () => {
  const kept = run();
  repository({'.gitignore': 'ignored/\n', 'plugin/index.js': leaky, 'readme.txt': 'not a source'});
  write({
    'sdq.config.yaml': 'seed: 1\n',
    'ignored/b.js': 'visible',
    '.env.json': 'visible',
    'big.json': 'x'.repeat(1_048_577),
  });
  keepCode(kept, env, notice);
  const code = readdirSync(kept.path('code'), {recursive: true, encoding: 'utf8'}).sort();
  expect(code).toEqual(['plugin', path.join('plugin', 'index.js'), 'sdq.config.yaml']);
  const text = readFileSync(kept.path('code/plugin/index.js'), 'utf8');
  for (const secret of secrets) expect(text).not.toContain(secret);
  expect(text).toContain('const tokens = count(words); learningRate: 0.05');
  expect(notices).toEqual(['Source files that are not sent: 1. At most 200 files, 1 MB each and 10 MB in all are.']);
});

test('without changes there is no diff; one that is too long, and a folder without git, are told of', () => {
  const kept = run();
  repository({'a.txt': 'a\n'});
  keepDiff(kept, env, notice);
  expect([existsSync(kept.path('diff.patch')), notices]).toEqual([false, []]);
  write({'a.txt': 'x'.repeat(11_000_000)});
  keepDiff(kept, env, notice);
  folder('plain');
  keepDiff(kept, env, notice);
  keepCode(kept, env, notice);
  expect(notices).toEqual([
    'There is no diff.patch: it is longer than 10 MB.',
    'There is no diff.patch: git knows no commit here.',
    'There is no code for the trackers: git knows no commit here.',
  ]);
  expect([existsSync(kept.path('diff.patch')), existsSync(kept.path('code'))]).toEqual([false, false]);
});
