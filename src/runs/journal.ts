/**
 * The event journal of a run, `events.jsonl`: one JSON object a line, appended the moment it happens. It is the local
 * tracker and always on; every other tracker reads it. Logging never throws into training and never waits on a network.
 *
 * - A line is handed to the operating system before `log` returns, so that kill -9 loses nothing; fsync follows once a
 *   second and at the end, so that a power cut loses at most a second.
 * - A torn last line is cut when the file is opened.
 * - NaN and ±Infinity are the strings "NaN", "Infinity", "-Infinity".
 * - A resumed run repeats the steps since its last checkpoint. What the journal already holds of them is not written a
 *   second time: `replayAfter(seq)` names the checkpoint's position, and calls are matched with the lines that follow it.
 */
import {closeSync, fsync, fsyncSync, ftruncateSync, fstatSync, openSync, readSync, writeSync} from 'node:fs';
import path from 'node:path';

import {invalidInput, type SdqError} from '../errors.ts';
import {fileError} from '../files.ts';

/** The journal of a run's folder. */
export const journalOf = (directory: string): string => path.join(directory, 'events.jsonl');

type EventKind = 'metric' | 'param' | 'summary' | 'tag' | 'artifact' | 'end';

export interface Event {
  /** 1 for the first line; grows by one a line. */
  readonly seq: number;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly ts: number;
  readonly kind: EventKind;
  /** Optimizer steps of the run so far, over all phases. */
  readonly step?: number;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Journal {
  /** `seq` of the newest event, written or matched: what a checkpoint stores. */
  position(): number;
  log(kind: EventKind, data: Readonly<Record<string, unknown>>, step?: number): void;
  /**
   * From here on, calls that repeat the lines after `seq` (the end marks of interrupted tries aside) are skipped.
   * @returns how many lines up to `seq` the file has lost: 0 but for a disk that lost what it had been given
   */
  replayAfter(seq: number): number;
  /** @throws SdqError (exit 6) when lines could not be written to the disk. */
  close(): void;
}

export interface JournalOptions {
  /** Milliseconds since 1970-01-01 UTC, for the events' `ts`. */
  readonly now?: () => number;
  /** Milliseconds of a clock that is never set, for durations. */
  readonly elapsed?: () => number;
  /** Called before a line is written; throws where this process may no longer write. */
  readonly beforeWrite?: () => void;
  /** Called once when the disk refuses a line; the lines are kept in memory and tried again. */
  readonly onTrouble?: (error: Error) => void;
}

const newline = 0x0a;
const chunkBytes = 1 << 16;
const syncIntervalMs = 1000;
/** Lines kept in memory while the disk refuses them; more than this and the oldest run is at risk, so it is an error. */
const pendingLimitBytes = 64 << 20;

/** JSON with NaN and ±Infinity as strings; typed arrays as arrays. */
function serialise(event: Event): string {
  return JSON.stringify(event, (_, value: unknown) => {
    if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
    if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return Array.from(value as unknown as number[]);
    return value;
  });
}

/** The lines that the disk has not taken yet. */
class PendingLines {
  readonly #fd: number;
  readonly #file: string;
  readonly #onTrouble: JournalOptions['onTrouble'];
  readonly #lines: Uint8Array[] = [];
  #bytes = 0;
  #trouble: Error | undefined;

  constructor(fd: number, file: string, onTrouble: JournalOptions['onTrouble']) {
    this.#fd = fd;
    this.#file = file;
    this.#onTrouble = onTrouble;
  }

  /** Why the disk refused the last line; undefined when it took it. */
  get trouble(): Error | undefined {
    return this.#trouble;
  }

  /** @throws SdqError (exit 6) when more lines wait than memory should hold */
  write(line: Uint8Array): void {
    this.#bytes += line.length;
    if (this.#bytes > pendingLimitBytes && this.#trouble !== undefined) throw this.#trouble;
    this.#lines.push(line);
    this.flush();
  }

  flush(): void {
    for (let line = this.#lines[0]; line !== undefined; line = this.#lines[0]) {
      try {
        const written = writeSync(this.#fd, line);
        this.#bytes -= written;
        if (written === line.length) this.#lines.shift();
        else this.#lines[0] = line.subarray(written);
      } catch (error) {
        const trouble = fileError(error, 'write', this.#file);
        if (this.#trouble === undefined) this.#onTrouble?.(trouble);
        this.#trouble = trouble;
        return;
      }
    }
    this.#trouble = undefined;
  }
}

type ReplayedEvent = Pick<Event, 'seq' | 'kind'> & {readonly step: number | undefined};

/** Matches the calls of a resumed run with the lines that the interrupted one wrote, until the first that differs. */
class Replay {
  #events: readonly ReplayedEvent[];
  #next = 0;

  constructor(events: readonly ReplayedEvent[] = []) {
    this.#events = events;
  }

  /** @returns `seq` of the line that the call repeats; undefined when it is new */
  match(kind: EventKind, step: number | undefined): number | undefined {
    const expected = this.#events[this.#next++];
    if (expected?.kind === kind && expected.step === step) return expected.seq;
    this.#events = [];
    return undefined;
  }
}

class JournalFile implements Journal {
  readonly #fd: number;
  readonly #file: string;
  readonly #options: Required<Pick<JournalOptions, 'now' | 'elapsed'>> & Pick<JournalOptions, 'beforeWrite'>;
  readonly #pending: PendingLines;
  #replay = new Replay();
  /** Of the last line. */
  #seq: number;
  #position: number;
  #lastSync: number;
  #syncing = false;

  constructor(fd: number, file: string, seq: number, options: JournalOptions) {
    this.#fd = fd;
    this.#file = file;
    this.#options = {now: Date.now, elapsed: () => performance.now(), ...options};
    this.#pending = new PendingLines(fd, file, options.onTrouble);
    this.#seq = seq;
    this.#position = seq;
    this.#lastSync = this.#options.elapsed();
  }

  position(): number {
    return this.#position;
  }

  log(kind: EventKind, data: Event['data'], step?: number): void {
    const replayed = this.#replay.match(kind, step);
    if (replayed !== undefined) {
      this.#position = replayed;
      return;
    }
    this.#options.beforeWrite?.();
    this.#seq += 1;
    this.#position = this.#seq;
    const event: Event = {
      seq: this.#seq,
      ts: this.#options.now(),
      kind,
      ...(step === undefined ? {} : {step}),
      data,
    };
    this.#pending.write(Buffer.from(`${serialise(event)}\n`));
    this.#sync();
  }

  #sync(): void {
    const now = this.#options.elapsed();
    if (this.#syncing || now - this.#lastSync < syncIntervalMs) return;
    this.#syncing = true;
    this.#lastSync = now;
    fsync(this.#fd, () => (this.#syncing = false));
  }

  replayAfter(seq: number): number {
    const events: ReplayedEvent[] = [];
    for (const {event} of readLines(this.#fd, this.#file)) {
      const {seq: number, kind, step} = event;
      if (number > seq && kind !== 'end') events.push({seq: number, kind, step});
    }
    this.#replay = new Replay(events);
    this.#position = seq;
    return Math.max(0, seq - this.#seq);
  }

  close(): void {
    this.#pending.flush();
    const {trouble} = this.#pending;
    try {
      if (trouble === undefined) fsyncSync(this.#fd);
    } finally {
      closeSync(this.#fd);
    }
    if (trouble !== undefined) throw trouble;
  }
}

/**
 * Opens or creates the journal for appending; only the holder of the run's lock may call it.
 * @throws SdqError (exit 6 not writable, exit 3 a line in the middle is not an event)
 */
export function openJournal(file: string, options: JournalOptions = {}): Journal {
  const fd = openFile(file, 'a+');
  let [seq, size] = [0, 0];
  for (const {event, end} of readLines(fd, file)) {
    if (event.seq !== seq + 1) throw brokenLine(file, size, `seq ${event.seq} after ${seq}`);
    seq = event.seq;
    size = end;
  }
  if (fstatSync(fd).size > size) ftruncateSync(fd, size);
  return new JournalFile(fd, file, seq, options);
}

/** @throws SdqError (exit 6 not writable, exit 3 not readable) */
function openFile(file: string, flags: 'a+' | 'r'): number {
  try {
    return openSync(file, flags);
  } catch (error) {
    throw fileError(error, flags === 'r' ? 'read' : 'write', file);
  }
}

/**
 * The events of a journal, in order; a torn last line is left out. Memory does not grow with the file.
 * @throws SdqError (exit 3) naming the byte offset of a line that is not an event
 */
export function* readJournal(file: string): Generator<Event> {
  const fd = openFile(file, 'r');
  try {
    for (const {event} of readLines(fd, file)) yield event;
  } catch (error) {
    throw fileError(error, 'read', file);
  } finally {
    closeSync(fd);
  }
}

/** A place between two lines. */
export interface JournalPlace {
  /** `seq` of the line before it. */
  readonly seq: number;
  /** Bytes before it. */
  readonly offset: number;
}

/** Follows a journal while it grows. */
export interface JournalReader {
  /**
   * The next lines that are whole by now, none when there is nothing new.
   * @param limit at most so many lines, and no further one after so many bytes
   * @throws SdqError (exit 3) naming the byte offset of a line that is not an event
   */
  read(limit: {readonly events: number; readonly bytes: number}): readonly Event[];
  /** Behind the last line that was read. */
  place(): JournalPlace;
  close(): void;
}

/**
 * @param from where to begin; when the file does not fit it (it was cut or replaced), the lines up to `from.seq` are skipped
 * @throws SdqError (exit 3) when the file cannot be read
 */
export function followJournal(file: string, from: JournalPlace = {seq: 0, offset: 0}): JournalReader {
  const fd = openFile(file, 'r');
  let place = fits(fd, file, from) ? from : {seq: 0, offset: 0};
  let lines: ReturnType<typeof readLines> | undefined;
  return {
    read(limit) {
      const events: Event[] = [];
      const first = place.offset;
      lines ??= readLines(fd, file, place.offset);
      while (events.length < limit.events && place.offset - first < limit.bytes) {
        const next = lines.next();
        if (next.done === true) {
          lines = undefined; // what was torn may be whole next time
          break;
        }
        const {event, end} = next.value;
        place = {seq: event.seq, offset: end};
        if (event.seq > from.seq) events.push(event);
      }
      return events;
    },
    place: () => place,
    close: () => closeSync(fd),
  };
}

/** Whether a line ends before the place and the next one, if there is one, has the number that follows. */
function fits(fd: number, file: string, {seq, offset}: JournalPlace): boolean {
  if (offset === 0) return seq === 0;
  const before = Buffer.alloc(1);
  if (readSync(fd, before, 0, 1, offset - 1) !== 1 || before[0] !== newline) return false;
  try {
    const next = readLines(fd, file, offset).next();
    return next.done === true || next.value.event.seq === seq + 1;
  } catch {
    return false;
  }
}

function brokenLine(file: string, offset: number, found: string): SdqError {
  return invalidInput('journal-broken', `${file}: the line at byte ${offset} is not an event of a journal: ${found}.`, [
    'The file was changed by hand or by another program; restore it or start a new run.',
  ]);
}

function isEvent(value: unknown): value is Event {
  if (typeof value !== 'object' || value === null) return false;
  const {seq, ts, kind, data} = value as Partial<Record<keyof Event, unknown>>;
  return (
    Number.isInteger(seq) &&
    typeof ts === 'number' &&
    typeof kind === 'string' &&
    typeof data === 'object' &&
    data !== null
  );
}

/** @param start byte at which a line begins */
function* readLines(fd: number, file: string, start = 0): Generator<{event: Event; end: number}> {
  const chunk = Buffer.alloc(chunkBytes);
  let rest: Buffer = Buffer.alloc(0);
  let restOffset = start;
  for (let position = start; ;) {
    const count = readSync(fd, chunk, 0, chunkBytes, position);
    if (count === 0) return;
    position += count;
    rest = Buffer.concat([rest, chunk.subarray(0, count)]);
    for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline)) {
      const text = rest.toString('utf8', 0, end);
      let event: unknown;
      try {
        event = JSON.parse(text);
      } catch {
        throw brokenLine(file, restOffset, JSON.stringify(text.slice(0, 40)));
      }
      if (!isEvent(event)) throw brokenLine(file, restOffset, JSON.stringify(text.slice(0, 40)));
      rest = rest.subarray(end + 1);
      restOffset += end + 1;
      yield {event, end: restOffset};
    }
    if (rest.length > pendingLimitBytes)
      throw brokenLine(file, restOffset, `no line end within ${pendingLimitBytes} bytes`);
  }
}
