/**
 * Transport `sdk`: the official `@wandb/sdk` (0.5.1) in a process of its own, fed with the rows. It ignores the variables of
 * W&B, takes failures for success, may end its process and may never answer; so it is kept away from the training, told
 * everything, waited for with a limit, and what the server has is counted afterwards.
 */
import {fork} from 'node:child_process';
import {createRequire} from 'node:module';
import {fileURLToPath} from 'node:url';
import path from 'node:path';

import {TrackerError} from '../../../plugin-api/tracker.ts';
import {objectOf, type Row} from './rows.ts';
import type {RunPath} from './server.ts';
import type {WandbSettings} from './settings.ts';

export interface SdkRun {
  log(rows: readonly Row[]): Promise<void>;
  /** Resolves when the child has ended, whatever it says: the server's count tells what arrived. */
  finish(signal: AbortSignal): Promise<void>;
  kill(): Promise<void>;
}

/** What the child is sent. */
export type SdkMessage =
  | {readonly kind: 'init'; readonly module: string; readonly options: Readonly<Record<string, unknown>>}
  | {readonly kind: 'log'; readonly rows: readonly string[]}
  | {readonly kind: 'finish'};

const finishLimitMs = 60_000;

/** @throws TrackerError (permanent) when `@wandb/sdk` is not installed */
export async function startSdk({
  config,
  cwd,
  env,
  name,
  notice,
  settings,
  where,
}: {
  readonly settings: WandbSettings;
  readonly where: RunPath;
  readonly config: Readonly<Record<string, unknown>>;
  readonly name: string;
  /** Where the package is looked for. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly notice: (message: string) => void;
}): Promise<SdkRun> {
  let module: string;
  try {
    // The user's, from the folder of the command; it is no dependency of sdq.
    module = createRequire(path.join(cwd, 'package.json')).resolve('@wandb/sdk');
  } catch {
    throw new TrackerError('transport sdk needs the package @wandb/sdk: npm install @wandb/sdk@0.5.1', {
      kind: 'permanent',
    });
  }
  const isSource = import.meta.url.endsWith('.ts');
  const child = fork(fileURLToPath(new URL(isSource ? 'sdk-child.ts' : 'sdk-child.js', import.meta.url)), {
    execArgv: isSource ? ['--import', 'tsx'] : [],
    env: {...env, WANDB_API_KEY: settings.key, WANDB_BASE_URL: settings.baseUrl, WANDB_MODE: 'online'},
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  let isGone = false;
  const gone = new Promise<void>((resolve) => {
    const end = (): void => {
      isGone = true;
      resolve();
    };
    child.on('exit', end);
    child.on('error', end);
  });
  const send = (message: SdkMessage): Promise<void> =>
    new Promise((resolve) => {
      if (isGone || !child.connected) resolve();
      else child.send(message, () => resolve());
    });
  const {entity, project, runId} = where;
  const options = {
    entity,
    project,
    id: runId,
    name,
    config,
    group: settings.group,
    jobType: settings.jobType,
    notes: settings.notes,
    tags: settings.tags,
    resume: 'allow',
  };
  await send({kind: 'init', module, options});
  let isTold = false;
  return {
    async log(rows) {
      if (isGone && !isTold) {
        isTold = true;
        notice('wandb: the process of @wandb/sdk has ended; the rows that it did not send are sent at the end.');
      }
      await send({kind: 'log', rows: rows.map(({values}) => objectOf(values))});
    },
    async finish(signal) {
      await send({kind: 'finish'});
      const limit = AbortSignal.any([signal, AbortSignal.timeout(finishLimitMs)]);
      await Promise.race([gone, new Promise<void>((resolve) => limit.addEventListener('abort', () => resolve()))]);
      child.kill('SIGKILL');
    },
    async kill() {
      if (isGone) return;
      child.kill('SIGKILL');
      await gone;
    },
  };
}
