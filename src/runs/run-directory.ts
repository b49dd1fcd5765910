/** A run's folder `.sdq/runs/<id>/`: `run.json`, `events.jsonl`, `checkpoints/`, `strategy.json`, `lock`. */
import {randomUUID} from 'node:crypto';
import {existsSync} from 'node:fs';
import path from 'node:path';

import {invalidInput, type SdqError} from '../errors.ts';
import {fileError, makeFolder, writeFileAtomic} from '../files.ts';
import {acquireLock} from '../lock.ts';
import {openCheckpoints, type Checkpoints} from './checkpoints.ts';
import {findRun, latestBegun} from './find-run.ts';
import {gitState} from './git-state.ts';
import {journalOf, openJournal, type Journal} from './journal.ts';
import {resumeCommand, shownFolder} from './run-commands.ts';
import {isRunId, newRunId, reserveRunId} from './run-id.ts';
import {readRun, type RunRecord, type RunStatus} from './run-record.ts';

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

function takenId(id: string, command: string, now: Date): SdqError {
  return invalidInput('invalid-run-id', `SDQ_RUN_ID is "${id}", which is not the id of a new run of sdq ${command}.`, [
    `It must be like ${newRunId(command, now)}, and not be taken.`,
  ]);
}
/**
 * Creates the folder of a new run and locks it.
 * @throws SdqError (exit 6) when it cannot be written, (exit 3) when the given id is not one or is taken
 */
export function createRun(root: string, spec: RunSpec, now: Date, notice: (message: string) => void): Run {
  const given = spec.id;
  if (given !== undefined && (!isRunId(given, spec.command) || existsSync(path.join(root, given, 'run.json')))) {
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

/**
 * Opens a run to continue it: takes the lock, marks it running.
 * @param which as for `findRun`, but `latest` is the newest of the command's that can be continued
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
