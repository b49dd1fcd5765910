/** What a W&B run is called and where it goes: the options of the config, above them the environment, `~/.netrc` for the key. */
import {createHash} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {homedir} from 'node:os';
import path from 'node:path';

import {ExitCode, SdqError} from '../../../errors.ts';

type Transport = 'http' | 'sdk' | 'cli';

/** The keys beside `name: wandb` in the config. */
export interface WandbOptions {
  readonly project: string;
  readonly entity?: string;
  readonly group?: string;
  readonly jobType?: string;
  readonly runName?: string;
  readonly notes?: string;
  readonly tags: readonly string[];
  readonly mode?: Mode;
  readonly baseUrl?: string;
  readonly transport: Transport;
  readonly artifacts: readonly string[];
}

export const modes = ['online', 'offline', 'disabled'] as const;
type Mode = (typeof modes)[number];

const resumes = ['allow', 'never', 'must', 'auto'] as const;

export interface WandbSettings {
  readonly mode: Mode;
  /** Why the run is kept offline although nobody asked for it; undefined otherwise. */
  readonly offlineReason: string | undefined;
  readonly key: string | undefined;
  /** Without a slash at the end. */
  readonly baseUrl: string;
  readonly entity: string | undefined;
  readonly project: string;
  readonly runId: string | undefined;
  readonly group: string;
  readonly jobType: string;
  readonly name: string | undefined;
  readonly notes: string;
  readonly tags: readonly string[];
  readonly resume: (typeof resumes)[number];
  /** Parent of the folder `wandb`; undefined: the run's own folder. */
  readonly directory: string | undefined;
  readonly sweepId: string | undefined;
  readonly transport: Transport;
  readonly artifacts: ReadonlySet<string>;
}

type Environment = Readonly<Record<string, string | undefined>>;

const publicServer = 'https://api.wandb.ai';

/**
 * @param cwd relative paths of the environment start here
 * @throws SdqError (exit 3) for a variable whose value is not one of those allowed
 */
export function resolveSettings(options: WandbOptions, env: Environment, cwd: string): WandbSettings {
  const text = (name: string): string | undefined =>
    env[name] === undefined || env[name] === '' ? undefined : env[name];
  const baseUrl = serverUrl(text('WANDB_BASE_URL') ?? options.baseUrl ?? publicServer);
  const wanted = choice('WANDB_MODE', text('WANDB_MODE') ?? options.mode ?? 'online', modes);
  const key = text('WANDB_API_KEY') ?? netrcPassword(env, new URL(baseUrl).hostname);
  const isKeyless = wanted === 'online' && key === undefined;
  const directory = text('WANDB_DIR');
  return {
    mode: isKeyless ? 'offline' : wanted,
    offlineReason: isKeyless ? 'there is no key in WANDB_API_KEY or .netrc' : undefined,
    key,
    baseUrl,
    entity: text('WANDB_ENTITY') ?? options.entity,
    project: text('WANDB_PROJECT') ?? options.project,
    runId: runId(text('WANDB_RUN_ID')),
    group: text('WANDB_RUN_GROUP') ?? options.group ?? '',
    jobType: text('WANDB_JOB_TYPE') ?? options.jobType ?? '',
    name: text('WANDB_NAME') ?? options.runName,
    notes: text('WANDB_NOTES') ?? options.notes ?? '',
    tags:
      text('WANDB_TAGS')
        ?.split(',')
        .map((tag) => tag.trim())
        .filter((tag) => tag !== '') ?? options.tags,
    resume: choice('WANDB_RESUME', text('WANDB_RESUME') ?? 'allow', resumes),
    directory: directory === undefined ? undefined : path.resolve(cwd, directory),
    sweepId: text('WANDB_SWEEP_ID'),
    transport: options.transport,
    artifacts: new Set(options.artifacts),
  };
}

/** A run's id at W&B: the same on every machine, and not that of another run. */
export function idOf(uid: string): string {
  return createHash('sha256').update(uid).digest('hex').slice(0, 16);
}

function choice<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === value.toLowerCase());
  if (found !== undefined) return found;
  throw new SdqError(`${name} is ${JSON.stringify(value)}; allowed are ${allowed.join(', ')}.`, {
    code: 'wandb-environment',
    exit: ExitCode.invalidInput,
  });
}

function runId(value: string | undefined): string | undefined {
  if (value === undefined || /^[^/\\#?%:\s]{1,128}$/.test(value)) return value;
  throw new SdqError(
    `WANDB_RUN_ID is ${JSON.stringify(value.slice(0, 140))}; a run id has 1 to 128 characters, and none of / \\ # ? % : or a space.`,
    {code: 'wandb-environment', exit: ExitCode.invalidInput},
  );
}

function serverUrl(value: string): string {
  if (URL.canParse(value)) {
    const url = new URL(value);
    if (['http:', 'https:'].includes(url.protocol) && url.username === '' && url.password === '') {
      return value.replace(/\/+$/, '');
    }
  }
  // Not the value: an address may hold a password.
  throw new SdqError(
    'The address of the W&B server (WANDB_BASE_URL or baseUrl) is not an http(s) address without a password.',
    {
      code: 'wandb-environment',
      exit: ExitCode.invalidInput,
    },
  );
}

/** `machine HOST login NAME password KEY`, over one line or several; where `wandb login` puts the key. */
function netrcPassword(env: Environment, host: string): string | undefined {
  const home = env['HOME'] ?? env['USERPROFILE'] ?? homedir();
  const files = env['NETRC'] === undefined ? [path.join(home, '.netrc'), path.join(home, '_netrc')] : [env['NETRC']];
  for (const file of files) {
    let words: readonly string[];
    try {
      words = readFileSync(file, 'utf8')
        .replaceAll(/^\s*#.*$/gm, '')
        .split(/\s+/);
    } catch {
      continue;
    }
    let machine: string | undefined;
    for (const [index, word] of words.entries()) {
      const value = words[index + 1];
      if (word === 'machine') machine = value;
      else if (word === 'default') machine = undefined;
      else if (word === 'password' && machine === host && value !== undefined) return value;
    }
  }
  return undefined;
}
