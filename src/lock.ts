/**
 * One writer per folder (a run, a sweep, a data set in the cache): the file `lock` names its owner and is touched every few seconds.
 *
 * The folder may be shared by several machines or containers. A pid means something only in the pid namespace it comes from, so the
 * owner of another namespace is judged by its heartbeat alone. Ages are differences of modification times that one file
 * server sets; no two clocks are compared.
 *
 * A dead owner is succeeded in two steps. `lock.next-<digest of its lock>` is created by link(2), which one process at most can do,
 * and stays until the successor releases the folder. Then the successor checks that `lock` is still the dead owner's and renames its
 * own over it. A process with an outdated view fails in one of the two. A successor that dies in between is succeeded the same way.
 *
 * On a file system without hard links the files are created exclusively (O_EXCL) in place of linked. Such a file is empty for a
 * moment, so an empty lock is that of a living process while it is fresh.
 */
import {createHash, randomUUID} from 'node:crypto';
import {
  closeSync,
  fstatSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import {hostname} from 'node:os';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';
import {Worker} from 'node:worker_threads';

import {ExitCode, SdqError} from './errors.ts';
import {fileError, removeTemporaryFiles} from './files.ts';

interface Owner {
  readonly pid: number;
  /** When the process started, in the system's own units: distinguishes a process from a later one with its pid. */
  readonly started: string;
  readonly host: string;
  /** Differs between machines and between boots of one machine; '' where the system has none. */
  readonly boot: string;
  /** Of the pids; '' where the system has none. */
  readonly namespace: string;
}

interface LockFile {
  readonly content: string;
  /** Undefined when the content is not that of a lock. */
  readonly owner: Owner | undefined;
  /** Last heartbeat, by the clock of the file server. */
  readonly mtimeMs: number;
}

export interface Lock {
  /** Whether the lock was taken over from a process that no longer lives. */
  readonly tookOver: boolean;
  /**
   * Cheap, for use before every write. A process that was suspended for minutes may have lost its lock to another machine.
   * @throws SdqError (exit 6) when the lock is no longer this process's
   */
  check(): void;
  release(): void;
}

/** [ours] */
const usualHeartbeatMs = 10_000;
/** After this long without a heartbeat the owner is dead; NFS clients may see a heartbeat a minute late [ours]. */
const staleMs = 180_000;
/** A lock that the server has and that this client still does not see, e.g. because NFS caches names for up to 60 s [ours]. */
const visibleMs = 120_000;
/** What link(2) says where there are no hard links. */
const noLinks = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'];

/** Runs in a thread of its own, so that a long training step does not stop the heartbeat. Writing lets the file server set the time. */
const heartbeat = `
const {workerData: {file, content, everyMs}} = require('node:worker_threads');
const fs = require('node:fs');
const fd = fs.openSync(file, 'r+');
if (fs.readFileSync(fd, 'utf8') === content) {
  setInterval(() => {
    try {
      fs.writeSync(fd, content, 0);
      fs.fsyncSync(fd);
    } catch {} // A full disk or an absent server: the next one may succeed.
  }, everyMs);
}`;

function textOr(fallback: string, read: () => string): string {
  try {
    return read();
  } catch {
    return fallback;
  }
}

/**
 * Field 22 of /proc/PID/stat (clock ticks since boot) on Linux; '' where the system does not say, and of a zombie: it is dead, though
 * its parent has not noticed. In a container whose first process reaps none it stays for good.
 */
function startOf(pid: number): string {
  const stat = textOr('', () => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? '' : (fields[19] ?? '');
}

function thisProcess(): Owner {
  return {
    pid: process.pid,
    started: startOf(process.pid),
    host: hostname(),
    boot: textOr('', () => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    namespace: textOr('', () => readlinkSync('/proc/self/ns/pid')),
  };
}

/** Whether the owner's pid can be looked up here. */
function isLocal(owner: Owner): boolean {
  const {boot, namespace, host} = thisProcess();
  return owner.boot === boot && owner.namespace === namespace && (boot !== '' || owner.host === host);
}

/** @param now by the clock of the file server */
function isAlive({content, owner, mtimeMs}: LockFile, now: number): boolean {
  const isBeating = now - mtimeMs < staleMs;
  if (owner === undefined) return content === '' && isBeating;
  if (!isLocal(owner)) return isBeating;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return owner.started === startOf(owner.pid) && (owner.started !== '' || isBeating);
}

/** Undefined when there is none. Opening, not stat, makes an NFS client ask the server. */
function readLock(file: string): LockFile | undefined {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const content = readFileSync(fd, 'utf8');
    return {content, owner: parseOwner(content), mtimeMs: fstatSync(fd).mtimeMs};
  } finally {
    closeSync(fd);
  }
}

function parseOwner(content: string): Owner | undefined {
  try {
    const lock = JSON.parse(content) as Partial<Owner>;
    const {pid, started} = lock;
    if (typeof pid !== 'number' || !(pid > 0) || typeof started !== 'string') return undefined;
    // Locks of earlier versions have no host: their pid counts as one of this machine.
    return {...thisProcess(), ...lock};
  } catch {
    return undefined;
  }
}

/** Whether a living process holds the folder; needs no right to write there. */
export const isLocked = (directory: string): boolean => isLockedAt(directory, Date.now());

function isLockedAt(directory: string, now: number): boolean {
  try {
    const lock = readLock(path.join(directory, 'lock'));
    return lock !== undefined && isAlive(lock, now);
  } catch {
    return false;
  }
}

/**
 * Waits while the owner of a folder is one of another machine of which there has been no sign of life since the call: until there is
 * one, or the folder is free for `acquireLock`. Returns at once for any other owner.
 * @param options.onWait gets who is waited for
 */
export async function waitForSilentOwner(
  directory: string,
  {pollMs = 2000, onWait}: {readonly pollMs?: number; readonly onWait: (message: string) => void},
): Promise<void> {
  const file = path.join(directory, 'lock');
  const first = readLock(file);
  // `acquireLock` goes by the times of files, which lag behind the clock by some milliseconds.
  const isHeld = (): boolean => isLockedAt(directory, Date.now() - pollMs);
  if (first?.owner === undefined || isLocal(first.owner) || !isHeld()) return;
  onWait(
    `${directory} was in use on host ${first.owner.host}; waiting for a sign of life from there, or the lack of it.`,
  );
  // The clock of the file server may differ from ours: by then the heartbeat is stale by any clock.
  for (const end = performance.now() + staleMs + 2 * pollMs; performance.now() < end && isHeld();) {
    await setTimeout(pollMs);
    const current = readLock(file);
    if (current?.content !== first.content || current.mtimeMs !== first.mtimeMs) return;
  }
}

/**
 * Takes the lock of a folder, from a dead owner too, and removes what was left half written in it.
 * @throws SdqError (exit 6) naming the living owner, or when the folder cannot be written
 */
export function acquireLock(directory: string, {heartbeatMs = usualHeartbeatMs} = {}): Lock {
  const file = path.join(directory, 'lock');
  let claim: {readonly content: string; readonly tookOver: boolean};
  try {
    claim = claimLock(directory);
    removeTemporaryFiles(directory);
  } catch (error) {
    throw fileError(error, 'write', file);
  }
  const {content, tookOver} = claim;
  const worker = new Worker(heartbeat, {
    eval: true,
    execArgv: [],
    workerData: {file, content, everyMs: heartbeatMs},
  });
  worker.unref();
  worker.on('error', () => undefined); // The lock was lost before the first heartbeat: `check` says so.
  const isOwn = (): boolean => textOr('', () => readFileSync(file, 'utf8')) === content;
  let checked = {running: performance.now(), wall: Date.now()};
  return {
    tookOver,
    check() {
      // The monotonic clock stands still while the machine is suspended; the wall clock does not.
      const now = {running: performance.now(), wall: Date.now()};
      if (now.running - checked.running < heartbeatMs && Math.abs(now.wall - checked.wall) < heartbeatMs) return;
      if (!isOwn()) throw lockLost(directory);
      checked = now;
    },
    release() {
      void worker.terminate();
      if (!isOwn()) return;
      rmSync(file, {force: true});
      removeSuccessions(directory);
    },
  };
}

function claimLock(directory: string): {readonly content: string; readonly tookOver: boolean} {
  const held = readLock(path.join(directory, 'lock'));
  // Waiting callers ask often: no file is written while the answer is plain.
  if (held?.owner !== undefined && isLocal(held.owner) && isAlive(held, held.mtimeMs)) {
    throw lockedError(directory, held, held.mtimeMs);
  }
  const token = randomUUID();
  const content = JSON.stringify({...thisProcess(), token});
  const draft = path.join(directory, `.lock.${token}`);
  try {
    writeFileSync(draft, content, {flush: true});
    return {content, tookOver: claimWith(directory, draft, content)};
  } finally {
    rmSync(draft, {force: true});
  }
}

/** @returns whether a dead owner was succeeded */
function claimWith(directory: string, draft: string, content: string): boolean {
  const file = path.join(directory, 'lock');
  const now = statSync(draft).mtimeMs;
  const start = performance.now();
  for (let attempt = 0; ; attempt++) {
    if (attempt > 1) pause(Math.min(1000, 2 ** attempt));
    if (linkNew(draft, file, content)) return false;
    const current = readLock(file);
    if (current === undefined) {
      // Released meanwhile, or not visible here yet.
      if (performance.now() - start > visibleMs) throw lockedError(directory, undefined, now);
      continue;
    }
    const succession = linkSuccession(directory, draft, {content, current, now});
    if (succession === undefined) continue;
    if (readLock(file)?.content !== current.content) {
      rmSync(succession, {force: true}); // Another successor has finished.
      continue;
    }
    renameSync(draft, file);
    return true;
  }
}

/** @returns the link that makes this process the successor; undefined when the view of the folder was outdated */
function linkSuccession(
  directory: string,
  draft: string,
  {content, current, now}: {readonly content: string; readonly current: LockFile; readonly now: number},
): string | undefined {
  for (let dead: LockFile | undefined = current; dead !== undefined;) {
    if (isAlive(dead, now)) throw lockedError(directory, dead, now);
    const succession = path.join(directory, `lock.next-${digest(dead.content)}`);
    if (linkNew(draft, succession, content)) return succession;
    dead = readLock(succession);
  }
  return undefined;
}

/** Whether this process made the link. NFS may lose the reply to a link and report the repeated request as EEXIST. */
function linkNew(from: string, to: string, content: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    const {code = ''} = error as NodeJS.ErrnoException;
    if (noLinks.includes(code)) return createNew(to, content);
    if (code !== 'EEXIST') throw error;
    return readLock(to)?.content === content;
  }
}

/** Whether this process made the file. */
function createNew(file: string, content: string): boolean {
  try {
    writeFileSync(file, content, {flag: 'wx', flush: true});
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return readLock(file)?.content === content;
  }
}

const pause = (ms: number): unknown => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

/** Removes the links of successors, and drafts of processes that were killed before they could link them. For the owner of the folder. */
function removeSuccessions(directory: string): void {
  for (const name of readdirSync(directory)) {
    const file = path.join(directory, name);
    const isOldDraft = (): boolean => {
      const draft = statSync(file, {throwIfNoEntry: false});
      return draft !== undefined && Date.now() - draft.mtimeMs > staleMs;
    };
    if (name.startsWith('lock.next-') || (name.startsWith('.lock.') && isOldDraft())) rmSync(file, {force: true});
  }
}

/** @param lock undefined where it cannot be seen */
function lockedError(directory: string, lock: LockFile | undefined, now: number): SdqError {
  if (lock?.owner === undefined) {
    return new SdqError(`${directory} is in use by a process whose lock cannot be read yet.`, {
      code: 'directory-locked',
      exit: ExitCode.notAvailable,
      suggestions: ['Try again in some minutes.'],
    });
  }
  const {owner, mtimeMs} = lock;
  const {pid, host} = owner;
  if (isLocal(owner)) {
    return new SdqError(`${directory} is in use by process ${pid}.`, {
      code: 'directory-locked',
      exit: ExitCode.notAvailable,
      suggestions: [`Wait for it to end, or stop it: kill ${pid}`],
    });
  }
  const seconds = (ms: number): string => `${Math.max(0, Math.ceil(ms / 1000))} s`;
  return new SdqError(
    `${directory} is in use by process ${pid} on host ${host} or in a container of it; its last sign of life was ${seconds(now - mtimeMs)} ago.`,
    {
      code: 'directory-locked',
      exit: ExitCode.notAvailable,
      suggestions: [
        'Wait for it to end, or stop it there.',
        `If it is dead, the folder is free in ${seconds(mtimeMs + staleMs - now)}.`,
      ],
    },
  );
}

function lockLost(directory: string): SdqError {
  return new SdqError(
    `${directory} is no longer locked by this process: it stood still for minutes and another one took over, or the lock was deleted.`,
    {code: 'lock-lost', exit: ExitCode.notAvailable, suggestions: ['sdq runs list']},
  );
}
