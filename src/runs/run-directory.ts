/** A run's folder `.sdq/runs/<id>/`: `run.json`, `events.jsonl`, `checkpoints/`, `strategy.json`, `lock`. */
import {execFileSync} from 'node:child_process';
import {randomBytes, randomUUID} from 'node:crypto';
import {existsSync, mkdirSync, readdirSync} from 'node:fs';
import path from 'node:path';

import {ExitCode, SdqError} from '../errors.ts';
import {fileError, readFileBounded, writeFileAtomic} from '../files.ts';
import {openCheckpoints, type Checkpoints} from './checkpoints.ts';
import {openJournal, type Journal} from './journal.ts';
import {acquireLock, isLocked} from '../lock.ts';

export type RunStatus = 'running' | 'finished' | 'failed' | 'interrupted';

/** The content of `run.json`. */
export interface RunRecord {
  readonly version: 1;
  readonly id: string;
  /** A UUID: tells the run from those of other machines. */
  readonly uid: string;
  /** `run`, `search`, `train` or `pretrain`. */
  readonly command: string;
  readonly status: RunStatus;
  readonly exitCode: number | null;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly endedAt: string | null;
  /** When it was resumed, each time. */
  readonly resumedAt: readonly string[];
  readonly seed: number;
  /** The resolved config, with absolute paths: what `--resume` uses. */
  readonly config: unknown;
  /** Absolute path of `--output`, which a resumed run writes too. */
  readonly output: string | null;
  readonly versions: Readonly<Record<string, string>>;
  readonly engine: {readonly name: string; readonly device: string; readonly threads: number} | null;
  readonly git: {readonly commit: string; readonly dirty: boolean} | null;
  /** Results of completed phases, by phase. */
  readonly results: Readonly<Record<string, unknown>>;
  /** `seq` of the journal when the newest of them completed: where a resumed run starts to repeat itself. */
  readonly journal: number;
}

export interface FoundRun {
  readonly record: RunRecord;
  readonly directory: string;
}

export interface Run {
  readonly id: string;
  readonly directory: string;
  readonly journal: Journal;
  readonly checkpoints: Checkpoints;
  record(): RunRecord;
  /** Changes fields of `run.json`, atomically. */
  update(change: Partial<RunRecord>): void;
  /** Path of a file in the run's folder. */
  path(...parts: readonly string[]): string;
  /** Journals the end, writes the final status and releases the lock. Only the first call counts. */
  end(status: Exclude<RunStatus, 'running'>, exitCode: number): void;
}

export interface RunSpec {
  /** The id to take (a sweep names its trials' runs); by default a new one. */
  readonly id?: string | undefined;
  readonly command: string;
  readonly config: unknown;
  readonly seed: number;
  readonly versions: Readonly<Record<string, string>>;
}

const recordLimitBytes = 16 << 20;
const idPattern = /^\d{8}-\d{6}-[a-z]+-[0-9a-f]{4}$/;

/** E.g. `20261123-211016-run-d13f`: UTC, the command, 16 random bits. */
export function newRunId(command: string, now: Date): string {
  const stamp = now.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  return `${stamp}-${command}-${randomBytes(2).toString('hex')}`;
}

/**
 * Creates the folder of a new run and locks it.
 * @throws SdqError (exit 6) when it cannot be written, (exit 3) when the given id is not one or is taken
 */
export function createRun(root: string, spec: RunSpec, now: Date, notice: (message: string) => void): Run {
  const id = spec.id ?? newRunId(spec.command, now);
  if (!idPattern.test(id) || id.split('-')[2] !== spec.command || existsSync(path.join(root, id, 'run.json'))) {
    throw new SdqError(`SDQ_RUN_ID is "${id}", which is not the id of a new run of sdq ${spec.command}.`, {
      code: 'invalid-run-id',
      exit: ExitCode.invalidInput,
      suggestions: [`It must be like ${newRunId(spec.command, now)}, and not be taken.`],
    });
  }
  const directory = path.join(root, id);
  try {
    mkdirSync(directory, {recursive: true});
  } catch (error) {
    throw fileError(error, 'write', directory);
  }
  const record: RunRecord = {
    version: 1,
    id,
    uid: randomUUID(),
    command: spec.command,
    status: 'running',
    exitCode: null,
    startedAt: now.toISOString(),
    endedAt: null,
    resumedAt: [],
    seed: spec.seed,
    config: spec.config,
    output: null,
    versions: spec.versions,
    engine: null,
    git: gitState(),
    results: {},
    journal: 0,
  };
  return open(directory, record, notice);
}

/** How a command line names a run: by its folder seen from the working directory, which is right under any config. */
function shownFolder(directory: string): string {
  const relative = path.relative('', directory);
  const folder = relative.includes(path.sep) ? relative : `.${path.sep}${relative}`;
  return /\s/.test(folder) ? JSON.stringify(folder) : folder;
}

/** What continues a run. */
export function resumeCommand(command: string, directory: string): string {
  return `sdq ${command} --resume ${shownFolder(directory)}`;
}

/** What sends a run's trackers the rest. */
export function syncCommand(directory: string): string {
  return `sdq track sync ${shownFolder(directory)}`;
}

/**
 * Opens a run to continue it: takes the lock, marks it running.
 * @param which as for `findRun`, but `latest` is the newest of the command's, those aside that failed before they had
 *   anything to go on from
 * @throws SdqError (exit 3) unknown run, other command, already finished; (exit 6) locked by a living process
 */
export function resumeRun(
  root: string,
  which: string,
  command: string,
  now: Date,
  notice: (message: string) => void,
): Run {
  const {record, directory} = which === 'latest' ? latestBegun(root, command) : findRun(root, which);
  if (record.command !== command) {
    throw new SdqError(`${record.id} is a run of \`sdq ${record.command}\`, not of \`sdq ${command}\`.`, {
      code: 'run-of-other-command',
      exit: ExitCode.invalidInput,
      suggestions: [resumeCommand(record.command, directory)],
    });
  }
  if (record.status === 'finished') {
    throw new SdqError(`${record.id} is finished; there is nothing to resume.`, {
      code: 'run-finished',
      exit: ExitCode.invalidInput,
      suggestions: [`sdq runs show ${shownFolder(directory)}`],
    });
  }
  return open(
    directory,
    {...record, status: 'running', exitCode: null, endedAt: null, resumedAt: [...record.resumedAt, now.toISOString()]},
    notice,
  );
}

/** A run that failed at once, e.g. because its data were missing, is not what `latest` means while there is another. */
function latestBegun(root: string, command: string): FoundRun {
  let newest: FoundRun | undefined;
  for (const name of runNames(root).toReversed()) {
    if (name.split('-')[2] !== command) continue;
    const found = runAt(path.join(root, name));
    newest ??= found;
    const {status, results} = found.record;
    const checkpoints = openCheckpoints(path.join(found.directory, 'checkpoints'));
    if (status !== 'failed' || Object.keys(results).length > 0 || !checkpoints.isEmpty()) return found;
  }
  if (newest !== undefined) return newest;
  throw new SdqError(`There is no run of \`sdq ${command}\` in ${root}.`, {
    code: 'unknown-run',
    exit: ExitCode.invalidInput,
    suggestions: ['sdq runs list'],
  });
}

function open(directory: string, initial: RunRecord, notice: (message: string) => void): Run {
  const lock = acquireLock(directory);
  if (lock.tookOver) notice(`Took over ${directory}: the process that held it is gone.`);
  let record = initial;
  const file = path.join(directory, 'run.json');
  const write = (): void => writeFileAtomic(file, `${JSON.stringify(record, null, 2)}\n`);
  let journal: Journal;
  try {
    write();
    journal = openJournal(path.join(directory, 'events.jsonl'), {
      onTrouble: (error) => notice(`${error.message} The lines are kept in memory and tried again.`),
    });
  } catch (error) {
    lock.release();
    throw error;
  }
  let ended = false;
  return {
    id: record.id,
    directory,
    journal,
    checkpoints: openCheckpoints(path.join(directory, 'checkpoints')),
    record: () => record,
    update(change) {
      record = {...record, ...change};
      write();
    },
    path: (...parts) => path.join(directory, ...parts),
    end(status, exitCode) {
      if (ended) return;
      ended = true;
      try {
        journal.log('end', {status, exitCode});
        journal.close();
        record = {...record, status, exitCode, endedAt: new Date().toISOString()};
        write();
      } finally {
        lock.release();
      }
    },
  };
}

/**
 * Every run below `root`, oldest first. A run whose process died without a word counts as interrupted.
 * @param onBroken told of a run whose record is broken, which is left out; by default it is thrown
 */
export function listRuns(
  root: string,
  onBroken: (error: SdqError) => void = (error) => {
    throw error;
  },
): readonly RunRecord[] {
  return runNames(root).flatMap((name) => {
    try {
      return [readRun(path.join(root, name))];
    } catch (error) {
      if (!(error instanceof SdqError)) throw error;
      onBroken(error);
      return [];
    }
  });
}

function runNames(root: string): readonly string[] {
  try {
    return readdirSync(root)
      .filter((name) => idPattern.test(name) && existsSync(path.join(root, name, 'run.json')))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw fileError(error, 'read', root);
  }
}

const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown): boolean => typeof value === 'string';
const isOptionalText = (value: unknown): boolean => value === null || isText(value);

const restore = 'The file was changed by hand or by another program; restore it or start a new run.';

/** What is relied on in a record that was read back. */
const recordChecks: Readonly<Record<Exclude<keyof RunRecord, 'git' | 'exitCode'>, (value: unknown) => boolean>> = {
  version: (value) => value === 1,
  id: isText,
  uid: isText,
  command: (value) => ['run', 'search', 'train', 'pretrain'].includes(value as string),
  status: (value) => ['running', 'finished', 'failed', 'interrupted'].includes(value as string),
  startedAt: isText,
  endedAt: isOptionalText,
  resumedAt: (value) => Array.isArray(value) && value.every(isText),
  seed: Number.isInteger,
  config: isMapping,
  output: isOptionalText,
  versions: (value) => isMapping(value) && isText(value['sdq']),
  engine: (value) =>
    value === null || (isMapping(value) && isText(value['name']) && Number.isInteger(value['threads'])),
  results: (value) => isMapping(value) && Object.values(value).every(isMapping),
  journal: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
};

/** @throws SdqError (exit 3) when `run.json` is missing or is not one */
function readRun(directory: string): RunRecord {
  const file = path.join(directory, 'run.json');
  const text = Buffer.from(readFileBounded(file, recordLimitBytes)).toString('utf8');
  let record: RunRecord;
  try {
    const parsed = JSON.parse(text) as unknown;
    if (!isMapping(parsed)) throw new Error('not a mapping');
    // Records of before 2026-11-24 have no uid, of before 2026-11-28 no output.
    record = {uid: parsed['id'], output: null, ...parsed} as unknown as RunRecord;
  } catch (error) {
    throw new SdqError(`${file} is not the record of a run: found ${JSON.stringify(text.slice(0, 40))}.`, {
      code: 'run-record-broken',
      exit: ExitCode.invalidInput,
      suggestions: [restore],
      cause: error,
    });
  }
  const fields = record as unknown as Readonly<Record<string, unknown>>;
  const wrong = Object.entries(recordChecks).find(([key, check]) => !check(fields[key]));
  if (wrong !== undefined || record.id !== path.basename(directory)) {
    const key = wrong?.[0] ?? 'id';
    const found = JSON.stringify(fields[key] ?? null).slice(0, 40);
    throw new SdqError(`${file}: /${key} is ${found}, which a run of this folder cannot have.`, {
      code: 'run-record-broken',
      exit: ExitCode.invalidInput,
      suggestions: [restore],
    });
  }
  return record.status === 'running' && !isLocked(directory) ? {...record, status: 'interrupted'} : record;
}

function runAt(directory: string): FoundRun {
  return {record: readRun(directory), directory};
}

/**
 * @param which the run's folder, wherever it is (a path with a separator), or of a run below `root` the id, a unique
 *   beginning of it, or `latest`
 * @throws SdqError (exit 3)
 */
export function findRun(root: string, which: string): FoundRun {
  if (path.basename(which) !== which) return runAt(path.resolve(which));
  const names = runNames(root);
  const candidates = which === 'latest' ? names.slice(-1) : names.filter((name) => name.startsWith(which));
  if (candidates.length === 1) return runAt(path.join(root, candidates[0]!));
  const found =
    candidates.length === 0
      ? `There is no run "${which}" in ${root}.`
      : `"${which}" is the beginning of ${candidates.length} runs in ${root}.`;
  throw new SdqError(found, {
    code: candidates.length === 0 ? 'unknown-run' : 'ambiguous-run',
    exit: ExitCode.invalidInput,
    suggestions: ['sdq runs list'],
  });
}

/** Commit of the working directory, when it is a git checkout and git is installed. */
function gitState(): RunRecord['git'] {
  const git = (...args: string[]): string =>
    execFileSync('git', args, {encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 5000}).trim();
  try {
    return {commit: git('rev-parse', 'HEAD'), dirty: git('status', '--porcelain') !== ''};
  } catch {
    return null;
  }
}
