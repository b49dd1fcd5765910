/**
 * The HTTP client of trackers and downloads. It takes proxies and certificates from the environment as the Python clients
 * do, bounds every answer in time and size, and says which failures are worth another try.
 */
import {createReadStream, readdirSync, readFileSync, statSync} from 'node:fs';
import type {IncomingHttpHeaders} from 'node:http';
import {BlockList, isIP} from 'node:net';
import path from 'node:path';
import type {Readable} from 'node:stream';
import type {SecureContext} from 'node:tls';
import {isNativeError} from 'node:util/types';

import type {Dispatcher} from 'undici';

import {ExitCode, SdqError} from './errors.ts';
import {fileError} from './files.ts';
import {redactUrls} from './redact.ts';
import {untilAborted} from './retry.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Tls {
  /** PEM file (or a folder of them) of the authorities to trust, and the variable that names it; goes before the usual ones. */
  readonly authorities?: {readonly file: string; readonly variable: string} | undefined;
  /** PEM file with the client's certificate and key, and the variable that names it. */
  readonly client?: {readonly file: string; readonly variable: string} | undefined;
  /** False accepts any certificate. */
  readonly verify?: boolean;
}

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

/** Answers are short; what is longer is not one of ours. */
const answerLimitBytes = 64 << 20;
/** Of the text of an error that is read. */
const detailLimitBytes = 400;
const redirectLimit = 5;
/** Below the 2 s after which some servers close an idle connection, perhaps just when the next request is sent. */
const keepAliveMs = 1000;
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

export class HttpClient {
  readonly #proxies: Proxies;
  readonly #authorities: string | undefined;
  readonly #client: string | undefined;
  readonly #verify: boolean;
  readonly #dispatchers = new Map<string, Promise<Dispatcher>>();

  /** @throws SdqError (exit 3) for a variable with an address or a file that cannot be used; names it and not its value */
  constructor(env: Environment, {authorities, client, verify = true}: Tls = {}) {
    this.#proxies = proxiesOf(env);
    this.#verify = verify;
    this.#client = client === undefined ? undefined : readPem(client, /-----BEGIN [A-Z ]*PRIVATE KEY-----/);
    const bundle = authorities ?? bundleOf(env);
    if (bundle === undefined || !verify) return; // Node's own, with those of NODE_EXTRA_CA_CERTS
    const extra = valueOf(env, 'NODE_EXTRA_CA_CERTS');
    const files = extra === undefined ? [bundle] : [bundle, {file: extra, variable: 'NODE_EXTRA_CA_CERTS'}];
    this.#authorities = files.map((file) => readPem(file, /-----BEGIN (TRUSTED )?CERTIFICATE-----/)).join('\n');
  }

  /**
   * @returns the answer, of a 2xx status and complete
   * @throws HttpError transient: no connection, no or half an answer, a transient status; final: other statuses
   */
  async send(request: HttpRequest): Promise<HttpResponse> {
    const isFile = isFileBody(request.body);
    const response = await this.#open(request, {isTotal: !isFile, followsRedirects: false});
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of response.pieces(request.timeoutMs)) {
      length += chunk.length;
      if (length > answerLimitBytes) {
        throw new HttpError(request, `the answer is larger than ${answerLimitBytes} bytes`, {isTransient: true});
      }
      chunks.push(chunk);
    }
    return {status: response.status, headers: response.headers, body: Buffer.concat(chunks)};
  }

  /** As `send`, for a body of any size; follows redirects. */
  open(request: HttpRequest): Promise<OpenResponse> {
    return this.#open(request, {isTotal: false, followsRedirects: true});
  }

  async #open(
    request: HttpRequest,
    {followsRedirects, isTotal}: {readonly isTotal: boolean; readonly followsRedirects: boolean},
  ): Promise<OpenResponse> {
    const watch = new Watch(request.signal);
    const fail = (error: unknown): never => {
      watch.dispose();
      throw asHttpError(error, request);
    };
    watch.expect('no answer', request.timeoutMs);
    let url = new URL(request.url);
    for (let redirects = 0; ; redirects++) {
      const response = await untilAborted(watch.signal, () => this.#dispatch(request, url, watch)).catch(fail);
      const {statusCode: status, headers, body} = response;
      body.on('error', () => undefined); // whoever reads it sees it; nobody may
      const location = headers['location'];
      if (followsRedirects && status >= 300 && status < 400 && typeof location === 'string') {
        body.destroy();
        if (redirects === redirectLimit) fail(new Error(`more than ${redirectLimit} redirects`));
        url = new URL(location, url);
        continue;
      }
      if (status < 200 || status > 299) {
        const text = await beginningOf(body).catch(fail);
        watch.dispose();
        throw new HttpError(request, `HTTP ${status}${detail(text)}`, {
          isTransient: isTransientStatus(status),
          status,
          retryAfterMs: retryAfterMs(textOf(headers['retry-after']), serverTime(headers)),
        });
      }
      return {
        status,
        headers,
        async *pieces(idleTimeoutMs) {
          try {
            const iterator = body[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
            for (;;) {
              if (!isTotal) watch.expect('no data', idleTimeoutMs);
              const next = await iterator.next();
              if (!isTotal) watch.pause();
              if (next.done === true) return;
              yield next.value;
            }
          } catch (error) {
            fail(error);
          } finally {
            watch.dispose();
            body.destroy();
          }
        },
        cancel() {
          watch.dispose();
          body.destroy();
        },
      };
    }
  }

  async #dispatch(
    {body, headers, method, timeoutMs}: HttpRequest,
    url: URL,
    watch: Watch,
  ): Promise<Dispatcher.ResponseData> {
    const [{request}, dispatcher] = await Promise.all([import('undici'), this.#dispatcherFor(url)]);
    let content: string | Uint8Array | Readable | null = null;
    if (isFileBody(body)) {
      content = createReadStream(body.file, {start: 0, end: Math.max(0, body.size - 1)});
      content.on('data', () => watch.expect('no answer', timeoutMs));
    } else if (body !== undefined) content = body;
    const size = isFileBody(body) ? {'content-length': String(body.size)} : {};
    return request(url, {
      dispatcher,
      method,
      headers: {...headers, ...size},
      body: content,
      signal: watch.signal,
      // The watch has the times.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  #dispatcherFor({hostname, protocol}: URL): Promise<Dispatcher> {
    const proxy = protocol === 'https:' ? this.#proxies.https : this.#proxies.http;
    const isDirect = proxy === undefined || this.#proxies.isExcluded(hostname);
    const key = isDirect ? protocol : `${protocol} ${proxy.href}`;
    const dispatcher = this.#dispatchers.get(key) ?? this.#createDispatcher(protocol, isDirect ? undefined : proxy);
    this.#dispatchers.set(key, dispatcher);
    return dispatcher;
  }

  async #createDispatcher(protocol: string, proxy: URL | undefined): Promise<Dispatcher> {
    const {Agent, EnvHttpProxyAgent} = await import('undici');
    const isSecure = protocol === 'https:' || proxy?.protocol === 'https:';
    const connect = {
      rejectUnauthorized: this.#verify,
      ...(isSecure ? {secureContext: await this.#secureContext()} : {}),
    };
    const options = {connect, keepAliveTimeout: keepAliveMs};
    if (proxy === undefined) return new Agent(options);
    const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
    const token = proxy.username === '' ? undefined : `Basic ${Buffer.from(credentials).toString('base64')}`;
    return new EnvHttpProxyAgent({
      ...options,
      httpProxy: proxy.href,
      httpsProxy: proxy.href,
      noProxy: this.#proxies.excluded,
      requestTls: connect,
      proxyTls: connect,
      // Many proxies allow tunnels to port 443 only.
      proxyTunnel: false,
      ...(token === undefined ? {} : {token}),
    });
  }

  /** One for all connections: reading some hundred certificates takes longer than a request. */
  async #secureContext(): Promise<SecureContext> {
    const {createSecureContext} = await import('node:tls');
    return createSecureContext({
      ...(this.#authorities === undefined ? {} : {ca: this.#authorities}),
      ...(this.#client === undefined ? {} : {cert: this.#client, key: this.#client}),
    });
  }
}

/** Ends a request when its caller wants it or when nothing came for too long. */
class Watch {
  readonly #outer: AbortSignal;
  readonly #controller = new AbortController();
  readonly #forward = (): void => this.#controller.abort(this.#outer.reason);
  #timer: NodeJS.Timeout | undefined;

  constructor(outer: AbortSignal) {
    this.#outer = outer;
    if (outer.aborted) this.#forward();
    outer.addEventListener('abort', this.#forward, {once: true});
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Begins to wait anew. @param what is said when it does not come, e.g. `no answer` */
  expect(what: string, ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(new Error(`${what} within ${ms / 1000} s`)), ms);
  }

  pause(): void {
    clearTimeout(this.#timer);
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener('abort', this.#forward);
  }
}

// ---------------------------------------------------------------------------------------------------- the environment

interface Proxies {
  readonly http: URL | undefined;
  readonly https: URL | undefined;
  /** NO_PROXY as it is written. */
  readonly excluded: string;
  /** Whether the host is an address in one of the networks of NO_PROXY, e.g. `10.0.0.0/8`. */
  readonly isExcluded: (hostname: string) => boolean;
}

const valueOf = (env: Environment, name: string): string | undefined => (env[name] === '' ? undefined : env[name]);

/** HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; small letters go before capitals, also where they are empty. */
function proxiesOf(env: Environment): Proxies {
  const either = (name: string): string | undefined => valueOf(env, name in env ? name : name.toUpperCase());
  const proxy = (name: string): URL | undefined => {
    const value = either(name) ?? either('all_proxy');
    return value === undefined ? undefined : proxyUrl(value, name.toUpperCase());
  };
  const excluded = either('no_proxy') ?? '';
  const networks = new BlockList();
  for (const entry of excluded.split(/[,\s]+/)) {
    const [, network = '', prefix] = /^([\da-f.:]+)\/(\d{1,3})$/i.exec(entry) ?? [];
    const family = isIP(network);
    if (family === 0 || Number(prefix) > (family === 4 ? 32 : 128)) continue;
    networks.addSubnet(network, Number(prefix), family === 4 ? 'ipv4' : 'ipv6');
  }
  return {
    http: proxy('http_proxy'),
    https: proxy('https_proxy'),
    excluded,
    isExcluded(hostname) {
      const host = hostname.replace(/^\[(.*)\]$/, '$1');
      const family = isIP(host);
      return family !== 0 && networks.check(host, family === 4 ? 'ipv4' : 'ipv6');
    },
  };
}

function proxyUrl(value: string, variable: string): URL {
  const text = (/^[a-z][a-z\d+.-]*:\/\//i.test(value) ? value : `http://${value}`).replace(/^socks5h:/i, 'socks5:');
  const isKnown = /^(?:https?|socks5):/i.test(text);
  if (isKnown && URL.canParse(text) && isDecodable(new URL(text))) return new URL(text);
  // Not the value: it may hold a password.
  throw new SdqError(
    `${variable} (or ALL_PROXY) is not the address of a proxy: http://, https:// or socks5://, then the host.`,
    {
      code: 'proxy-environment',
      exit: ExitCode.invalidInput,
      suggestions: ['Write / @ : ? # in a user name or a password as %2F %40 %3A %3F %23.'],
    },
  );
}

function isDecodable({password, username}: URL): boolean {
  try {
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
}

/** The usual variables for the authorities to trust, in the order in which they count. */
function bundleOf(env: Environment): {readonly file: string; readonly variable: string} | undefined {
  for (const variable of ['REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'SSL_CERT_FILE']) {
    const file = valueOf(env, variable);
    if (file !== undefined) return {file, variable};
  }
  return undefined;
}

/** Text of a PEM file, or of all in a folder. @throws SdqError (exit 3) that names the variable */
function readPem({file, variable}: {readonly file: string; readonly variable: string}, content: RegExp): string {
  const invalid = (reason: string): SdqError =>
    new SdqError(`${variable}: ${reason}`, {code: 'certificate-environment', exit: ExitCode.invalidInput});
  let texts: readonly string[];
  try {
    const files = statSync(file).isDirectory() ? readdirSync(file).map((name) => path.join(file, name)) : [file];
    texts = files.filter((each) => statSync(each).isFile()).map((each) => readFileSync(each, 'utf8'));
  } catch (error) {
    throw invalid(fileError(error, 'read', file).message);
  }
  const pem = texts.filter((text) => content.test(text));
  if (pem.length === 0) throw invalid(`${file} holds no PEM text that fits.`);
  return pem.join('\n');
}

// ----------------------------------------------------------------------------------------------------------- failures

const isFileBody = (body: HttpRequest['body']): body is {readonly file: string; readonly size: number} =>
  typeof body === 'object' && 'file' in body;

const textOf = (header: string | string[] | undefined): string | undefined =>
  Array.isArray(header) ? header[0] : header;

/** What a server says the time is: its `Retry-After` is by the same clock. */
function serverTime({date}: IncomingHttpHeaders): number {
  const time = Date.parse(textOf(date) ?? '');
  return Number.isNaN(time) ? Date.now() : time;
}

/** What the body begins with. */
async function beginningOf(body: Readable): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk as Uint8Array);
    length += (chunk as Uint8Array).length;
    if (length >= detailLimitBytes) break;
  }
  return Buffer.concat(chunks).toString('utf8', 0, detailLimitBytes);
}

/** The beginning of an error's text, as one line. */
export function detail(text: string): string {
  const line = text.slice(0, detailLimitBytes).replaceAll(/\s+/g, ' ').trim();
  return line === '' ? '' : `: ${redactUrls(line.slice(0, 200))}`;
}

function asHttpError(error: unknown, request: HttpRequest): HttpError {
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
