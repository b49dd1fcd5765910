/** A run's folder `.sdq/runs/<id>/`: `run.json`, `events.jsonl`, `checkpoints/`, `strategy.json`, `lock`. */
import {execFileSync} from 'node:child_process';
import {randomBytes} from 'node:crypto';
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
  readonly versions: Readonly<Record<string, string>>;
  readonly engine: {readonly name: string; readonly device: string; readonly threads: number} | null;
  readonly git: {readonly commit: string; readonly dirty: boolean} | null;
  /** Results of completed phases, by phase. */
  readonly results: Readonly<Record<string, unknown>>;
  /** `seq` of the journal when the newest of them completed: where a resumed run starts to repeat itself. */
  readonly journal: number;
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
  readonly command: string;
  readonly config: unknown;
  readonly seed: number;
  readonly versions: Readonly<Record<string, string>>;
}

const recordLimitBytes = 16 << 20;
const idPattern = /^\d{8}-\d{6}-[a-z]+-[0-9a-f]{4}$/;

/** Creates the folder of a new run and locks it. @throws SdqError (exit 6) when it cannot be written */
export function createRun(root: string, spec: RunSpec, now: Date, notice: (message: string) => void): Run {
  const stamp = now.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  const id = `${stamp}-${spec.command}-${randomBytes(2).toString('hex')}`;
  const directory = path.join(root, id);
  try {
    mkdirSync(directory, {recursive: true});
  } catch (error) {
    throw fileError(error, 'write', directory);
  }
  const record: RunRecord = {
    version: 1,
    id,
    command: spec.command,
    status: 'running',
    exitCode: null,
    startedAt: now.toISOString(),
    endedAt: null,
    resumedAt: [],
    seed: spec.seed,
    config: spec.config,
    versions: spec.versions,
    engine: null,
    git: gitState(),
    results: {},
    journal: 0,
  };
  return open(directory, record, notice);
}

/**
 * Opens a run to continue it: takes the lock, marks it running.
 * @param id a run's id, or `latest`
 * @throws SdqError (exit 3) unknown id, other command, already finished; (exit 6) locked by a living process
 */
export function resumeRun(
  root: string,
  id: string,
  command: string,
  now: Date,
  notice: (message: string) => void,
): Run {
  const record = findRun(root, id, command);
  if (record.command !== command) {
    throw new SdqError(`${record.id} is a run of \`sdq ${record.command}\`, not of \`sdq ${command}\`.`, {
      code: 'run-of-other-command',
      exit: ExitCode.invalidInput,
      suggestions: [`sdq ${record.command} --resume ${record.id}`],
    });
  }
  if (record.status === 'finished') {
    throw new SdqError(`${record.id} is finished; there is nothing to resume.`, {
      code: 'run-finished',
      exit: ExitCode.invalidInput,
      suggestions: [`sdq runs show ${record.id}`],
    });
  }
  return open(
    path.join(root, record.id),
    {...record, status: 'running', exitCode: null, endedAt: null, resumedAt: [...record.resumedAt, now.toISOString()]},
    notice,
  );
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

/** Every readable run below `root`, oldest first. A run whose process died without a word counts as interrupted. */
export function listRuns(root: string): readonly RunRecord[] {
  let names: string[];
  try {
    names = readdirSync(root).filter((name) => idPattern.test(name) && existsSync(path.join(root, name, 'run.json')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw fileError(error, 'read', root);
  }
  return names.sort().map((name) => readRun(path.join(root, name)));
}

/** @throws SdqError (exit 3) when `run.json` is missing or is not one */
function readRun(directory: string): RunRecord {
  const file = path.join(directory, 'run.json');
  const text = Buffer.from(readFileBounded(file, recordLimitBytes)).toString('utf8');
  let record: RunRecord;
  try {
    const parsed = JSON.parse(text) as Partial<Record<keyof RunRecord, unknown>>;
    if (parsed.version !== 1 || typeof parsed.id !== 'string') throw new Error('not a run record');
    record = parsed as unknown as RunRecord;
  } catch (error) {
    throw new SdqError(`${file} is not the record of a run: found ${JSON.stringify(text.slice(0, 40))}.`, {
      code: 'run-record-broken',
      exit: ExitCode.invalidInput,
      cause: error,
    });
  }
  return record.status === 'running' && !isLocked(directory) ? {...record, status: 'interrupted'} : record;
}

/** @param id a run's id, a unique beginning of one, or `latest` (of `command`, when given) @throws SdqError (exit 3) */
export function findRun(root: string, id: string, command?: string): RunRecord {
  const runs = listRuns(root);
  const candidates =
    id === 'latest'
      ? runs.filter((run) => command === undefined || run.command === command).slice(-1)
      : runs.filter((run) => run.id === id || run.id.startsWith(id));
  if (candidates.length === 1) return candidates[0]!;
  const found =
    candidates.length === 0
      ? `There is no run "${id}" in ${root}.`
      : `"${id}" is the beginning of ${candidates.length} runs in ${root}.`;
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
