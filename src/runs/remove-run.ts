/**
 * Deletes runs. The folder of a run is renamed before its files go, so that a run is there as a whole or not at all; what a killed
 * process left of a deletion goes with the next one.
 */
import {lstatSync, readdirSync, renameSync, rmSync} from 'node:fs';
import path from 'node:path';

import {fileError} from '../files.ts';
import {acquireLock} from '../lock.ts';
import type {FoundRun} from './find-run.ts';
import type {RunStatus} from './run-record.ts';

const prefix = '.deleted-';

/**
 * Deletes the folder of a run that no living process works on.
 * @throws SdqError (exit 6) when a living process holds it, or the folder cannot be written
 */
export function removeRun({directory}: FoundRun): void {
  const lock = acquireLock(directory);
  const root = path.dirname(directory);
  const condemned = path.join(root, `${prefix}${path.basename(directory)}`);
  try {
    rmSync(condemned, {recursive: true, force: true});
    renameSync(directory, condemned);
  } catch (error) {
    lock.release();
    throw fileError(error, 'write', directory);
  }
  lock.release(); // Ends its heartbeat; the file is gone.
  removeCondemned(root);
}

/** Removes what deletions that were killed have left below `root`. @throws SdqError (exit 6) */
function removeCondemned(root: string): void {
  try {
    for (const name of readdirSync(root)) {
      if (name.startsWith(prefix)) rmSync(path.join(root, name), {recursive: true, force: true, maxRetries: 3});
    }
  } catch (error) {
    throw fileError(error, 'write', root);
  }
}

/** Bytes of all files below a folder; links count as themselves. What vanishes meanwhile counts nothing. */
export function bytesOf(directory: string): number {
  let sum = 0;
  for (const name of readdirSync(directory, {recursive: true, encoding: 'utf8'})) {
    const stat = lstatSync(path.join(directory, name), {throwIfNoEntry: false});
    if (stat?.isFile()) sum += stat.size;
  }
  return sum;
}

/** Which runs `prune` takes; each condition narrows the choice. */
export interface PruneRules {
  readonly statuses: readonly Exclude<RunStatus, 'running'>[];
  /** Only runs that started longer ago than this. */
  readonly olderThanMs?: number | undefined;
  /** The newest runs that stay, of all that the other conditions choose. */
  readonly keepLast: number;
}

/** A run, and why `prune` leaves it; null where it takes it. */
export interface Judged extends FoundRun {
  readonly keptBecause: string | null;
}

/**
 * @param runs oldest first
 * @param reasonToKeep why a run that the rules choose stays all the same
 * @returns the runs that the rules choose, oldest first
 */
export function judgeRuns(
  runs: readonly FoundRun[],
  {statuses, olderThanMs, keepLast}: PruneRules,
  now: number,
  reasonToKeep: (run: FoundRun) => string | null,
): readonly Judged[] {
  const chosen = runs.filter(
    ({record: {status, startedAt}}) =>
      statuses.some((wanted) => wanted === status) &&
      (olderThanMs === undefined || now - Date.parse(startedAt) > olderThanMs),
  );
  const condemned = chosen.length - keepLast;
  return chosen.map((run, i) => ({
    ...run,
    keptBecause: i >= condemned ? `one of the newest ${keepLast}` : reasonToKeep(run),
  }));
}
