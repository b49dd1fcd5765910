/**
 * The HTTP client of trackers and downloads. It takes proxies and certificates from the environment as the Python clients
 * do, bounds every answer in time and size, and says which failures are worth another try.
 */
import {createReadStream} from 'node:fs';
import type {Readable} from 'node:stream';

import type {Dispatcher} from 'undici';

import {untilAborted} from '../retry.ts';
import {certificatesOf, secureContext, type Certificates, type Tls} from './certificates.ts';
import type {Environment} from './environment.ts';
import {asHttpError, detail, detailLimitBytes, HttpError, isTransientStatus, retryAfterMs} from './error.ts';
import {isFileBody, serverTime, textOf, type HttpRequest, type HttpResponse, type OpenResponse} from './message.ts';
import {proxiesOf, type Proxies} from './proxies.ts';
import {Watch} from './watch.ts';

/** Answers are short; what is longer is not one of ours. */
const answerLimitBytes = 64 << 20;
const redirectLimit = 5;
/** Below the 2 s after which some servers close an idle connection, perhaps just when the next request is sent. */
const keepAliveMs = 1000;

export class HttpClient {
  readonly #proxies: Proxies;
  readonly #certificates: Certificates;
  readonly #dispatchers = new Map<string, Promise<Dispatcher>>();

  /** @throws SdqError (exit 3) for a variable with an address or a file that cannot be used; names it and not its value */
  constructor(env: Environment, tls: Tls = {}) {
    this.#proxies = proxiesOf(env);
    this.#certificates = certificatesOf(env, tls);
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
      rejectUnauthorized: this.#certificates.verify,
      ...(isSecure ? {secureContext: await secureContext(this.#certificates)} : {}),
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
