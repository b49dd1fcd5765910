/**
 * Hands out ranges of one growing address space. A training step asks for the same sizes every time, so a released range
 * waits in a list of its exact size for the next request. Where there is none, the waiting ranges are merged with their
 * free neighbours, and the request is cut out of the smallest size class that holds it (two-level segregated fit, Masmano
 * et al. 2004, with the bookkeeping outside the heap). After the first steps the space no longer grows.
 */
import {entry, item, present} from '../../../lookup.ts';

/** Every address and every size is a multiple of this: one cache line. */
const granule = 64;
/** Classes in each power of two; a range handed out is at most 1/8 larger than asked for, before splitting. */
const classesPerDoubling = 8;

/** Class whose every member holds at least `granules` (`up`), or the class `granules` belongs to. */
function sizeClass(granules: number, up: boolean): number {
  if (granules < classesPerDoubling) return granules;
  const exponent = 31 - Math.clz32(granules);
  const step = 2 ** (exponent - 3);
  const mantissa = up ? Math.ceil(granules / step) : Math.floor(granules / step);
  return (exponent - 2) * classesPerDoubling + mantissa - classesPerDoubling;
}

export class Allocator {
  /** Starts of released ranges that were not merged yet, by exact size. */
  readonly #waiting = new Map<number, number[]>();
  /** Start of each free range, by size class. */
  readonly #free: Set<number>[] = Array.from({length: 30 * classesPerDoubling}, () => new Set());
  /** Size of each free range, by start and by end. */
  readonly #sizeByStart = new Map<number, number>();
  readonly #sizeByEnd = new Map<number, number>();
  readonly #used = new Map<number, number>();
  readonly #grow: (bytes: number) => {readonly start: number; readonly end: number} | null;
  #inUse = 0;
  #peak = 0;

  /**
   * @param grow makes the space at least `bytes` larger and returns the new range, or null when it cannot; a range that
   * starts where the last one ended is merged with it.
   */
  constructor(grow: (bytes: number) => {readonly start: number; readonly end: number} | null) {
    this.#grow = grow;
  }

  /** Bytes handed out now. */
  get inUse(): number {
    return this.#inUse;
  }

  /** Most bytes ever handed out at a time. */
  get peak(): number {
    return this.#peak;
  }

  /** Address of `bytes` bytes, aligned to 64, contents undefined; null when the space cannot grow that far. */
  allocate(bytes: number): number | null {
    const size = Math.max(granule, Math.ceil(bytes / granule) * granule);
    let start = this.#waiting.get(size)?.pop() ?? this.#take(size);
    if (start === undefined) {
      this.#merge();
      start = this.#take(size);
    }
    if (start === undefined) {
      const range = this.#grow(size);
      if (range === null) return null;
      this.#insert(range.start, range.end - range.start);
      start = present(this.#take(size), 'room in the heap that grew');
    }
    this.#used.set(start, size);
    this.#inUse += size;
    this.#peak = Math.max(this.#peak, this.#inUse);
    return start;
  }

  release(start: number): void {
    const size = this.#used.get(start);
    if (size === undefined) throw new Error(`address ${start} is not allocated`);
    this.#used.delete(start);
    this.#inUse -= size;
    const waiting = this.#waiting.get(size);
    if (waiting === undefined) this.#waiting.set(size, [start]);
    else waiting.push(start);
  }

  #merge(): void {
    for (const [size, starts] of this.#waiting) for (const start of starts) this.#insert(start, size);
    this.#waiting.clear();
  }

  /** A free range of at least `size` bytes; the rest of it stays free. */
  #take(size: number): number | undefined {
    for (const start of item(this.#free, sizeClass(size / granule, false))) {
      if (entry(this.#sizeByStart, start) >= size) return this.#cut(start, size);
    }
    for (let c = sizeClass(size / granule, true); c < this.#free.length; c++) {
      for (const start of item(this.#free, c)) return this.#cut(start, size);
    }
    return undefined;
  }

  #cut(start: number, size: number): number {
    const all = this.#remove(start);
    if (all > size) this.#insert(start + size, all - size);
    return start;
  }

  #remove(start: number): number {
    const size = entry(this.#sizeByStart, start);
    this.#sizeByStart.delete(start);
    this.#sizeByEnd.delete(start + size);
    item(this.#free, sizeClass(size / granule, false)).delete(start);
    return size;
  }

  #insert(start: number, size: number): void {
    const before = this.#sizeByEnd.get(start);
    if (before !== undefined) {
      start -= before;
      size += this.#remove(start);
    }
    if (this.#sizeByStart.has(start + size)) size += this.#remove(start + size);
    this.#sizeByStart.set(start, size);
    this.#sizeByEnd.set(start + size, size);
    item(this.#free, sizeClass(size / granule, false)).add(start);
  }
}
