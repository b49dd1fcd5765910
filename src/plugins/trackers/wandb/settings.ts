/**
 * What a W&B run is called and where it goes: the environment, below it the options of the config, below them the settings
 * files of wandb (`wandb login --host`, `wandb init`, `wandb offline` write there), and `~/.netrc` for the key.
 */
import {createHash} from 'node:crypto';
import {existsSync, readFileSync} from 'node:fs';
import {homedir} from 'node:os';
import path from 'node:path';

import {invalidInput} from '../../../errors.ts';
import type {Environment} from '../../../http/environment.ts';
import {readIni} from '../../../ini.ts';
import {redactUrls} from '../../../redact.ts';

type Transport = 'http' | 'sdk' | 'cli';

/** The keys beside `name: wandb` in the config. */
export interface WandbOptions {
  readonly project?: string;
  readonly entity?: string;
  readonly group?: string;
  readonly jobType?: string;
  readonly runName?: string;
  readonly notes?: string;
  readonly tags: readonly string[];
  readonly mode?: Mode;
  readonly baseUrl?: string;
  readonly transport: Transport;
  readonly metricNames: MetricNames;
  readonly artifacts: readonly string[];
  readonly gitDiff?: boolean;
  readonly saveCode?: boolean;
}

export const metricNames = ['quantity', 'layer'] as const;
type MetricNames = (typeof metricNames)[number];

export const modes = ['online', 'offline', 'disabled'] as const;
type Mode = (typeof modes)[number];
/** What W&B called them earlier; its own client still takes them. */
const formerModes: Readonly<Record<string, Mode>> = {dryrun: 'offline', run: 'online'};

/** Characters that W&B takes. */
export const limits = {project: 128, name: 128, tag: 64} as const;

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
  /** False accepts any certificate of the server. */
  readonly verifyTls: boolean;
  readonly transport: Transport;
  /** Whether `dbp/LAYER/beta` of the journal is `dbp/beta/LAYER` at W&B. */
  readonly metricNames: MetricNames;
  readonly artifacts: ReadonlySet<string>;
  /** Whether `diff.patch` and `code/` of the run's folder are sent. */
  readonly gitDiff: boolean;
  readonly saveCode: boolean;
}

const publicServer = 'https://api.wandb.ai';

/**
 * @param cwd relative paths of the environment start here
 * @throws SdqError (exit 3) for a variable whose value is not one of those allowed
 */
export function resolveSettings(options: WandbOptions, env: Environment, cwd: string): WandbSettings {
  const text = (name: string): string | undefined =>
    env[name] === undefined || env[name] === '' ? undefined : env[name];
  const stored = storedSettings(env, cwd);
  const baseUrl = serverUrl(text('WANDB_BASE_URL') ?? options.baseUrl ?? stored.get('base_url') ?? publicServer);
  const mode = text('WANDB_MODE') ?? options.mode ?? stored.get('mode') ?? 'online';
  const wanted = choice('WANDB_MODE', formerModes[mode.toLowerCase()] ?? mode, modes);
  const key = text('WANDB_API_KEY')?.trim() ?? netrcPassword(env, new URL(baseUrl)) ?? stored.get('api_key');
  const isKeyless = wanted === 'online' && key === undefined;
  const directory = text('WANDB_DIR');
  const tags = text('WANDB_TAGS')
    ?.split(',')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');
  const insecure = text('WANDB_INSECURE_DISABLE_SSL') ?? stored.get('insecure_disable_ssl') ?? 'false';
  for (const tag of tags ?? []) checkLength('A tag of WANDB_TAGS', tag, limits.tag);
  checkLength('WANDB_NAME', text('WANDB_NAME') ?? '', limits.name);
  return {
    mode: isKeyless ? 'offline' : wanted,
    offlineReason: isKeyless ? `there is no key for ${baseUrl} in WANDB_API_KEY or .netrc` : undefined,
    key,
    baseUrl,
    entity: text('WANDB_ENTITY') ?? options.entity ?? stored.get('entity'),
    project: projectName(text('WANDB_PROJECT') ?? options.project ?? stored.get('project') ?? 'sdq'),
    runId: runId(text('WANDB_RUN_ID')),
    group: text('WANDB_RUN_GROUP') ?? options.group ?? '',
    jobType: text('WANDB_JOB_TYPE') ?? options.jobType ?? '',
    name: text('WANDB_NAME') ?? options.runName,
    notes: text('WANDB_NOTES') ?? options.notes ?? '',
    tags: tags ?? options.tags,
    resume: choice('WANDB_RESUME', text('WANDB_RESUME') ?? 'allow', resumes),
    directory: directory === undefined ? undefined : path.resolve(cwd, directory),
    sweepId: text('WANDB_SWEEP_ID'),
    verifyTls: ['false', '0', 'no', 'off'].includes(choice('WANDB_INSECURE_DISABLE_SSL', insecure, booleans)),
    transport: options.transport,
    metricNames: options.metricNames,
    artifacts: new Set(options.artifacts),
    gitDiff: options.gitDiff === true,
    saveCode: options.saveCode === true,
  };
}

const booleans = ['true', 'false', '1', '0', 'yes', 'no', 'on', 'off'] as const;

/** `settings` of the user and, above it, of the working folder; where they are is as in wandb 0.31. */
function storedSettings(env: Environment, cwd: string): ReadonlyMap<string, string> {
  const filled = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  const common = filled('WANDB_CONFIG_DIR') ?? path.join(homeOf(env), '.config', 'wandb');
  const root = path.resolve(cwd, filled('WANDB_DIR') ?? '.');
  const local = path.join(root, existsSync(path.join(root, '.wandb')) ? '.wandb' : 'wandb');
  const read = (folder: string): ReadonlyMap<string, string> => readIni(path.join(folder, 'settings'), 'default');
  return new Map([...read(path.resolve(cwd, common)), ...read(local)]);
}

function homeOf(env: Environment): string {
  return env['HOME'] ?? env['USERPROFILE'] ?? homedir();
}

function checkLength(what: string, value: string, limit: number): void {
  if (value.length <= limit) return;
  throw invalidInput(
    'wandb-environment',
    `${what} has ${value.length} characters (${JSON.stringify(value.slice(0, 20))}…); W&B takes ${limit}.`,
  );
}

function projectName(value: string): string {
  if (/^[^/\\#?%:]{1,128}$/.test(value)) return value;
  throw invalidInput(
    'wandb-environment',
    `The project of W&B (WANDB_PROJECT or project) is ${JSON.stringify(value.slice(0, 140))}; a project has 1 to ${limits.project} characters, and none of / \\ # ? % :`,
  );
}

/** A run's id at W&B: the same on every machine, and not that of another run. */
export function idOf(uid: string): string {
  return createHash('sha256').update(uid).digest('hex').slice(0, 16);
}

function choice<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const match = allowed.find((each) => each === value.toLowerCase());
  if (match !== undefined) return match;
  throw invalidInput('wandb-environment', `${name} is ${JSON.stringify(value)}; allowed are ${allowed.join(', ')}.`);
}

function runId(value: string | undefined): string | undefined {
  if (value === undefined || /^[^/\\#?%:;,'\s]{1,128}$/.test(value)) return value;
  throw invalidInput(
    'wandb-environment',
    `WANDB_RUN_ID is ${JSON.stringify(value.slice(0, 140))}; a run id has 1 to 128 characters, and none of / \\ # ? % : ; , ' or a space.`,
  );
}

function serverUrl(value: string): string {
  if (URL.canParse(value)) {
    const {hostname, password, protocol, search, username} = new URL(value);
    if (hostname === 'wandb.ai' || hostname === 'app.wandb.ai') {
      throw invalidInput(
        'wandb-environment',
        `The address of the W&B server is that of its pages; its interface is at ${publicServer}.`,
      );
    }
    const isPlain = username === '' && password === '' && search === '' && redactUrls(value) === value;
    if (['http:', 'https:'].includes(protocol) && isPlain) return value.replace(/\/+$/, '');
  }
  // Not the value: an address may hold a password.
  throw invalidInput(
    'wandb-environment',
    'The address of the W&B server (WANDB_BASE_URL, baseUrl, or base_url in the settings of wandb) is not an http(s) address without a password.',
  );
}

/** `machine HOST login NAME password KEY`, over one line or several; where `wandb login` puts the key. */
function netrcPassword(env: Environment, {host, hostname}: URL): string | undefined {
  const home = homeOf(env);
  const named = env['NETRC'];
  const files = named === undefined || named === '' ? [path.join(home, '.netrc'), path.join(home, '_netrc')] : [named];
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
    const passwords = new Map<string | undefined, string>();
    for (const [index, word] of words.entries()) {
      // Quoted as in a shell.
      const value = words[index + 1]?.replace(/^(['"])(.*)\1$/, '$2');
      if (word === 'machine') machine = value;
      else if (word === 'default') machine = undefined;
      else if (word === 'password' && value !== undefined) passwords.set(machine, passwords.get(machine) ?? value);
    }
    // wandb writes the port too, older ones did not.
    const password = passwords.get(host) ?? passwords.get(hostname);
    if (password !== undefined) return password;
  }
  return undefined;
}
