/** Transport `cli`: the user's own `wandb sync` sends the logs. */
import {spawn} from 'node:child_process';

import {TrackerError} from '../../../plugin-api/tracker.ts';
import type {WandbSettings} from './settings.ts';

/** Of the output, in an error. */
const outputLimit = 400;

/**
 * Runs `wandb sync` on each file, oldest first. Several files of one run are sent as one run.
 * @throws TrackerError (permanent) when it is not installed or says that it failed
 */
export async function runCli(
  files: readonly string[],
  {
    env,
    settings,
    signal,
  }: {
    readonly settings: WandbSettings;
    readonly env: Readonly<Record<string, string | undefined>>;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  for (const file of files) {
    await new Promise<void>((resolve, reject) => {
      let output = '';
      const child = spawn('wandb', ['sync', file], {
        env: {...env, WANDB_API_KEY: settings.key, WANDB_BASE_URL: settings.baseUrl},
        stdio: ['ignore', 'pipe', 'pipe'],
        signal,
      });
      const keep = (chunk: Buffer): void => {
        output = (output + chunk.toString()).slice(-outputLimit);
      };
      child.stdout.on('data', keep);
      child.stderr.on('data', keep);
      const fail = (reason: string): void => reject(new TrackerError(`wandb sync: ${reason}`, {kind: 'permanent'}));
      child.on('error', (error: NodeJS.ErrnoException) =>
        fail(error.code === 'ENOENT' ? 'the command `wandb` is not installed' : error.message),
      );
      child.on('close', (code) => {
        if (code === 0) resolve();
        else fail(`exit code ${code ?? 'none'}: ${output.replaceAll(/\s+/g, ' ').trim()}`);
      });
    });
  }
}
