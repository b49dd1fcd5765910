/**
 * Brings the files of a data set to its folder, from the first source that has them. Every source puts files into a
 * staging folder; only files of the right length and digest move on, by rename, so that a stop at any moment leaves
 * whole files or none. One process at a time; the next one finds the files in place.
 */
import {fsyncSync, closeSync, mkdirSync, openSync, renameSync, rmSync} from 'node:fs';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import {faultsOf, type PinnedFile} from '../../data/pinned-files.ts';
import {ExitCode, invalidInput, SdqError} from '../../errors.ts';
import {fileError, removeLeftover, syncFolder} from '../../files.ts';
import {acquireLock, type Lock} from '../../lock.ts';
import type {FetchContext} from '../../plugin-api/registry.ts';

export interface Source {
  readonly name: string;
  /**
   * Puts the data set's files into `staging`, by their pinned names; they are checked afterwards.
   * @throws SdqError when the source does not have them
   */
  stage(staging: string, context: FetchContext): Promise<void>;
}

/**
 * @param stageFrom puts the files of a user's folder (`--from`) into `staging`
 * @throws SdqError (exit 6) when every source failed, naming each and why, or the disk is full or read-only; (exit 3) when
 *   the user's folder lacks a file or has a wrong one; the signal's reason when it is aborted
 */
export async function fetchFiles(
  dataset: string,
  files: readonly PinnedFile[],
  sources: readonly Source[],
  stageFrom: (from: string, staging: string) => Promise<void>,
  context: FetchContext,
): Promise<void> {
  const {directory, from, signal} = context;
  const lock = await waitForLock(context);
  const staging = path.join(directory, '.staging');
  const stageAndInstall = async (stage: () => Promise<void>): Promise<void> => {
    try {
      rmSync(staging, {recursive: true, force: true}); // left by a process that was killed
      mkdirSync(staging);
    } catch (error) {
      throw fileError(error, 'write', staging);
    }
    try {
      await stage();
      signal.throwIfAborted();
      await install(staging, directory, files);
    } finally {
      removeLeftover(staging);
    }
  };
  try {
    if ((await faultsOf(directory, files)).length === 0) return;
    if (from !== undefined) {
      await stageAndInstall(() => stageFrom(from, staging));
      return;
    }
    const failures: SdqError[] = [];
    for (const source of sources) {
      if (context.source !== undefined && context.source !== source.name) continue;
      context.notice(`Fetching ${dataset}, source ${source.name}.`);
      try {
        await stageAndInstall(() => source.stage(staging, context));
        return;
      } catch (error) {
        signal.throwIfAborted();
        // A disk that is full or read-only is so for every source.
        if (!(error instanceof SdqError) || error.code === 'cannot-write-file') throw error;
        failures.push(error);
        context.notice(`Source ${source.name} of ${dataset} failed: ${error.message}`);
      }
    }
    throw new SdqError(
      `No source of the data set ${dataset} works: ${failures.map(({message}) => message).join(' ')}`,
      {
        code: 'dataset-not-available',
        exit: ExitCode.notAvailable,
        suggestions: [
          ...failures.flatMap(({suggestions}) => suggestions),
          `With the files in a folder: sdq data fetch ${dataset} --from DIR`,
        ],
      },
    );
  } finally {
    lock.release();
  }
}

async function waitForLock(context: FetchContext): Promise<Lock> {
  const {directory, signal} = context;
  for (let hasNoticed = false; ;) {
    signal.throwIfAborted();
    try {
      return acquireLock(directory);
    } catch (error) {
      if (!(error instanceof SdqError) || error.code !== 'directory-locked') throw error;
      if (!hasNoticed) context.notice(`${error.message} Waiting for it.`);
      hasNoticed = true;
    }
    await sleep(200, undefined, {signal});
  }
}

/** Moves the staged files into the data set's folder when every one is as pinned. */
async function install(staging: string, directory: string, files: readonly PinnedFile[]): Promise<void> {
  const [fault] = await faultsOf(staging, files);
  if (fault !== undefined) throw invalidInput('dataset-file-wrong', fault);
  try {
    for (const {name} of files) {
      const fd = openSync(path.join(staging, name), 'r+');
      fsyncSync(fd);
      closeSync(fd);
      renameSync(path.join(staging, name), path.join(directory, name));
    }
    syncFolder(directory);
  } catch (error) {
    throw fileError(error, 'write', directory);
  }
}
