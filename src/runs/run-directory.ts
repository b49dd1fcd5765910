/** A run's folder `.sdq/runs/<id>/`: `run.json`, `events.jsonl`, `checkpoints/`, `strategy.json`, `lock`. */
import {randomBytes, randomUUID} from 'node:crypto';
import {existsSync, mkdirSync, readdirSync} from 'node:fs';
import path from 'node:path';

import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {fileError, makeFolder, readTextBounded, writeFileAtomic} from '../files.ts';
import {item} from '../lookup.ts';
import {isMapping} from '../mapping.ts';
import {openCheckpoints, type Checkpoints} from './checkpoints.ts';
import {gitState, type GitState} from './git-state.ts';
import {journalOf, openJournal, type Journal} from './journal.ts';
import {acquireLock, isLocked} from '../lock.ts';
import {tagsOf} from './tags.ts';

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
  /** Why it failed or was stopped; null while it runs and after it finished. */
  readonly error: {readonly code: string; readonly message: string} | null;
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
  /** The primary metric of the task; left out: accuracy. */
  readonly metric?: RunMetric;
  readonly git: GitState | null;
  /** Results of completed phases, by phase. */
  readonly results: Readonly<Record<string, unknown>>;
  /** `seq` of the journal when the newest of them completed: where a resumed run starts to repeat itself. */
  readonly journal: number;
}

/** The figure that says how good a run is, under its name in the results. */
export interface RunMetric {
  readonly name: string;
  readonly better: 'higher' | 'lower';
  /** Shown to people in percent: 0 to 1. */
  readonly isFraction: boolean;
}

const accuracy: RunMetric = {name: 'accuracy', better: 'higher', isFraction: true};

/** The name of a run's task. */
export const taskOfRun = ({config}: Pick<RunRecord, 'config'>): string =>
  (config as {readonly task?: {readonly name?: string}}).task?.name ?? 'classification';

/** The primary metric of a run's task. */
export const metricOfRun = ({metric}: Pick<RunRecord, 'metric'>): RunMetric => metric ?? accuracy;

/** `validationAccuracy` for `validation` and accuracy. */
export const prefixedMetric = (prefix: string, {name}: Pick<RunMetric, 'name'>): string =>
  `${prefix}${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;

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
  end(status: Exclude<RunStatus, 'running'>, exitCode: number, error?: RunRecord['error']): void;
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

const idSuffixes = 1 << 16;

/**
 * E.g. `20261123-211016-run-d13f`: UTC, the command, 16 random bits.
 * @param isTaken of such an id the next free suffix is taken, so that even equal random numbers end in different ids
 * @throws SdqError (exit 6) when every id of this second is taken
 */
function newRunId(command: string, now: Date, isTaken: (id: string) => boolean = () => false): string {
  const stamp = now.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  const first = randomBytes(2).readUInt16BE();
  for (let i = 0; i < idSuffixes; i++) {
    const suffix = ((first + i) % idSuffixes).toString(16).padStart(4, '0');
    const id = `${stamp}-${command}-${suffix}`;
    if (!isTaken(id)) return id;
  }
  throw new SdqError(`All ${idSuffixes} ids of runs that start at ${stamp} are taken.`, {
    code: 'no-free-run-id',
    exit: ExitCode.notAvailable,
  });
}

function takenId(id: string, command: string, now: Date): SdqError {
  return invalidInput('invalid-run-id', `SDQ_RUN_ID is "${id}", which is not the id of a new run of sdq ${command}.`, [
    `It must be like ${newRunId(command, now)}, and not be taken.`,
  ]);
}

/**
 * Draws the id of a new run and makes its folder, which of several processes one succeeds in.
 * @param isUsed for ids that must not be drawn although they have no folder
 * @throws SdqError (exit 6) when the folder cannot be made
 */
export function reserveRunId(
  root: string,
  command: string,
  now: Date,
  isUsed: (id: string) => boolean = () => false,
): string {
  const exists = (id: string): boolean => {
    try {
      mkdirSync(path.join(root, id));
      return false;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return true;
      throw error;
    }
  };
  try {
    makeFolder(root);
    return newRunId(command, now, (id) => isUsed(id) || exists(id));
  } catch (error) {
    throw fileError(error, 'write', root);
  }
}

/**
 * Creates the folder of a new run and locks it.
 * @throws SdqError (exit 6) when it cannot be written, (exit 3) when the given id is not one or is taken
 */
export function createRun(root: string, spec: RunSpec, now: Date, notice: (message: string) => void): Run {
  const given = spec.id;
  const isOfCommand = given === undefined || (idPattern.test(given) && given.split('-')[2] === spec.command);
  if (given !== undefined && (!isOfCommand || existsSync(path.join(root, given, 'run.json')))) {
    throw takenId(given, spec.command, now);
  }
  const id = given ?? reserveRunId(root, spec.command, now);
  const directory = path.join(root, id);
  try {
    makeFolder(directory);
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
    error: null,
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
  return open(
    directory,
    () => {
      // Another process may have begun a run of the given id since.
      if (existsSync(path.join(directory, 'run.json'))) throw takenId(id, spec.command, now);
      return record;
    },
    notice,
  );
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

/** What begins a new run with the settings of another; changes follow as `--set`. */
export function fromCommand(command: string, directory: string): string {
  return `sdq ${command} --from ${shownFolder(directory)}`;
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
  const {directory} = which === 'latest' ? latestBegun(root, command) : findRun(root, which);
  const resumed = (): RunRecord => {
    const record = readRun(directory);
    if (record.command !== command) {
      throw invalidInput(
        'run-of-other-command',
        `${record.id} is a run of \`sdq ${record.command}\`, not of \`sdq ${command}\`.`,
        [resumeCommand(record.command, directory)],
      );
    }
    if (record.status === 'finished') {
      throw invalidInput('run-finished', `${record.id} is finished; there is nothing to resume.`, [
        `sdq runs show ${shownFolder(directory)}`,
      ]);
    }
    const resumedAt = [...record.resumedAt, now.toISOString()];
    return {...record, status: 'running', exitCode: null, error: null, endedAt: null, resumedAt};
  };
  resumed(); // Without a lock, for the errors: a folder that is read only has no lock.
  return open(directory, resumed, notice);
}

/** The runs of a command, newest first. */
function* runsOfCommand(root: string, command: string): Generator<FoundRun> {
  for (const name of runNames(root).toReversed()) {
    if (idPattern.test(name) && name.split('-')[2] !== command) continue;
    const run = runAt(path.join(root, name));
    if (run.record.command === command) yield run;
  }
}

/** Not of a run that failed at once, e.g. because its data were missing. */
function hasBegun({record: {status, results}, directory}: FoundRun): boolean {
  const checkpoints = openCheckpoints(path.join(directory, 'checkpoints'));
  return status !== 'failed' || Object.keys(results).length > 0 || !checkpoints.isEmpty();
}

/**
 * The newest run of a command that is not finished and has something to go on from; undefined where there is none.
 * @throws SdqError (exit 3) for a broken record
 */
export function newestUnfinished(root: string, command: string): FoundRun | undefined {
  for (const run of runsOfCommand(root, command)) {
    if (run.record.status !== 'finished' && hasBegun(run)) return run;
  }
  return undefined;
}

/** A run that failed at once is not what `latest` means while there is another. */
function latestBegun(root: string, command: string): FoundRun {
  let newest: FoundRun | undefined;
  for (const run of runsOfCommand(root, command)) {
    newest ??= run;
    if (hasBegun(run)) return run;
  }
  if (newest !== undefined) return newest;
  throw invalidInput('unknown-run', `There is no run of \`sdq ${command}\` in ${root}.`, ['sdq runs list']);
}

/** @param begin makes the record while the lock is held: until then another process may change it */
function open(directory: string, begin: () => RunRecord, notice: (message: string) => void): Run {
  const lock = acquireLock(directory);
  if (lock.tookOver) notice(`Took over ${directory}: the process that held it is gone.`);
  let record: RunRecord;
  const file = path.join(directory, 'run.json');
  const write = (): void => {
    lock.check();
    writeFileAtomic(file, `${JSON.stringify(record, null, 2)}\n`);
  };
  let journal: Journal;
  try {
    record = begin();
    write();
    journal = openJournal(journalOf(directory), {
      beforeWrite: () => lock.check(),
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
    checkpoints: openCheckpoints(path.join(directory, 'checkpoints'), () => lock.check()),
    record: () => record,
    update(change) {
      record = {...record, ...change};
      write();
    },
    path: (...parts) => path.join(directory, ...parts),
    end(status, exitCode, error = null) {
      if (ended) return;
      ended = true;
      try {
        journal.log('end', {status, exitCode, ...(error === null ? {} : {error})});
        journal.close();
        record = {...record, status, exitCode, error, endedAt: new Date().toISOString()};
        write();
      } finally {
        lock.release();
      }
    },
  };
}

interface ListListeners {
  /** Gets the error of a run whose record is broken, which is left out; by default it is thrown. */
  readonly onBroken?: (error: SdqError) => void;
  /** Gets a run whose folder does not have its id as its name. */
  readonly onRenamed?: (run: FoundRun) => void;
}

/** The records of every run below `root`, oldest first. */
export function listRuns(root: string, listeners: ListListeners = {}): readonly RunRecord[] {
  return allRuns(root, listeners).map(({record}) => record);
}

/** Every run below `root`, oldest first. A run whose process died without a word counts as interrupted. */
export function allRuns(root: string, listeners: ListListeners = {}): readonly FoundRun[] {
  return runNames(root).flatMap((name) => {
    try {
      const run = runAt(path.join(root, name));
      if (run.record.id !== name) listeners.onRenamed?.(run);
      return [run];
    } catch (error) {
      if (!(error instanceof SdqError) || listeners.onBroken === undefined) throw error;
      listeners.onBroken(error);
      return [];
    }
  });
}

/**
 * Names of the folders below `root` that hold a run, oldest run first. A folder that was renamed or copied from elsewhere has its place by
 * the id in its record.
 */
function runNames(root: string): readonly string[] {
  let names: readonly string[];
  try {
    names = readdirSync(root).filter((name) => !name.startsWith('.') && existsSync(path.join(root, name, 'run.json')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw fileError(error, 'read', root);
  }
  return names
    .map((name) => ({name, key: `${idOf(root, name)}/${name}`}))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({name}) => name);
}

/** The id of the run in a folder, without reading its record where the name says it. */
function idOf(root: string, name: string): string {
  if (idPattern.test(name)) return name;
  try {
    return readRun(path.join(root, name)).id;
  } catch {
    return name;
  }
}

/** Folders whose name begins so, or else whose run's id does, or else that have the tag. */
function matching(root: string, names: readonly string[], which: string): readonly string[] {
  if (names.includes(which)) return [which];
  const byName = names.filter((name) => name.startsWith(which));
  if (byName.length > 0) return byName;
  const byId = names.filter((name) => idOf(root, name).startsWith(which));
  return byId.length > 0 ? byId : names.filter((name) => tagsOf(path.join(root, name)).includes(which));
}
const isText = (value: unknown): boolean => typeof value === 'string';
const isOptionalText = (value: unknown): boolean => value === null || isText(value);

const restore = 'The file was changed by hand or by another program; restore it or start a new run.';

/** What is relied on in a record that was read back. */
const recordChecks: Readonly<Record<Exclude<keyof RunRecord, 'git' | 'exitCode'>, (value: unknown) => boolean>> = {
  version: (value) => value === 1,
  id: (value) => typeof value === 'string' && idPattern.test(value),
  uid: isText,
  command: (value) => ['run', 'search', 'train', 'pretrain'].includes(value as string),
  status: (value) => ['running', 'finished', 'failed', 'interrupted'].includes(value as string),
  error: (value) => value === null || (isMapping(value) && isText(value['code']) && isText(value['message'])),
  startedAt: isText,
  endedAt: isOptionalText,
  resumedAt: (value) => Array.isArray(value) && value.every(isText),
  seed: Number.isInteger,
  config: isMapping,
  output: isOptionalText,
  versions: (value) => isMapping(value) && isText(value['sdq']),
  engine: (value) =>
    value === null || (isMapping(value) && isText(value['name']) && Number.isInteger(value['threads'])),
  metric: (value) =>
    value === undefined || (isMapping(value) && isText(value['name']) && typeof value['isFraction'] === 'boolean'),
  results: (value) => isMapping(value) && Object.values(value).every(isMapping),
  journal: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
};

/** @throws SdqError (exit 3) when `run.json` is missing or is not one */
function readRun(directory: string): RunRecord {
  const file = path.join(directory, 'run.json');
  const text = readTextBounded(file, recordLimitBytes);
  let record: RunRecord;
  try {
    const parsed = JSON.parse(text) as unknown;
    if (!isMapping(parsed)) throw new Error('not a mapping');
    // Records of before 2026-11-24 have no uid, of before 2026-11-28 no output.
    record = {uid: parsed['id'], output: null, error: null, ...parsed} as unknown as RunRecord;
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
  if (wrong !== undefined) {
    const [key] = wrong;
    const value = JSON.stringify(fields[key] ?? null).slice(0, 40);
    throw invalidInput('run-record-broken', `${file}: /${key} is ${value}, which a run cannot have.`, [restore]);
  }
  record = {...record, results: relocated(record.results, directory)};
  return record.status === 'running' && !isLocked(directory) ? {...record, status: 'interrupted'} : record;
}

/** The files that results name stand in the run's folder, wherever it is now. @param results of a record, or a part of them */
function relocated<T>(results: T, directory: string): T {
  if (Array.isArray(results)) return results.map((item: unknown) => relocated(item, directory)) as T;
  if (!isMapping(results)) return results;
  const entries = Object.entries(results).map(([key, value]) => {
    const isFile = (key === 'checkpoint' || key === 'strategy') && typeof value === 'string';
    return [key, isFile ? path.join(directory, path.basename(value)) : relocated(value, directory)];
  });
  return Object.fromEntries(entries) as T;
}

function runAt(directory: string): FoundRun {
  return {record: readRun(directory), directory};
}

/**
 * @param which the run's folder, wherever it is (a path with a separator), or of a run below `root` the name of its folder, its
 *   id, a unique beginning of either, a tag that no other run has, or `latest`
 * @throws SdqError (exit 3)
 */
export function findRun(root: string, which: string): FoundRun {
  if (path.basename(which) !== which) return runAt(path.resolve(which));
  const names = runNames(root);
  const candidates = which === 'latest' ? names.slice(-1) : matching(root, names, which);
  if (candidates.length === 1) return runAt(path.join(root, item(candidates, 0)));
  const message =
    candidates.length === 0
      ? `There is no run "${which}" in ${root}.`
      : `"${which}" names ${candidates.length} runs in ${root}.`;
  throw invalidInput(candidates.length === 0 ? 'unknown-run' : 'ambiguous-run', message, ['sdq runs list']);
}
