/** One writer a folder (a run, a data set in the cache): a file `lock` that names its owner by pid and start time. */
import {linkSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {ExitCode, SdqError} from './errors.ts';
import {fileError, removeTemporaryFiles} from './files.ts';

interface Owner {
  readonly pid: number;
  /** When the process started, in the system's own units; tells a process from a later one with the same pid. */
  readonly started: string;
}

export interface Lock {
  /** Whether a lock was taken over from a process that no longer lives. */
  readonly tookOver: boolean;
  release(): void;
}

/** Field 22 of /proc/PID/stat (clock ticks since boot) on Linux; '' where the system does not say. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

function isAlive(owner: Owner): boolean {
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return owner.started === startOf(owner.pid);
}

function readOwner(file: string): Owner | undefined {
  try {
    const {pid, started} = JSON.parse(readFileSync(file, 'utf8')) as Partial<Owner>;
    return typeof pid === 'number' && typeof started === 'string' ? {pid, started} : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a living process holds the folder. */
export function isLocked(directory: string): boolean {
  const owner = readOwner(path.join(directory, 'lock'));
  return owner !== undefined && isAlive(owner);
}

/**
 * Takes the lock of a folder, from a dead owner too, and removes what was left half written in it.
 * The file appears with its content in one step (link), so there is never an empty lock.
 * @throws SdqError (exit 6) naming the living owner
 */
export function acquireLock(directory: string): Lock {
  const file = path.join(directory, 'lock');
  const own = path.join(directory, `.lock.${process.pid}`);
  const content = JSON.stringify({pid: process.pid, started: startOf(process.pid)} satisfies Owner);
  let tookOver = false;
  try {
    writeFileSync(own, content);
    for (;;) {
      try {
        linkSync(own, file);
        break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const owner = readOwner(file);
      if (owner !== undefined && isAlive(owner)) {
        throw new SdqError(`${directory} is in use by process ${owner.pid}.`, {
          code: 'directory-locked',
          exit: ExitCode.notAvailable,
          suggestions: [`Wait for it to end, or stop it: kill ${owner.pid}`],
        });
      }
      tookOver = removeStale(file, owner) || tookOver;
    }
    removeTemporaryFiles(directory);
  } catch (error) {
    throw fileError(error, 'write', file);
  } finally {
    rmSync(own, {force: true});
  }
  return {
    tookOver,
    release() {
      if (readOwner(file)?.pid === process.pid) rmSync(file, {force: true});
    },
  };
}

/** Moves the dead owner's lock away; of several processes that try, exactly one succeeds. */
function removeStale(file: string, stale: Owner | undefined): boolean {
  const aside = `${file}.stale.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  const moved = readOwner(aside);
  const isTheStaleOne = moved?.pid === stale?.pid && moved?.started === stale?.started;
  if (!isTheStaleOne) linkSync(aside, file); // another process was faster and this is its lock: put it back
  rmSync(aside, {force: true});
  return isTheStaleOne;
}
