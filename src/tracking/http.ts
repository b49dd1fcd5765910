/**
 * One HTTP request of a tracker: bounded in time and size, its failures sorted into those worth another try and those
 * that are not. Over node:http(s), because Node 20's fetch cannot take a CA file or an unverified certificate per request.
 */
import {createReadStream} from 'node:fs';
import http, {type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders} from 'node:http';
import https from 'node:https';
import {pipeline} from 'node:stream/promises';
import {isNativeError} from 'node:util/types';

import {redactUrls} from './redact.ts';
import {TrackerError} from './tracker.ts';

export interface Tls {
  /** PEM text of the certificate authorities to trust, in place of the system's. */
  readonly ca?: string;
  /** False accepts any certificate. */
  readonly verify?: boolean;
}

export interface Request {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly headers?: OutgoingHttpHeaders;
  /** Sent as it is; `file` streams one, `size` bytes of it. */
  readonly body?: string | Uint8Array | {readonly file: string; readonly size: number};
  readonly signal: AbortSignal;
  /** Longest silence of the connection, and for a request without a file also the longest it may take in all. */
  readonly timeoutMs: number;
  readonly tls?: Tls;
}

export interface Response {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Answers are short; what is longer is not one of ours. */
const answerLimitBytes = 64 << 20;

/** Another try cannot help; 408, 425 and 429 are the client errors for which it can. */
const permanent = new Set([400, 401, 403, 404, 405, 406, 409, 410, 411, 413, 414, 415, 422, 501, 505]);

/** `Retry-After` in seconds or as a date. @returns milliseconds from `now`, undefined when it says nothing usable */
export function retryAfterMs(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+(\.\d+)?$/.test(value)) return 1000 * Number(value);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/**
 * @returns the answer, of a 2xx status and complete
 * @throws TrackerError transient: no connection, no or half an answer, 5xx, 408, 425, 429; permanent: other statuses
 */
export async function sendRequest(request: Request): Promise<Response> {
  const {method, timeoutMs, url} = request;
  const where = `${method} ${redactUrls(url.replace(/\?.*$/s, ''))}`;
  const body = request.body;
  const isFile = typeof body === 'object' && 'file' in body;
  const total = isFile ? undefined : AbortSignal.timeout(timeoutMs);
  const signal = total === undefined ? request.signal : AbortSignal.any([request.signal, total]);
  let response: Response;
  try {
    response = await exchange(request, signal);
  } catch (error) {
    if (error instanceof TrackerError) throw error;
    const reason =
      total?.aborted === true && !request.signal.aborted
        ? `no answer within ${timeoutMs / 1000} s`
        : request.signal.aborted
          ? 'stopped'
          : reasonOf(error);
    // Without the cause: its message may hold the address with a password.
    throw new TrackerError(`${where}: ${redactUrls(reason)}`, {kind: 'transient'});
  }
  const {headers, status} = response;
  if (status >= 200 && status < 300) return response;
  throw new TrackerError(`${where}: HTTP ${status}${detail(response.body)}`, {
    kind: permanent.has(status) || (status >= 300 && status < 400) ? 'permanent' : 'transient',
    status,
    retryAfterMs: retryAfterMs(headers['retry-after'], Date.now()),
  });
}

/** @throws TrackerError (transient) when the answer is not JSON: something between us and the server answered */
export function jsonOf(response: Response, where: string): Readonly<Record<string, unknown>> {
  try {
    const value = JSON.parse(response.body.toString('utf8')) as unknown;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // falls through to the error below
  }
  throw new TrackerError(`${where}: the answer is not the expected JSON${detail(response.body)}`, {kind: 'transient'});
}

async function exchange({body, headers, method, timeoutMs, tls, url}: Request, signal: AbortSignal): Promise<Response> {
  const target = new URL(url);
  const secure = target.protocol === 'https:';
  const size = body === undefined ? undefined : sizeOf(body);
  const outgoing = (secure ? https : http).request(target, {
    method,
    headers: {...headers, ...(size === undefined ? {} : {'content-length': size})},
    signal,
    timeout: timeoutMs,
    ...(tls?.ca === undefined ? {} : {ca: tls.ca}),
    ...(tls?.verify === false ? {rejectUnauthorized: false} : {}),
  });
  outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.on('response', resolve);
    outgoing.on('error', reject);
  });
  answered.catch(() => undefined); // the write below may fail first; who awaits sees this one
  if (typeof body === 'object' && 'file' in body) {
    // The server may answer before it has read all; its answer then tells more than the broken pipe.
    await pipeline(createReadStream(body.file, {start: 0, end: Math.max(0, body.size - 1)}), outgoing).catch(
      async (error: unknown) => {
        if (isNativeError(error) && 'syscall' in error && error.syscall === 'open') throw error;
        await answered;
      },
    );
  } else {
    outgoing.end(body);
  }
  const incoming = await answered;
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming) {
    length += (chunk as Buffer).length;
    if (length > answerLimitBytes) throw new Error(`the answer is larger than ${answerLimitBytes} bytes`);
    chunks.push(chunk as Buffer);
  }
  if (!incoming.complete) throw new Error('the connection was cut in the middle of the answer');
  return {status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks)};
}

function sizeOf(body: NonNullable<Request['body']>): number {
  if (typeof body === 'string') return Buffer.byteLength(body);
  return 'file' in body ? body.size : body.length;
}

function reasonOf(error: unknown): string {
  if (!isNativeError(error)) return String(error);
  const {code} = error as NodeJS.ErrnoException;
  const words: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'connection refused',
    ECONNRESET: 'the connection was cut',
    EPIPE: 'the connection was cut',
    ENOTFOUND: 'the host is not known',
    EAI_AGAIN: 'the host is not known',
    ETIMEDOUT: 'no answer',
    EHOSTUNREACH: 'the host cannot be reached',
    ENETUNREACH: 'the network cannot be reached',
    DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate of the server is self-signed',
    SELF_SIGNED_CERT_IN_CHAIN: 'the certificate of the server is self-signed',
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate of the server cannot be verified',
  };
  return (code === undefined ? undefined : words[code]) ?? error.message;
}

/** The beginning of an error's text, as one line. */
function detail(body: Buffer): string {
  const text = body.toString('utf8', 0, 400).replaceAll(/\s+/g, ' ').trim();
  return text === '' ? '' : `: ${redactUrls(text.slice(0, 200))}`;
}
