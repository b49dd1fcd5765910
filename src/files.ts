/** Reading and writing whole files, with errors a user can act on. */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
  readFileSync,
  type Stats,
} from 'node:fs';
import path from 'node:path';
import {isNativeError} from 'node:util/types';

import {ExitCode, SdqError} from './errors.ts';

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file would be larger than the file system or the limit of the process allows',
  ENOENT: 'no such file or folder',
  ENOTDIR: 'a part of the path is not a folder',
  EISDIR: 'it is a folder',
  EMFILE: 'too many open files',
  ENAMETOOLONG: 'the name is too long',
  EEXIST: 'a file of this name is in the way',
};

/**
 * Turns an error of the file system into an SdqError that names the path; any other error is returned as it is.
 * @param doing e.g. `write`, for "Cannot write PATH: the disk is full."
 */
export function fileError(error: unknown, doing: 'read' | 'write', file: string): Error {
  if (!isNativeError(error)) return new Error(String(error));
  const {code} = error as NodeJS.ErrnoException;
  if (code === undefined || error instanceof SdqError) return error;
  return new SdqError(`Cannot ${doing} ${file}: ${reasons[code] ?? error.message}.`, {
    code: `cannot-${doing}-file`,
    exit: doing === 'read' ? ExitCode.invalidInput : ExitCode.notAvailable,
    cause: error,
  });
}

/** Whether an operation of the system failed (a full disk), and not a parser or a protocol. */
export function isFileSystemError(error: unknown): boolean {
  return isNativeError(error) && 'syscall' in error;
}

/** Removes what killed processes left half written in a folder and those below it, as far as it can. For the only one who may write there. */
export function removeTemporaryFiles(folder: string): void {
  try {
    for (const name of readdirSync(folder, {recursive: true, encoding: 'utf8'})) {
      if (/^\..+\.\d+\.tmp$/.test(path.basename(name))) rmSync(path.join(folder, name), {force: true});
    }
  } catch {
    // Read-only, and in nobody's way.
  }
}

/**
 * Writes a file whole or not at all: a temporary file in the same folder, fsync, rename, fsync of the folder.
 * Creates the folder. @throws SdqError (exit 6) when the file cannot be written; the old file is then as it was.
 */
export function writeFileAtomic(file: string, content: Uint8Array | string): void {
  const folder = path.dirname(file);
  const temporary = path.join(folder, `.${path.basename(file)}.${process.pid}.tmp`);
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  try {
    mkdirSync(folder, {recursive: true});
    const fd = openSync(temporary, 'w');
    try {
      for (let written = 0; written < bytes.length;) written += writeSync(fd, bytes, written);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, file);
    syncFolder(folder);
  } catch (error) {
    removeLeftover(temporary);
    throw fileError(error, 'write', file);
  }
}

/** Removes a file or folder of our own that is of no more use. One that cannot be removed hides no error that came before. */
export function removeLeftover(file: string): void {
  try {
    rmSync(file, {recursive: true, force: true});
  } catch {
    // Read-only since: whoever writes there next is told.
  }
}

/** Makes a rename in this folder durable. Windows cannot open folders and needs no such step. */
export function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Before long work that ends with `writeFileAtomic`: fails where that is bound to fail.
 * @throws SdqError (exit 6) when a folder has the file's name, or the nearest folder that exists is none or takes no files
 */
export function checkWritable(file: string): void {
  try {
    if (statSync(file, {throwIfNoEntry: false})?.isDirectory() === true) throw systemError('EISDIR');
    let folder = path.dirname(path.resolve(file));
    // A drive that is not there is its own parent.
    while (!existsSync(folder) && folder !== path.dirname(folder)) folder = path.dirname(folder);
    if (!statSync(folder).isDirectory()) throw systemError('ENOTDIR');
    accessSync(folder, constants.W_OK);
  } catch (error) {
    throw fileError(error, 'write', file);
  }
}

function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(reasons[code]), {code});
}

/** @throws SdqError (exit 3) when the file is missing or not a regular one */
export function checkFile(file: string): Stats {
  try {
    const stat = statSync(file);
    if (stat.isFile()) return stat;
  } catch (error) {
    throw fileError(error, 'read', file);
  }
  throw new SdqError(`Cannot read ${file}: it is not a regular file.`, {
    code: 'not-a-file',
    exit: ExitCode.invalidInput,
  });
}

/**
 * Reads a whole file of at most `limit` bytes.
 * @throws SdqError (exit 3) when it is missing, unreadable, not a regular file, or larger.
 */
export function readFileBounded(file: string, limit: number): Uint8Array {
  const {size} = checkFile(file);
  if (size > limit) {
    throw new SdqError(`${file} has ${size} bytes; at most ${limit} are read.`, {
      code: 'file-too-large',
      exit: ExitCode.invalidInput,
    });
  }
  try {
    return readFileSync(file);
  } catch (error) {
    throw fileError(error, 'read', file);
  }
}
