/** Very many file names in little memory, which threads read without a copy. */
import {item} from '../lookup.ts';

/** Strings one after the other in UTF-8. */
export interface PathList {
  readonly length: number;
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** [length]: where each one ends in `bytes`. */
  readonly ends: Float64Array<SharedArrayBuffer>;
}

export function packPaths(paths: readonly string[]): PathList {
  let size = 0;
  for (const path of paths) size += Buffer.byteLength(path);
  const bytes = new Uint8Array(new SharedArrayBuffer(size));
  const ends = new Float64Array(new SharedArrayBuffer(8 * paths.length));
  const buffer = Buffer.from(bytes.buffer);
  let end = 0;
  for (const [index, path] of paths.entries()) {
    end += buffer.write(path, end);
    ends[index] = end;
  }
  return {length: paths.length, bytes, ends};
}

/** The strings of all lists, one list after the other. */
export function joinedPaths(lists: readonly PathList[]): PathList {
  const length = lists.reduce((sum, list) => sum + list.length, 0);
  const size = lists.reduce((sum, {bytes}) => sum + bytes.length, 0);
  const bytes = new Uint8Array(new SharedArrayBuffer(size));
  const ends = new Float64Array(new SharedArrayBuffer(8 * length));
  let [place, end] = [0, 0];
  for (const list of lists) {
    bytes.set(list.bytes, end);
    for (const each of list.ends) ends[place++] = end + each;
    end += list.bytes.length;
  }
  return {length, bytes, ends};
}

/** The string at this place of a list or array. */
export function pathAt(paths: PathList | readonly string[], index: number): string {
  if (!('bytes' in paths)) return item(paths, index);
  const start = index === 0 ? 0 : item(paths.ends, index - 1);
  return Buffer.from(paths.bytes.buffer, start, item(paths.ends, index) - start).toString();
}

/** The same strings in another order. @param order [length] places in `paths` */
export function reorderedPaths({bytes, ends, length}: PathList, order: Uint32Array): PathList {
  const moved = {
    length,
    bytes: new Uint8Array(new SharedArrayBuffer(bytes.length)),
    ends: new Float64Array(new SharedArrayBuffer(8 * length)),
  };
  let end = 0;
  for (const [place, index] of order.entries()) {
    const path = bytes.subarray(index === 0 ? 0 : item(ends, index - 1), item(ends, index));
    moved.bytes.set(path, end);
    end += path.length;
    moved.ends[place] = end;
  }
  return moved;
}

export function firstPaths(paths: PathList | readonly string[], count: number): PathList | readonly string[] {
  return 'bytes' in paths ? {...paths, length: count, ends: paths.ends.subarray(0, count)} : paths.slice(0, count);
}
