/** Runs below a folder: lists of them, and the one that a user names. */
import {existsSync, readdirSync} from 'node:fs';
import path from 'node:path';

import {invalidInput, SdqError} from '../errors.ts';
import {fileError} from '../files.ts';
import {item} from '../lookup.ts';
import {openCheckpoints} from './checkpoints.ts';
import {isRunId} from './run-id.ts';
import {readRun, type RunRecord} from './run-record.ts';
import {tagsOf} from './tags.ts';

export interface FoundRun {
  readonly record: RunRecord;
  readonly directory: string;
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
  if (isRunId(name)) return name;
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

/** The runs of a command, newest first. */
function* runsOfCommand(root: string, command: string): Generator<FoundRun> {
  for (const name of runNames(root).toReversed()) {
    if (isRunId(name) && !isRunId(name, command)) continue;
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
 * The newest run of a command that is not finished and can be continued; undefined where there is none.
 * @throws SdqError (exit 3) for a broken record
 */
export function newestUnfinished(root: string, command: string): FoundRun | undefined {
  for (const run of runsOfCommand(root, command)) {
    if (run.record.status !== 'finished' && hasBegun(run)) return run;
  }
  return undefined;
}

/**
 * The newest run of a command. One that failed at once counts only where there is no other.
 * @throws SdqError (exit 3) where there is none
 */
export function latestBegun(root: string, command: string): FoundRun {
  let newest: FoundRun | undefined;
  for (const run of runsOfCommand(root, command)) {
    newest ??= run;
    if (hasBegun(run)) return run;
  }
  if (newest !== undefined) return newest;
  throw invalidInput('unknown-run', `There is no run of \`sdq ${command}\` in ${root}.`, ['sdq runs list']);
}
