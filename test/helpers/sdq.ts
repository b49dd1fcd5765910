import {spawn, type ChildProcess} from 'node:child_process';
import path from 'node:path';

import {runInProcess, type CommandOutcome} from './in-process.ts';

/** The built command line. */
export const bin = path.resolve(import.meta.dirname, '../../bin/run.js');

export interface Outcome extends Omit<CommandOutcome, 'exitCode'> {
  /** Null when a signal ended it. */
  readonly exitCode: number | null;
}

export interface Started {
  readonly child: ChildProcess;
  readonly outcome: Promise<Outcome>;
}

interface Options {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

interface ProcessOptions extends Options {
  /** What comes by a pipe on stdin; left out: nothing is connected. */
  readonly input?: string;
}

/**
 * Runs a command of the sources in this process: the way for every test that does not need a process of its own.
 * Where a command writes to a terminal is never one.
 */
export async function sdq(args: readonly string[], {cwd, env = {}}: Options): Promise<CommandOutcome> {
  return runInProcess(args, cwd, env);
}

/** Starts the built command line (`npm run build`) as a process: for signals, kills, stdin, and what Node itself does. */
export function startSdq(args: readonly string[], {cwd, env = {}, input}: ProcessOptions): Started {
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

/** Runs the built command line as a process, to its end. */
export async function sdqProcess(args: readonly string[], options: ProcessOptions): Promise<Outcome> {
  return startSdq(args, options).outcome;
}
