/** One file over HTTP: resumed where it stopped, checked by length and digest, never waiting for ever. */
import {open, rm, stat} from 'node:fs/promises';
import {isNativeError} from 'node:util/types';

import {ExitCode, SdqError} from '../errors.ts';
import {fileError, isFileSystemError} from '../files.ts';
import {digestOf} from './pinned-files.ts';

export interface Download {
  readonly url: string;
  /** Grows to the whole file; an earlier part is resumed. */
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly signal: AbortSignal;
  readonly progress: (done: number) => void;
  /** Until the first byte of the answer. */
  readonly connectTimeoutMs: number;
  /** Between two pieces of the body. */
  readonly idleTimeoutMs: number;
}

/** Attempts in a row that may bring no byte. */
const attempts = 3;

/** The server's final word: asking again is of no use. */
class Refused extends Error {}

/**
 * @throws SdqError (exit 6) when the server cannot be reached, stalls, or sends something else; the part that arrived is
 *   kept unless its digest is wrong. (exit 6) when the file cannot be written. The signal's reason when it is aborted.
 */
export async function download(options: Download): Promise<void> {
  const {url, file, bytes, sha256, signal} = options;
  const failed = (reason: string, cause?: unknown): SdqError =>
    new SdqError(`${url}: ${reason}.`, {code: 'download-failed', exit: ExitCode.notAvailable, cause});
  let resumed = (await sizeOf(file)) > 0;
  for (let failures = 0; ;) {
    const before = await sizeOf(file);
    try {
      if (before > bytes) await rm(file);
      else if (before < bytes) await receive(options, before);
    } catch (error) {
      signal.throwIfAborted();
      if (isFileSystemError(error)) throw fileError(error, 'write', file);
      failures = (await sizeOf(file)) > before ? 0 : failures + 1;
      if (error instanceof Refused || failures === attempts) throw failed(reasonOf(error), error);
      continue;
    }
    if ((await sizeOf(file)) !== bytes) {
      if (++failures === attempts) throw failed(`it sent ${await sizeOf(file)} of ${bytes} bytes`);
      continue;
    }
    const found = await digestOf(file, 'sha256');
    if (found === sha256) return;
    await rm(file);
    // An old part may have been another file's: once from the start.
    if (!resumed) throw failed(`the file has sha256 ${found}; ${sha256} is expected`);
    resumed = false;
  }
}

/** Appends what the server sends from byte `offset` on. */
async function receive(
  {url, file, bytes, signal, progress, connectTimeoutMs, idleTimeoutMs}: Download,
  offset: number,
): Promise<void> {
  const stalled = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const expect = (what: string, ms: number): void => {
    clearTimeout(timer);
    timer = setTimeout(() => stalled.abort(new Error(`${what} for ${ms / 1000} s`)), ms);
  };
  try {
    expect('no answer', connectTimeoutMs);
    const response = await fetch(url, {
      // A compressed answer would be decompressed on the way.
      headers: {'accept-encoding': 'identity', ...(offset > 0 ? {range: `bytes=${offset}-`} : {})},
      signal: AbortSignal.any([signal, stalled.signal]),
    });
    const range = response.headers.get('content-range') ?? '';
    const continues = response.status === 206 && range.startsWith(`bytes ${offset}-`);
    if (!continues && response.status !== 200) {
      await response.body?.cancel();
      if (offset > 0 && (response.status === 416 || response.status === 206)) await rm(file); // start again
      const message = `HTTP status ${response.status} ${response.statusText}`.trim();
      throw response.status >= 400 && response.status < 500 && offset === 0 ? new Refused(message) : new Error(message);
    }
    const handle = await open(file, continues ? 'a' : 'w');
    try {
      let done = continues ? offset : 0;
      progress(done);
      expect('no data', idleTimeoutMs);
      for await (const chunk of response.body ?? []) {
        const piece = chunk as Uint8Array;
        done += piece.length;
        if (done > bytes) throw new Refused(`it sends more than the ${bytes} bytes expected`);
        for (let written = 0; written < piece.length;) {
          written += (await handle.write(piece, written)).bytesWritten;
        }
        progress(done);
        expect('no data', idleTimeoutMs);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
  } finally {
    clearTimeout(timer);
  }
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw fileError(error, 'read', file);
  }
}

/** The innermost reason: fetch wraps it as the cause of "fetch failed". */
function reasonOf(error: unknown): string {
  let reason = error;
  while (isNativeError(reason) && isNativeError(reason.cause)) reason = reason.cause;
  return (isNativeError(reason) ? reason.message : String(reason)).replace(/\.$/, '');
}
