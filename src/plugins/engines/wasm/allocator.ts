/**
 * Hands out ranges of one growing address space: free ranges in size classes, split on the way out and merged with
 * their free neighbours on the way back (two-level segregated fit, Masmano et al. 2004, with the bookkeeping outside the
 * heap). A training step asks for the same sizes every time, so after the first steps the space no longer grows.
 */

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
    let start = this.#take(size);
    if (start === undefined) {
      const range = this.#grow(size);
      if (range === null) return null;
      this.#insert(range.start, range.end - range.start);
      start = this.#take(size)!;
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
    this.#insert(start, size);
  }

  /** A free range of at least `size` bytes; what is left over goes back. */
  #take(size: number): number | undefined {
    for (const start of this.#free[sizeClass(size / granule, false)]!) {
      if (this.#sizeByStart.get(start)! >= size) return this.#cut(start, size);
    }
    for (let c = sizeClass(size / granule, true); c < this.#free.length; c++) {
      for (const start of this.#free[c]!) return this.#cut(start, size);
    }
    return undefined;
  }

  #cut(start: number, size: number): number {
    const all = this.#remove(start);
    if (all > size) this.#insert(start + size, all - size);
    return start;
  }

  #remove(start: number): number {
    const size = this.#sizeByStart.get(start)!;
    this.#sizeByStart.delete(start);
    this.#sizeByEnd.delete(start + size);
    this.#free[sizeClass(size / granule, false)]!.delete(start);
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
    this.#free[sizeClass(size / granule, false)]!.add(start);
  }
}
