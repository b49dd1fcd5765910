/** What the built command costs before it does anything. Needs `npm run build`. */
import {spawnSync} from 'node:child_process';
import {mkdtempSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {root} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const base = temporaryFolder();
const folder = (): string => mkdtempSync(path.join(base, 'cwd-'));
const preload = `--require=${path.join(root, 'test/helpers/report-modules.cjs')}`;

async function loadedPackages(args: readonly string[], cwd: string): Promise<string[]> {
  const {stderr} = await sdq(args, {cwd, env: {NODE_OPTIONS: preload}});
  return [...stderr.matchAll(/^loaded: (.*)$/gm)].map((match) => match[1]!);
}

describe('tensor libraries and image decoders stay unloaded', () => {
  test.each([
    [['--help']],
    [['search', '--help']],
    [['init']],
    [['data', 'list']],
    [['model', 'list']],
    [['model', 'show', 'resnet20']],
    [['runs', 'list']],
    [['strategy', 'create', '--weight-bits', '2', '--set', 'model.name=resnet20']],
    [['strategy', 'show', 'missing.json']],
  ])('%j', async (args) => {
    const loaded = await loadedPackages(args, folder());
    expect(loaded).toContain('@oclif/core');
    expect(loaded.filter((name) => name.startsWith('@tensorflow/') || name === 'sharp')).toEqual([]);
  });

  test('a command that computes does load them', async () => {
    expect(await loadedPackages(['doctor'], folder())).toContain('@tensorflow/tfjs-core');
  });
});

test('sdq --help takes at most three times as long as an empty script', () => {
  // Processor time, and the least of many: what the program needs, not what else the machine was doing.
  const time = (args: readonly string[]): number => {
    const {stderr} = spawnSync(process.execPath, [preload, ...args], {
      encoding: 'utf8',
      env: {...process.env, NODE_ENV: 'production'},
    });
    return Number(/^milliseconds: (.*)$/m.exec(stderr)![1]);
  };
  const [help, empty]: [number[], number[]] = [[], []];
  for (let i = 0; i < 15; i++) {
    help.push(time([path.join(root, 'bin/run.js'), '--help']));
    empty.push(time(['-e', '0']));
  }
  expect(Math.min(...help) / Math.min(...empty)).toBeLessThanOrEqual(3);
});

test('a reader that closes the pipe is no error', () => {
  const script = `"$NODE" "$BIN" model show resnet56 | head -1; exit "\${PIPESTATUS[0]}"`;
  const {status, stderr} = spawnSync('bash', ['-c', script], {
    cwd: folder(),
    encoding: 'utf8',
    env: {...process.env, NODE_ENV: 'production', NODE: process.execPath, BIN: path.join(root, 'bin/run.js')},
  });
  expect({status, stderr}).toEqual({status: 0, stderr: ''});
});
