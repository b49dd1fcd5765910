/** The encoded images of shards, as the threads that decode them read them. */
import {closeSync, openSync} from 'node:fs';

import {invalidInput, type SdqError} from '../errors.ts';
import {fileError} from '../files.ts';
import {item} from '../lookup.ts';
import type {Shards} from './dataset.ts';
import type {EncodedImage} from './decode-image.ts';
import {pathAt} from './path-list.ts';
import {groupOf, startOf} from './shard-order.ts';
import {readAt} from './tar-shard.ts';

/** Files that a thread has open at the same time. */
const openFiles = 64;

/**
 * @param block whose images are asked for; row groups of another block are forgotten
 * @throws SdqError (exit 3) that names the file and the place
 */
export type ReadImage = (image: number, block: unknown) => Promise<EncodedImage>;

export function shardReader(shards: Shards): ReadImage {
  return shards.images.format === 'tar' ? tarReader(shards, shards.images) : parquetReader(shards, shards.images);
}

function tarReader(shards: Shards, {offsets, sizes}: Extract<Shards['images'], {format: 'tar'}>): ReadImage {
  const descriptors = new Recent<number>((file) => openSync(file, 'r'), closeSync);
  return (image) => {
    const file = pathAt(shards.files, item(shards.groups.files, groupOf(shards, image)));
    const offset = item(offsets, image);
    try {
      const bytes = readAt(descriptors.get(file), offset, item(sizes, image));
      return Promise.resolve({bytes, name: `${file}, the image at byte ${offset}`});
    } catch (error) {
      return Promise.reject(fileError(error, 'read', file));
    }
  };
}

function parquetReader(shards: Shards, {column, rows}: Extract<Shards['images'], {format: 'parquet'}>): ReadImage {
  const files = new Recent(async (file) => {
    const {openParquetFile} = await import('./parquet-file.ts');
    return openParquetFile(file, (message) => parquetError(file, message));
  });
  const groups = new Map<number, Promise<readonly unknown[]>>();
  let current: unknown;
  const readGroup = async (group: number): Promise<readonly unknown[]> => {
    const file = await files.get(pathAt(shards.files, item(shards.groups.files, group)));
    const readColumn = await file.scan([column], {binary: true});
    const start = item(rows, group);
    const count = item(shards.groups.ends, group) - startOf(shards.groups, group);
    return (await readColumn(column, start, start + count)) as readonly unknown[];
  };
  return async (image, block) => {
    if (block !== current) groups.clear();
    current = block;
    const group = groupOf(shards, image);
    const place = image - startOf(shards.groups, group);
    const values = groups.get(group) ?? readGroup(group);
    groups.set(group, values);
    const file = pathAt(shards.files, item(shards.groups.files, group));
    const name = `${file}, row ${item(rows, group) + place + 1}`;
    return {bytes: bytesOf((await values)[place], name), name};
  };
}

export const parquetError = (place: string, message: string): SdqError =>
  invalidInput('shard-invalid', `${place}${message}`, ['Write the file again, as Hugging Face `datasets` does.']);

/** A cell of bytes, or of a structure of `bytes` and `path` as Hugging Face has it. */
function bytesOf(cell: unknown, place: string): Uint8Array {
  if (cell instanceof Uint8Array) return cell;
  const {bytes, path} = (cell ?? {}) as {bytes?: unknown; path?: unknown};
  if (bytes instanceof Uint8Array) return bytes;
  const what = typeof path === 'string' ? `is the path ${JSON.stringify(path.slice(0, 80))} only` : 'is empty';
  throw invalidInput('shard-invalid', `${place}: the image ${what}; the bytes of a PNG or JPEG file are needed.`, [
    'Write the files with the images in them: `embed_external_files` of Hugging Face `datasets`.',
  ]);
}

/** What was opened last, by path; the one not used for longest is closed for a new one. */
class Recent<T> {
  readonly #entries = new Map<string, T>();
  readonly #open: (file: string) => T;
  readonly #close: (entry: T) => void;

  constructor(open: (file: string) => T, close: (entry: T) => void = () => undefined) {
    this.#open = open;
    this.#close = close;
  }

  get(file: string): T {
    const entry = this.#entries.get(file) ?? this.#open(file);
    this.#entries.delete(file);
    for (const [oldest, value] of this.#entries) {
      if (this.#entries.size < openFiles) break;
      this.#entries.delete(oldest);
      this.#close(value);
    }
    this.#entries.set(file, entry);
    return entry;
  }
}
