/** The folder that `sdq engine install` makes for an engine. */
import {mkdirSync, rmSync} from 'node:fs';
import path from 'node:path';

import {fileError, isFileSystemError, makeFolder} from '../../files.ts';
import {acquireLock} from '../../lock.ts';

/**
 * Does the work in the folder, alone.
 * @param work gets an empty folder for what is half made, on the same disk, so that files can be moved and /tmp may be small
 * @throws SdqError (exit 6) where the folder cannot be written or another process works in it; the signal's reason when it is aborted
 */
export async function inInstallFolder(
  folder: string,
  signal: AbortSignal,
  work: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = path.join(folder, 'temporary');
  try {
    makeFolder(folder);
    const lock = acquireLock(folder);
    try {
      rmSync(temporary, {recursive: true, force: true});
      mkdirSync(temporary);
      await work(temporary);
    } finally {
      rmSync(temporary, {recursive: true, force: true});
      lock.release();
    }
  } catch (error) {
    signal.throwIfAborted();
    throw isFileSystemError(error) ? fileError(error, 'write', folder) : error;
  }
}
