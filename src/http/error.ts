/** Requests that failed: why, in words, and whether another try may help. */
import {isNativeError} from 'node:util/types';

import {redactUrls} from '../redact.ts';
import type {HttpRequest} from './message.ts';

/** A request that failed; the message names method and address. */
export class HttpError extends Error {
  /** Why, without method and address. */
  readonly reason: string;
  /** Whether another try may help. */
  readonly isTransient: boolean;
  /** Of the answer, where there was one. */
  readonly status: number | undefined;
  /** What `Retry-After` asks for. */
  readonly retryAfterMs: number | undefined;

  constructor(
    {method, url}: Pick<HttpRequest, 'method' | 'url'>,
    reason: string,
    options: {
      readonly isTransient: boolean;
      readonly status?: number | undefined;
      readonly retryAfterMs?: number | undefined;
    },
  ) {
    super(`${method} ${redactUrls(url.replace(/[?#].*$/s, ''))}: ${reason}`);
    this.name = 'HttpError';
    this.reason = reason;
    this.isTransient = options.isTransient;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Of the text of an error that is read. */
export const detailLimitBytes = 400;

/** Longer than this nothing is waited for; also what a timer can hold. */
const longestRetryAfterMs = 24 * 60 * 60 * 1000;

/** Whether the same request may be answered better later: 5xx (but "not implemented"), 408, 425 and 429. */
export function isTransientStatus(status: number): boolean {
  return [408, 425, 429].includes(status) || (status >= 500 && status !== 501 && status !== 505);
}

/**
 * `Retry-After` in seconds or as a date.
 * @param now milliseconds since 1970-01-01 UTC, by the clock of the server where it tells
 * @returns milliseconds from `now`, at most a day; undefined when it says nothing usable
 */
export function retryAfterMs(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d+(\.\d+)?$/.test(value) ? 1000 * Number(value) : Date.parse(value) - now;
  return Number.isNaN(ms) ? undefined : Math.min(longestRetryAfterMs, Math.max(0, ms));
}

/** The beginning of an error's text, as one line. */
export function detail(text: string): string {
  const line = text.slice(0, detailLimitBytes).replaceAll(/\s+/g, ' ').trim();
  return line === '' ? '' : `: ${redactUrls(line.slice(0, 200))}`;
}

/** A failure below HTTP (no connection, a proxy, a certificate) as one of the request. */
export function asHttpError(error: unknown, request: HttpRequest): HttpError {
  if (error instanceof HttpError) return error;
  const reason = request.signal.aborted ? 'stopped' : reasonOf(error);
  const status = proxyStatus(error);
  const code = isNativeError(error) ? (error as NodeJS.ErrnoException).code : undefined;
  // Without the cause: its message may hold the address with a password.
  return new HttpError(request, redactUrls(reason), {
    isTransient: status === undefined ? code !== 'UND_ERR_INVALID_ARG' : isTransientStatus(status),
    status,
  });
}

/** What a proxy answered where it did not let the request through. */
function proxyStatus(error: unknown): number | undefined {
  const message = isNativeError(error) ? error.message : '';
  const [, status] = /^Prox(?:y response|y Authentication Required) \((\d{3})\)/.exec(message) ?? [];
  return status === undefined ? undefined : Number(status);
}

const trust = 'name the PEM file of its authority in SSL_CERT_FILE, REQUESTS_CA_BUNDLE or NODE_EXTRA_CA_CERTS';

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was cut',
  EPIPE: 'the connection was cut',
  UND_ERR_SOCKET: 'the connection was cut',
  UND_ERR_CONNECT_TIMEOUT: 'no connection',
  ENOTFOUND: 'the host is not known',
  EAI_AGAIN: 'the host is not known',
  ETIMEDOUT: 'no answer',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  DEPTH_ZERO_SELF_SIGNED_CERT: `the certificate of the server is self-signed; ${trust}`,
  SELF_SIGNED_CERT_IN_CHAIN: `the certificate of the server is from an authority that is not known; ${trust}`,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: `the certificate of the server is from an authority that is not known; ${trust}`,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: `the certificate of the server cannot be verified; ${trust}`,
};

function reasonOf(error: unknown): string {
  if (!isNativeError(error)) return String(error);
  const status = proxyStatus(error);
  if (status !== undefined) return `the proxy answered HTTP ${status}`;
  const {code} = error as NodeJS.ErrnoException;
  const known = code === undefined ? undefined : reasons[code];
  if (known !== undefined) return known;
  return isNativeError(error.cause) ? reasonOf(error.cause) : error.message;
}
