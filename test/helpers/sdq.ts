import {spawn, type ChildProcess} from 'node:child_process';
import path from 'node:path';

/** The built command line. */
export const bin = path.resolve(import.meta.dirname, '../../bin/run.js');

export interface Outcome {
  /** Null when a signal ended it. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly child: ChildProcess;
  readonly outcome: Promise<Outcome>;
}

interface Options {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What comes by a pipe on stdin; left out: nothing is connected. */
  readonly input?: string;
}

/** Starts the built command line (`npm run build`), as a user would, without a terminal. */
export function startSdq(args: readonly string[], {cwd, env = {}, input}: Options): Started {
  const child = spawn(process.execPath, [bin, ...args], {
    cwd,
    // Under NODE_ENV=test, which Jest sets, oclif would load the sources.
    env: {...process.env, NODE_ENV: 'production', OCLIF_SKIP_NEW_VERSION_CHECK: 'true', ...env},
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  child.stdin?.end(input);
  let [stdout, stderr] = ['', ''];
  child.stdout!.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const outcome = new Promise<Outcome>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exitCode) => {
      resolve({exitCode, stdout, stderr});
    });
  });
  return {child, outcome};
}

export async function sdq(args: readonly string[], options: Options): Promise<Outcome> {
  return startSdq(args, options).outcome;
}
