/**
 * The frame of a `.wandb` file: 7 header bytes, then blocks of 32 KiB like those of a LevelDB log. A chunk is the CRC-32
 * (IEEE) of its type and payload, the payload's length, its type, the payload. A chunk never crosses a block; the rest of
 * a block that is too small for a chunk's 7 bytes is zero. The header counts inside of block 0.
 */
import {closeSync, openSync, readSync} from 'node:fs';
import {crc32} from 'node:zlib';

import {item} from '../../../lookup.ts';

export const fileHeader: Uint8Array = Uint8Array.of(0x3a, 0x57, 0x26, 0x42, 0xe1, 0xbe, 0x00);

const blockBytes = 32 * 1024;
const chunkHeaderBytes = 7;
const [full, first, middle, last] = [1, 2, 3, 4] as const;

/**
 * A record as it stands at byte `position` of the file, with the zeros that end the block before it.
 * @param position length of the file so far, at least the header's
 */
export function frameRecord(payload: Uint8Array, position: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let end = position;
  let rest = payload;
  let isFirst = true;
  do {
    let room = blockBytes - (end % blockBytes);
    if (room < chunkHeaderBytes) {
      parts.push(new Uint8Array(room));
      end += room;
      room = blockBytes;
    }
    const content = rest.subarray(0, room - chunkHeaderBytes);
    rest = rest.subarray(content.length);
    const type = isFirst ? (rest.length === 0 ? full : first) : rest.length === 0 ? last : middle;
    const header = Buffer.alloc(chunkHeaderBytes);
    header[6] = type;
    header.writeUInt32LE(crc32(content, crc32(header.subarray(6))), 0);
    header.writeUInt16LE(content.length, 4);
    parts.push(header, content);
    end += chunkHeaderBytes + content.length;
    isFirst = false;
  } while (rest.length > 0);
  return Buffer.concat(parts);
}

/** The whole records of a file, in order, up to where it is torn or broken; one block is in memory at a time. */
export function* readFrames(file: string): Generator<Uint8Array> {
  const fd = openSync(file, 'r');
  const buffer = Buffer.alloc(blockBytes);
  let parts: Uint8Array[] = [];
  try {
    for (let start = 0; ; start += blockBytes) {
      const block = buffer.subarray(0, readSync(fd, buffer, 0, blockBytes, start));
      if (start === 0 && !block.subarray(0, fileHeader.length).equals(fileHeader)) return;
      let offset = start === 0 ? fileHeader.length : 0;
      while (offset + chunkHeaderBytes <= block.length) {
        const end = offset + chunkHeaderBytes + block.readUInt16LE(offset + 4);
        const type = item(block, offset + 6);
        const isInPlace = type === full || type === first ? parts.length === 0 : parts.length > 0;
        if (end > block.length || type < full || type > last || !isInPlace) return;
        if (block.readUInt32LE(offset) !== crc32(block.subarray(offset + 6, end))) return;
        parts.push(Buffer.from(block.subarray(offset + chunkHeaderBytes, end)));
        offset = end;
        if (type === full || type === last) {
          yield Buffer.concat(parts);
          parts = [];
        }
      }
      if (block.length < blockBytes) return;
    }
  } finally {
    closeSync(fd);
  }
}
