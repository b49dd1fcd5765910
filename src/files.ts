/** Reading and writing whole files, with errors a user can act on. */
import {createHash, randomInt} from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  lstatSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
  type Stats,
} from 'node:fs';
import path from 'node:path';
import {isNativeError} from 'node:util/types';

import {ExitCode, invalidInput, SdqError} from './errors.ts';

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
  EINVAL: 'it is neither a file nor a pipe nor a character device',
  EMFILE: 'too many open files',
  ENAMETOOLONG: 'the name is too long',
  EEXIST: 'a file of this name is in the way',
  ENXIO: 'nobody reads from it',
  EPIPE: 'its reader has gone',
};

/**
 * Turns an error of the file system into an SdqError that names the path; any other error is returned unchanged.
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

/** The system takes at most 2 GiB in one call. */
const transferBytes = 2 ** 30;

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length;) {
    written += writeSync(fd, bytes, written, Math.min(transferBytes, bytes.length - written));
  }
}

/**
 * Makes the folder and those above it; an existing one is left unchanged. As `mkdirSync` with `recursive`, which never returns for a folder
 * below `/proc` (Node 20 to 24).
 * @throws the error of the file system
 */
export function makeFolder(folder: string): void {
  try {
    mkdirSync(folder);
  } catch (error) {
    if (isFolder(folder)) return;
    const above = path.dirname(folder);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || isFolder(above)) throw error;
    makeFolder(above);
    makeFolder(folder);
  }
}

const isFolder = (file: string): boolean => statSync(file, {throwIfNoEntry: false})?.isDirectory() === true;

/**
 * Writes a file whole or not at all: a temporary file in the same folder, fsync, rename, fsync of the folder. Creates the folder.
 * A symbolic link stays, and the file that it names is replaced. A character device or a pipe (`/dev/stdout`, `/dev/null`, a FIFO) is
 * written to as it is.
 * @throws SdqError (exit 6) when the file cannot be written; the old file is then as it was.
 */
export function writeFileAtomic(file: string, content: Uint8Array | string): void {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  let temporary: string | undefined;
  try {
    const {target, stat} = outputTarget(file);
    if (stat !== undefined && !stat.isFile()) {
      writeStraight(target, stat, bytes);
      return;
    }
    const folder = path.dirname(target);
    makeFolder(folder);
    // Processes of several machines may write to one folder: a pid would not be unique.
    temporary = path.join(folder, `.${path.basename(target)}.${randomInt(2 ** 47)}.tmp`);
    const fd = openSync(temporary, 'wx', stat === undefined ? 0o666 : stat.mode & 0o777);
    try {
      writeAll(fd, bytes);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, target);
    syncFolder(folder);
  } catch (error) {
    if (temporary !== undefined) removeLeftover(temporary);
    throw fileError(error, 'write', file);
  }
}

/** Where writing to a path ends up, and what is there; symbolic links are followed, those to files that do not exist too. */
function outputTarget(file: string): {readonly target: string; readonly stat: Stats | undefined} {
  const stat = statSync(file, {throwIfNoEntry: false});
  if (stat !== undefined) return {target: stat.isFile() ? realpathSync(file) : file, stat};
  let target = path.resolve(file);
  // A cycle of links has failed in stat.
  while (lstatSync(target, {throwIfNoEntry: false})?.isSymbolicLink() === true) {
    target = path.resolve(path.dirname(target), readlinkSync(target));
  }
  return {target, stat: undefined};
}

/** @throws a system error for what cannot be written to, and for a FIFO that nobody reads, which would block for ever */
function writeStraight(file: string, stat: Stats, bytes: Uint8Array): void {
  if (stat.isDirectory()) throw systemError('EISDIR');
  if (stat.isBlockDevice() || stat.isSocket()) throw systemError('EINVAL');
  const probe = stat.isFIFO() ? openSync(file, constants.O_WRONLY | constants.O_NONBLOCK) : undefined;
  try {
    const fd = openSync(file, constants.O_WRONLY);
    try {
      writeAll(fd, bytes);
    } finally {
      closeSync(fd);
    }
  } finally {
    if (probe !== undefined) closeSync(probe);
  }
}

/** Removes a file or folder of our own that is of no more use. One that cannot be removed hides no error that came before. */
export function removeLeftover(file: string): void {
  try {
    rmSync(file, {recursive: true, force: true});
  } catch {
    // Read-only since then: the next writer gets the error.
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
 * @throws SdqError (exit 6) when the file is `-`, a folder, a socket or a block device, or the nearest folder that exists is none or takes no files
 */
export function checkWritable(file: string): void {
  if (file === '-') {
    throw new SdqError('Cannot write to -: it is not the name of a file.', {
      code: 'cannot-write-file',
      exit: ExitCode.notAvailable,
      suggestions: ['For the standard output: /dev/stdout. For a file of this name: ./-'],
    });
  }
  try {
    const {target, stat} = outputTarget(file);
    if (stat !== undefined && !stat.isFile()) {
      if (stat.isDirectory()) throw systemError('EISDIR');
      if (stat.isBlockDevice() || stat.isSocket()) throw systemError('EINVAL');
      accessSync(file, constants.W_OK);
      return;
    }
    let folder = path.dirname(path.resolve(target));
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

/** @param hint where else it could be written @throws SdqError (exit 3) when there is such a file */
export function checkFree(file: string, hint: string): void {
  if (existsSync(file)) throw invalidInput('file-exists', `${file} is already there; it is not overwritten.`, [hint]);
}

/** @throws SdqError (exit 3) when the file is missing or not a regular one */
export function checkFile(file: string): Stats {
  try {
    const stat = statSync(file);
    if (stat.isFile()) return stat;
  } catch (error) {
    throw fileError(error, 'read', file);
  }
  throw invalidInput('not-a-file', `Cannot read ${file}: it is not a regular file.`);
}

/** 4 GiB, the largest buffer of Node.js 20. */
const largestFileBytes = 2 ** 32;

/**
 * Reads a whole file of at most `limit` bytes.
 * @throws SdqError (exit 3) when it is missing, unreadable, not a regular file, or larger.
 */
export function readFileBounded(file: string, limit = largestFileBytes): Uint8Array {
  checkFile(file);
  try {
    const fd = openSync(file, 'r');
    try {
      // Of what was opened: another process may have replaced the file since it was checked.
      const {size} = fstatSync(fd);
      if (size <= limit) return readWhole(fd, size);
      throw invalidInput('file-too-large', `${file} has ${size} bytes; at most ${limit} are read.`);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw fileError(error, 'read', file);
  }
}

/** The same as text in UTF-8 without a byte order mark; bytes that are not UTF-8 become U+FFFD. */
export function readTextBounded(file: string, limit: number): string {
  return new TextDecoder().decode(readFileBounded(file, limit));
}

/** The same for the files in the folder of another one. */
export function filesBeside(file: string): (name: string, limit: number) => Uint8Array {
  return (name, limit) => readFileBounded(path.join(path.dirname(file), name), limit);
}

/** `readFileSync` stops at 2 GiB. */
function readWhole(fd: number, size: number): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(size);
  let filled = 0;
  while (filled < size) {
    const count = readSync(fd, bytes, filled, Math.min(transferBytes, size - filled), null);
    if (count === 0) break;
    filled += count;
  }
  return bytes.subarray(0, filled);
}

/** Hexadecimal SHA-256 of bytes of any number; one update takes at most 2 GiB. */
export function sha256Of(bytes: Uint8Array): string {
  const hash = createHash('sha256');
  for (let start = 0; start < bytes.length; start += transferBytes) {
    hash.update(bytes.subarray(start, start + transferBytes));
  }
  return hash.digest('hex');
}

/** A path as people type it: from the current folder, where the file is in it. */
export function shownPath(file: string): string {
  const relative = path.relative('', file);
  return !path.isAbsolute(file) || relative === '' || relative.startsWith('..') || path.isAbsolute(relative)
    ? file
    : relative;
}
