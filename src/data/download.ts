/** One file over HTTP: resumed where it stopped, checked by length and digest, never waiting for ever. */
import {open, rm, stat} from 'node:fs/promises';
import {isNativeError} from 'node:util/types';

import {ExitCode, SdqError} from '../errors.ts';
import {fileError, isFileSystemError} from '../files.ts';
import {HttpClient} from '../http/client.ts';
import type {Environment} from '../http/environment.ts';
import {HttpError} from '../http/error.ts';
import {redactUrls} from '../redact.ts';
import {backoffMs, systemClock, type Clock} from '../retry.ts';
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
  /** Proxies and certificates; by default those of the process. */
  readonly env?: Environment;
  readonly clock?: Clock;
}

/** Attempts in a row that may bring no byte. */
const attempts = 3;
/** A server that wants a longer pause is not waited for. */
const longestPauseMs = 120_000;

/** The server's final word: asking again is of no use. */
class Refused extends Error {}

/**
 * Tries again, after a pause, what may be better later; an answer that will not change ends it at once.
 * @throws SdqError (exit 6) when the server cannot be reached, stalls, refuses, or sends something else; the part that
 *   arrived is kept unless its digest is wrong. (exit 6) when the file cannot be written. (exit 3) for a proxy or a
 *   certificate of the environment that cannot be used. The signal's reason when it is aborted.
 */
export async function download(options: Download): Promise<void> {
  const {url, file, bytes, sha256, signal, env = process.env, clock = systemClock} = options;
  const client = new HttpClient(env);
  const failed = (reason: string, cause?: unknown): SdqError =>
    new SdqError(`${redactUrls(url)}: ${reason}.`, {code: 'download-failed', exit: ExitCode.notAvailable, cause});
  let resumed = (await sizeOf(file)) > 0;
  for (let failures = 0; ;) {
    const before = await sizeOf(file);
    let failure: unknown;
    try {
      if (before > bytes) await rm(file);
      else if (before < bytes) await receive(client, options, before);
      const size = await sizeOf(file);
      if (size !== bytes) failure = new Error(`it sent ${size} of ${bytes} bytes`);
    } catch (error) {
      signal.throwIfAborted();
      if (isFileSystemError(error)) throw fileError(error, 'write', file);
      failure = error;
    }
    if (failure === undefined) {
      const digest = await digestOf(file, 'sha256');
      if (digest === sha256) return;
      await rm(file);
      // An old part may have been another file's: once from the start.
      if (!resumed) throw failed(`the file has sha256 ${digest}; ${sha256} is expected`);
      resumed = false;
      continue;
    }
    failures = (await sizeOf(file)) > before ? 0 : failures + 1;
    const pauseMs = Math.max(backoffMs(Math.max(1, failures)), asked(failure));
    if (isFinal(failure) || failures === attempts || pauseMs > longestPauseMs) throw failed(reasonOf(failure), failure);
    await clock.wait(pauseMs, signal);
    signal.throwIfAborted();
  }
}

const isFinal = (error: unknown): boolean =>
  error instanceof Refused || (error instanceof HttpError && !error.isTransient);

/** The pause that the server asks for. */
const asked = (error: unknown): number => (error instanceof HttpError ? (error.retryAfterMs ?? 0) : 0);

/** Appends what the server sends from byte `offset` on. */
async function receive(
  client: HttpClient,
  {url, file, bytes, signal, progress, connectTimeoutMs, idleTimeoutMs}: Download,
  offset: number,
): Promise<void> {
  const response = await client
    .open({
      method: 'GET',
      url,
      // A compressed answer would be another one.
      headers: {'accept-encoding': 'identity', ...(offset > 0 ? {range: `bytes=${offset}-`} : {})},
      signal,
      timeoutMs: connectTimeoutMs,
    })
    .catch(async (error: unknown) => {
      if (offset === 0 || !(error instanceof HttpError) || error.status !== 416) throw error;
      await rm(file); // start again
      throw new Error('it has no such part');
    });
  const range = response.headers['content-range'] ?? '';
  const continues = response.status === 206 && range.startsWith(`bytes ${offset}-`);
  if (!continues && response.status !== 200) {
    response.cancel();
    if (offset > 0 && response.status === 206) await rm(file); // start again
    throw new Error(`it answers with HTTP ${response.status}, another part than asked`);
  }
  const handle = await open(file, continues ? 'a' : 'w').catch((error: unknown) => {
    response.cancel();
    throw error;
  });
  try {
    let done = continues ? offset : 0;
    progress(done);
    for await (const piece of response.pieces(idleTimeoutMs)) {
      done += piece.length;
      if (done > bytes) throw new Refused(`it sends more than the ${bytes} bytes expected`);
      for (let written = 0; written < piece.length;) {
        written += (await handle.write(piece, written)).bytesWritten;
      }
      progress(done);
    }
    await handle.sync();
  } finally {
    await handle.close();
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

function reasonOf(error: unknown): string {
  if (error instanceof HttpError) return error.reason;
  return (isNativeError(error) ? error.message : String(error)).replace(/\.$/, '');
}
