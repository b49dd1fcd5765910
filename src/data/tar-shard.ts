/**
 * Where the files of a tar archive lie in it, read from its headers alone (POSIX.1-2001 pax, ustar and GNU formats). The images
 * between them are not read, so the millions of headers of a data set take seconds; the package `tar` reads whole archives.
 */
import {closeSync, openSync, readSync} from 'node:fs';

import {invalidInput, type SdqError} from '../errors.ts';
import {checkFile, fileError} from '../files.ts';
import {item} from '../lookup.ts';

const blockBytes = 512;
/** One read of the disk for the header of a small file, what it holds, and the header after it. */
const readAhead = 8 * blockBytes;
/** Far above any name, so that a broken size is not read into memory. */
const longestExtension = 2 ** 20;

export interface TarMember {
  readonly name: string;
  /** Where its bytes begin in the archive. */
  readonly offset: number;
  readonly size: number;
}

export interface TarFile {
  /** In their order in the archive; regular files only. @throws SdqError (exit 3) that names the archive and the byte */
  members(): Generator<TarMember>;
  /** What a small member holds. @throws SdqError (exit 3) */
  read(member: TarMember): Buffer;
  close(): void;
}

interface Header {
  readonly name: string;
  readonly size: number;
  /** `0` or nothing: a regular file. */
  readonly type: string;
}

/** @throws SdqError (exit 3) for a file that is missing, unreadable or not a regular one */
export function openTar(file: string): TarFile {
  const {size: fileSize} = checkFile(file);
  const descriptor = attempt(file, () => openSync(file, 'r'));
  const invalid = (byte: number, message: string): SdqError =>
    invalidInput('shard-invalid', `${file}, byte ${byte}: ${message}`, [
      'Write the shard again; a compressed archive must be decompressed first.',
    ]);
  const near = nearbyReader(descriptor, fileSize);
  const read = (offset: number, size: number): Buffer => {
    if (offset + size > fileSize) throw invalid(fileSize, 'the archive is cut short.');
    return attempt(file, () => near(offset, size));
  };
  /** undefined: the end of the archive */
  const headerAt = (offset: number): Header | undefined => {
    if (offset + blockBytes > fileSize) throw invalid(fileSize, 'the archive is cut short: it has no end.');
    const header = parseHeader(read(offset, blockBytes));
    if (header === 'broken') throw invalid(offset, 'this is no header of a tar archive.');
    return header;
  };

  return {
    *members() {
      let position = 0;
      let extension: Partial<Header> = {};
      for (let header = headerAt(0); header !== undefined; header = headerAt(position)) {
        const {name, size, type} = isExtension(header) ? header : {...header, ...extension};
        const [start, offset] = [position, position + blockBytes];
        position = offset + Math.ceil(size / blockBytes) * blockBytes;
        if (position > fileSize) throw invalid(fileSize, `the archive is cut short in ${name}.`);
        if (!isExtension(header)) {
          extension = {};
          if (['0', '', '7'].includes(type)) yield {name, offset, size};
          continue;
        }
        if (size > longestExtension) throw invalid(start, `it has an extended header of ${size} bytes.`);
        if (type === 'x') extension = {...extension, ...paxRecords(read(offset, size))};
        if (type === 'L') extension = {...extension, name: textOf(read(offset, size))};
      }
    },
    read: ({offset, size}) => read(offset, size),
    close: () => closeSync(descriptor),
  };
}

/** Headers that say more of the file after them: pax (x; g for all files, which holds no name or size) and GNU (long name, long link). */
const isExtension = ({type}: Header): boolean => ['x', 'g', 'L', 'K'].includes(type);

/** Reads small pieces that lie near each other with few reads of the disk. */
function nearbyReader(descriptor: number, fileSize: number): (offset: number, size: number) => Buffer {
  let [start, bytes]: [number, Buffer] = [0, Buffer.alloc(0)];
  return (offset, size) => {
    if (offset < start || offset + size > start + bytes.length) {
      bytes = readAt(descriptor, offset, Math.max(size, Math.min(readAhead, fileSize - offset)));
      start = offset;
    }
    return bytes.subarray(offset - start, offset - start + size);
  };
}

/** @param block 512 bytes @returns undefined for a block of zeros, which ends an archive */
function parseHeader(block: Buffer): Header | 'broken' | undefined {
  let sum = 0;
  for (let i = 0; i < blockBytes; i++) sum += item(block, i);
  if (sum === 0) return undefined;
  // The checksum is that of the header with eight spaces in its own place.
  for (let i = 148; i < 156; i++) sum += 0x20 - item(block, i);
  const size = numberAt(block, 124, 12);
  if (numberAt(block, 148, 8) !== sum || !Number.isSafeInteger(size) || size < 0) return 'broken';
  const type = block.toString('latin1', 156, 157).replace('\0', '');
  const isUstar = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isUstar ? textOf(block.subarray(345, 500)) : '';
  const name = textOf(block.subarray(0, 100));
  return {name: prefix === '' ? name : `${prefix}/${name}`, size, type};
}

/** Octal digits, or binary where the first bit is set (GNU, for files of 8 GiB and more). */
function numberAt(block: Buffer, offset: number, length: number): number {
  if (item(block, offset) === 0x80) return Number(block.readBigUInt64BE(offset + length - 8));
  const digits = textOf(block.subarray(offset, offset + length)).trim();
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : digits === '' ? 0 : Number.NaN;
}

/** Up to the first zero. */
function textOf(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

/** Name and size in records `LENGTH KEY=VALUE\n`, of which LENGTH counts all bytes. */
function paxRecords(bytes: Buffer): Partial<Header> {
  let found: Partial<Header> = {};
  for (let start = 0; start < bytes.length;) {
    const length = Number.parseInt(bytes.toString('latin1', start, start + 12), 10);
    if (!(length > 0)) break;
    const [, key, value = ''] = /^\d+ ([^=]+)=(.*)\n$/s.exec(bytes.toString('utf8', start, start + length)) ?? [];
    if (key === 'path') found = {...found, name: value};
    if (key === 'size') found = {...found, size: Number(value)};
    start += length;
  }
  return found;
}

/** @throws the error of the file system */
export function readAt(descriptor: number, offset: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  let done = 0;
  while (done < size) {
    const count = readSync(descriptor, bytes, done, size - done, offset + done);
    if (count === 0) throw Object.assign(new Error('it is shorter than it was'), {code: 'EOF'});
    done += count;
  }
  return bytes;
}

function attempt<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw fileError(error, 'read', file);
  }
}
