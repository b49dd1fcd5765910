/** Takes named files out of a .tar.gz and nothing else. */
import {renameSync} from 'node:fs';
import {mkdtemp} from 'node:fs/promises';
import path from 'node:path';
import {isNativeError} from 'node:util/types';

import {ExitCode, SdqError} from '../errors.ts';
import {fileError, isFileSystemError, removeLeftover} from '../files.ts';

export interface TarEntry {
  /** Path in the archive. */
  readonly entry: string;
  readonly bytes: number;
  /** Where to put it. */
  readonly file: string;
}

/**
 * Links, folders, other names and entries of another length are never written.
 * @throws SdqError (exit 3) for a broken archive or an entry that is not in it, (exit 6) when a file cannot be written
 */
export async function extractEntries(tarball: string, entries: readonly TarEntry[]): Promise<void> {
  const {extract} = await import('tar');
  const invalid = (message: string, cause?: unknown): SdqError =>
    new SdqError(`${tarball}: ${message}`, {code: 'tarball-invalid', exit: ExitCode.invalidInput, cause});
  const folder = await mkdtemp(path.join(path.dirname(tarball), '.extracted-')).catch((error: unknown) => {
    throw fileError(error, 'write', tarball);
  });
  try {
    const sizes = new Map<string, number>();
    await extract({
      file: tarball,
      cwd: folder,
      strict: true,
      preserveOwner: false,
      filter: (name, entry) => {
        const wanted = entries.find((candidate) => candidate.entry === name);
        if (wanted === undefined || !('type' in entry) || entry.type !== 'File') return false;
        sizes.set(name, entry.size); // an error thrown here would end the process
        return entry.size === wanted.bytes;
      },
    });
    for (const {entry, bytes} of entries) {
      const size = sizes.get(entry);
      if (size === undefined) throw invalid(`it has no file ${entry}.`);
      if (size !== bytes) throw invalid(`${entry} has ${size} bytes; ${bytes} are expected.`);
    }
    for (const {entry, file} of entries) renameSync(path.join(folder, entry), file);
  } catch (error) {
    if (error instanceof SdqError) throw error;
    if (isFileSystemError(error)) throw fileError(error, 'write', folder);
    throw invalid(`it is broken: ${isNativeError(error) ? error.message : String(error)}.`, error);
  } finally {
    removeLeftover(folder);
  }
}
