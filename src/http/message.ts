/** Requests and answers. */
import type {IncomingHttpHeaders} from 'node:http';

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** `file` streams one, `size` bytes of it. */
  readonly body?: string | Uint8Array | {readonly file: string; readonly size: number};
  readonly signal: AbortSignal;
  /** Longest time until the answer begins; for a request of `send` without a file until it is complete. */
  readonly timeoutMs: number;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface OpenResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body in pieces. @throws HttpError (transient) when it is cut or stalls for `idleTimeoutMs` */
  readonly pieces: (idleTimeoutMs: number) => AsyncGenerator<Uint8Array>;
  /** Drops the body. */
  readonly cancel: () => void;
}

export const isFileBody = (body: HttpRequest['body']): body is {readonly file: string; readonly size: number} =>
  typeof body === 'object' && 'file' in body;

export const textOf = (header: string | string[] | undefined): string | undefined =>
  Array.isArray(header) ? header[0] : header;

/** What a server says the time is: its `Retry-After` is by the same clock. */
export function serverTime({date}: IncomingHttpHeaders): number {
  const time = Date.parse(textOf(date) ?? '');
  return Number.isNaN(time) ? Date.now() : time;
}
