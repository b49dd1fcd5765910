/** Where the files of a tar archive lie in it, read from its headers alone: the images are not read. */
import {closeSync, openSync, readSync} from 'node:fs';
import {isNativeError} from 'node:util/types';

import {invalidInput, type SdqError} from '../errors.ts';
import {checkFile, fileError} from '../files.ts';

const blockBytes = 512;
/** One read of the disk for the header of a small file, what it holds, and the header after it. */
const readAhead = 8 * blockBytes;
/** Far above any name, so that a broken size is not read into memory. */
const longestExtension = 2 ** 20;

/** What a header announces; anything else is a folder or a link, which is left out. */
const kinds: Readonly<Record<string, 'extended' | 'global' | 'long-name' | 'file'>> = {
  ExtendedHeader: 'extended',
  OldExtendedHeader: 'extended',
  GlobalExtendedHeader: 'global',
  NextFileHasLongPath: 'long-name',
  OldGnuLongPath: 'long-name',
  File: 'file',
  OldFile: 'file',
  ContiguousFile: 'file',
};

export interface TarMember {
  readonly name: string;
  /** Where its bytes begin in the archive. */
  readonly offset: number;
  readonly size: number;
}

export interface TarFile {
  /** In their order in the archive; regular files only. @throws SdqError (exit 3) that names the archive and the byte */
  members(): AsyncGenerator<TarMember>;
  /** What a small member holds. @throws SdqError (exit 3) */
  read(member: TarMember): Buffer;
  close(): void;
}

/** @throws SdqError (exit 3) for a file that is missing, unreadable or not a regular one */
export function openTar(file: string): TarFile {
  const {size: fileSize} = checkFile(file);
  const descriptor = attempt(file, () => openSync(file, 'r'));
  const invalid = (byte: number, message: string): SdqError =>
    invalidInput('shard-invalid', `${file}, byte ${byte}: ${message}`, [
      'Write the shard again; a compressed archive must be decompressed first.',
    ]);
  const read = (offset: number, size: number): Buffer => {
    if (offset + size > fileSize) throw invalid(fileSize, 'the archive is cut short.');
    return attempt(file, () => readAt(descriptor, offset, size));
  };
  let ahead: {readonly offset: number; readonly bytes: Buffer} = {offset: 0, bytes: Buffer.alloc(0)};
  /** The same for what is small. */
  const readNear = (offset: number, size: number): Buffer => {
    if (offset < ahead.offset || offset + size > ahead.offset + ahead.bytes.length) {
      ahead = {offset, bytes: read(offset, Math.max(size, Math.min(readAhead, fileSize - offset)))};
    }
    return ahead.bytes.subarray(offset - ahead.offset, offset - ahead.offset + size);
  };

  return {
    async *members() {
      const {Header, Pax} = await import('tar');
      type Extension = InstanceType<typeof Pax>;
      let [position, local, global]: [number, Extension | undefined, Extension | undefined] = [0, undefined, undefined];
      for (;;) {
        const at = position;
        const header = headerAt(at);
        if (header === undefined) return;
        const size = header.size ?? 0;
        const offset = at + blockBytes;
        position = offset + Math.ceil(size / blockBytes) * blockBytes;
        if (position > fileSize) throw invalid(fileSize, `the archive is cut short in ${header.path ?? 'a file'}.`);
        const text = (): string => {
          if (size > longestExtension) throw invalid(at, `an extended header of ${size} bytes.`);
          return readNear(offset, size).toString();
        };
        const type = kinds[header.type] ?? 'other';
        if (type === 'extended') local = Pax.parse(text(), local, false);
        if (type === 'global') global = Pax.parse(text(), global, true);
        if (type === 'long-name') local = Object.assign(local ?? new Pax({}), {path: text().replace(/\0.*/s, '')});
        if (type === 'file') yield {name: header.path ?? '', offset, size};
        if (type === 'file' || type === 'other') local = undefined;
      }

      /** undefined: the end of the archive */
      function headerAt(place: number): InstanceType<typeof Header> | undefined {
        if (place + blockBytes > fileSize) throw invalid(fileSize, 'the archive is cut short: it has no end.');
        const block = readNear(place, blockBytes);
        try {
          const header = new Header(block, 0, local, global);
          if (header.nullBlock) return undefined;
          if (header.cksumValid) return header;
        } catch (error) {
          if (!isNativeError(error)) throw error;
        }
        throw invalid(place, 'this is no header of a tar archive.');
      }
    },
    read: ({offset, size}) => readNear(offset, size),
    close: () => closeSync(descriptor),
  };
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
