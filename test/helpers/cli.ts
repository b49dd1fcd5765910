/** Runs the real command in a process of its own. */
import {spawn} from 'node:child_process';
import path from 'node:path';

export const root = path.resolve(import.meta.dirname, '../..');

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** `built`: dist, as users have it (`npm run build` first); `source`: the working tree. */
  readonly from?: 'source' | 'built';
}

/** @param args e.g. `['model', 'show', 'resnet20', '--json']` */
export function runCli(args: readonly string[], {cwd, env = {}, from = 'source'}: RunOptions): Promise<Finished> {
  const tsx = path.join(root, 'node_modules/tsx/dist/loader.mjs');
  const command =
    from === 'source' ? ['--import', tsx, path.join(root, 'bin/dev.js')] : [path.join(root, 'bin/run.js')];
  const child = spawn(process.execPath, [...command, ...args], {
    cwd,
    env: {...process.env, NODE_ENV: 'production', NODE_OPTIONS: '', OCLIF_SKIP_NEW_VERSION_CHECK: 'true', ...env},
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({code, stdout, stderr}));
  });
}
