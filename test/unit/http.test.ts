/** The HTTP client against servers and proxies on loopback. The part with certificates skips where `openssl` is missing. */
import {execFileSync, spawnSync} from 'node:child_process';
import {getEventListeners} from 'node:events';
import {readFileSync, writeFileSync} from 'node:fs';
import {createServer, request as forward, type IncomingMessage, type RequestListener, type Server} from 'node:http';
import {createServer as createSecureServer} from 'node:https';
import {connect, type AddressInfo, type Socket} from 'node:net';
import path from 'node:path';

import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals';

import {HttpClient} from '../../src/http/client.ts';
import type {HttpRequest} from '../../src/http/message.ts';
import {HttpError, isTransientStatus, retryAfterMs} from '../../src/http/error.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const timeoutMs = 60_000;
const {signal} = new AbortController();

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

const send = (
  env: Readonly<Record<string, string>>,
  url: string,
  changes: Partial<HttpRequest> = {},
): Promise<string> =>
  new HttpClient(env).send({method: 'GET', url, signal, timeoutMs, ...changes}).then(({body}) => body.toString());

async function failure(call: Promise<unknown>): Promise<HttpError> {
  const error = await call.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(HttpError);
  return error as HttpError;
}

test('of the statuses from 400 on only 408, 425, 429 and the 5xx but 501 and 505 are worth another try', () => {
  const transient = Array.from({length: 200}, (_, i) => 400 + i).filter(isTransientStatus);
  const server = Array.from({length: 100}, (_, i) => 500 + i).filter((status) => status !== 501 && status !== 505);
  expect(transient).toEqual([408, 425, 429, ...server]);
  expect([100, 204, 301, 304].filter(isTransientStatus)).toEqual([]);
});

test('Retry-After is seconds or a date, at most a day', () => {
  expect(retryAfterMs('3', 0)).toBe(3000);
  expect(retryAfterMs('Thu, 01 Jan 1970 00:00:10 GMT', 4000)).toBe(6000);
  expect(retryAfterMs('Thu, 01 Jan 1970 00:00:10 GMT', 40_000)).toBe(0);
  expect(retryAfterMs('soon', 0)).toBeUndefined();
  expect(retryAfterMs('99999999', 0)).toBe(86_400_000);
});

describe('a request', () => {
  let handle: RequestListener;
  let server: Server;
  let url: string;
  let connections: number;
  beforeEach(async () => {
    connections = 0;
    server = createServer((request, response) => handle(request, response));
    server.on('connection', () => connections++);
    url = `http://127.0.0.1:${await listen(server)}`;
  });
  afterEach(() => close(server));

  test.each([409, 407, 431, 451])(
    'that is refused with HTTP %d says what the server says, without the query',
    async (status) => {
      handle = (_, response) => response.writeHead(status).end('no\n  https://me:geheim@host such thing');
      const error = await failure(send({}, `${url}/a?token=geheim`));
      expect(error).toMatchObject({
        message: `GET ${url}/a: HTTP ${status}: no https://***@host such thing`,
        isTransient: false,
        status,
      });
    },
  );

  test('that is refused for a while has the pause, by the clock of the server', async () => {
    const date = 'Thu, 01 Jan 1970 01:00:00 GMT';
    handle = (_, response) => {
      response.sendDate = false;
      response.writeHead(503, {date, 'retry-after': 'Thu, 01 Jan 1970 01:00:05 GMT'}).end();
    };
    expect(await failure(send({}, url))).toMatchObject({isTransient: true, retryAfterMs: 5000});
  });

  test('that is redirected is final: what was sent must not go elsewhere', async () => {
    handle = (_, response) => response.writeHead(302, {location: '/other'}).end();
    expect(await failure(send({}, url, {method: 'POST', body: 'x'}))).toMatchObject({isTransient: false, status: 302});
  });

  test('of a file is streamed whole; an answer that comes before the end of it is told', async () => {
    const file = path.join(folder, 'body');
    const content = Buffer.alloc(3_000_000, 'abc');
    writeFileSync(file, content);
    let length = 0;
    handle = (incoming, response) => {
      incoming.on('data', (chunk: Buffer) => (length += chunk.length));
      incoming.on('end', () => response.end(incoming.headers['content-length']));
    };
    const body = {file, size: content.length};
    expect(await send({}, url, {method: 'PUT', body})).toBe('3000000');
    expect(length).toBe(content.length);
    handle = (_, response) => response.writeHead(413, {connection: 'close'}).end('too large');
    expect(await failure(send({}, url, {method: 'PUT', body}))).toMatchObject({status: 413, isTransient: false});
    await expect(send({}, url, {method: 'PUT', body: {file: `${file}.gone`, size: 1}})).rejects.toThrow(/ENOENT/);
  });

  test('ends at its limit and when it is stopped, and leaves no listener on the signal', async () => {
    handle = () => undefined;
    const client = new HttpClient({});
    const stop = new AbortController();
    const request = {method: 'GET', url, signal: stop.signal} as const;
    expect((await failure(client.send({...request, timeoutMs: 50}))).reason).toBe('no answer within 0.05 s');
    handle = (_, response) => void response.writeHead(200).write('x');
    expect((await failure(client.send({...request, timeoutMs: 50}))).reason).toBe('no answer within 0.05 s');
    const stopped = client.send({...request, timeoutMs});
    stop.abort();
    expect(await failure(stopped)).toMatchObject({reason: 'stopped', isTransient: true});
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  });

  test('leaves its connection to the next one', async () => {
    handle = (_, response) => response.end('ok');
    const client = new HttpClient({});
    for (let i = 0; i < 20; i++) await client.send({method: 'GET', url, signal, timeoutMs});
    expect(connections).toBeLessThan(10);
  });

  test('with a header that is none is final', async () => {
    const {isTransient} = await failure(send({}, url, {headers: {authorization: 'Bearer a\nb'}}));
    expect(isTransient).toBe(false);
  });
});

describe('the proxy of the environment', () => {
  const seen: string[] = [];
  const record = ({headers, method, url}: IncomingMessage): void =>
    void seen.push([method, url, headers['proxy-authorization']].filter((part) => part !== undefined).join(' '));
  let refuses: number | undefined;
  // Forwards requests in absolute form, and makes tunnels.
  const proxy = createServer((incoming, outgoing) => {
    record(incoming);
    if (refuses !== undefined) {
      outgoing.writeHead(refuses).end();
      return;
    }
    const {pathname, port} = new URL(incoming.url!);
    const onward = forward({
      host: '127.0.0.1',
      port: port === '' ? targetPort : port,
      path: pathname,
      method: incoming.method,
    });
    onward.on('response', (answer) => answer.pipe(outgoing.writeHead(answer.statusCode!)));
    incoming.pipe(onward);
  });
  const sockets = new Set<Socket>();
  proxy.on('connect', (incoming: IncomingMessage, socket: Socket) => {
    record(incoming);
    sockets.add(socket);
    if (refuses !== undefined) {
      socket.end(`HTTP/1.1 ${refuses} no\r\n\r\n`);
      return;
    }
    const onward = connect(targetPort, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 ok\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    onward.on('error', () => socket.destroy());
    socket.on('error', () => onward.destroy());
  });
  const target = createServer((_, response) => response.end('the target'));
  let proxyPort = 0;
  let targetPort = 0;
  beforeAll(async () => {
    proxyPort = await listen(proxy);
    targetPort = await listen(target);
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    await Promise.all([close(proxy), close(target)]);
  });
  beforeEach(() => {
    seen.length = 0;
    refuses = undefined;
  });

  test.each(['HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'])(
    '%s gets requests in absolute form',
    async (name) => {
      expect(await send({[name]: `http://127.0.0.1:${proxyPort}`}, 'http://mlflow.corp.invalid/x')).toBe('the target');
      expect(seen).toEqual(['GET http://mlflow.corp.invalid/x']);
    },
  );

  test('user and password reach it, also with %-codes, also without a password, and no scheme is http', async () => {
    const url = 'http://mlflow.corp.invalid/';
    await send({HTTP_PROXY: `http://jo%40e:p%2Fss@127.0.0.1:${proxyPort}`}, url);
    await send({HTTP_PROXY: `http://token@127.0.0.1:${proxyPort}`}, url);
    await send({HTTP_PROXY: `127.0.0.1:${proxyPort}`}, url);
    const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
    expect(seen).toEqual([`GET ${url} ${basic('jo@e:p/ss')}`, `GET ${url} ${basic('token:')}`, `GET ${url}`]);
  });

  test('small letters go before capitals, also empty ones; that of the other protocol is not used', async () => {
    const there = `http://127.0.0.1:${proxyPort}`;
    const url = `http://127.0.0.1:${targetPort}/`;
    await send({http_proxy: '', HTTP_PROXY: there}, url);
    await send({HTTPS_PROXY: there}, url);
    await send({HTTP_PROXY: ''}, url);
    expect(seen).toEqual([]);
  });

  test.each([
    ['*', true],
    ['127.0.0.1', true],
    ['localhost,127.0.0.1:PORT', true],
    ['127.0.0.1:1', false],
    ['127.0.0.0/8', true],
    ['10.0.0.0/8 ::1/128', false],
    ['', false],
  ])('NO_PROXY=%s', async (entry, isDirect) => {
    for (const name of ['NO_PROXY', 'no_proxy']) {
      seen.length = 0;
      const env = {HTTP_PROXY: `http://127.0.0.1:${proxyPort}`, [name]: entry.replace('PORT', String(targetPort))};
      await send(env, `http://127.0.0.1:${targetPort}/`);
      expect(seen).toHaveLength(isDirect ? 0 : 1);
    }
  });

  test.each(['corp.invalid', '.corp.invalid', '*.corp.invalid', 'MLFLOW.corp.invalid'])(
    'NO_PROXY=%s has the hosts below it too',
    async (entry) => {
      const env = {HTTP_PROXY: `http://127.0.0.1:${proxyPort}`, NO_PROXY: entry};
      await expect(send(env, 'http://mlflow.corp.invalid/')).rejects.toThrow(/the host is not known/);
      expect(await send(env, 'http://mlflowcorp.invalid/')).toBe('the target');
    },
  );

  test.each([
    [407, false],
    [502, true],
  ])('that answers HTTP %d itself is named, and tried again only where that may help', async (status, isTransient) => {
    refuses = status;
    const env = {HTTP_PROXY: `http://127.0.0.1:${proxyPort}`, HTTPS_PROXY: `http://127.0.0.1:${proxyPort}`};
    expect(await failure(send(env, 'http://mlflow.corp.invalid/'))).toMatchObject({status, isTransient});
    const {reason, ...error} = await failure(send(env, 'https://mlflow.corp.invalid/'));
    expect({reason, ...error}).toMatchObject({reason: `the proxy answered HTTP ${status}`, status, isTransient});
    expect(seen.at(-1)).toMatch(/^CONNECT mlflow\.corp\.invalid:443/);
  });

  test.each(['http://joe:p/ss@proxy:3128', 'ftp://joe:p-ss@proxy', 'http://joe:p%ss@proxy'])(
    '%s is refused with the name of the variable and not its value',
    (value) => {
      const make = (): HttpClient => new HttpClient({HTTPS_PROXY: value});
      expect(make).toThrow(/^HTTPS_PROXY \(or ALL_PROXY\) is not the address of a proxy/);
      expect(make).not.toThrow(/joe|p.ss/);
    },
  );

  const describeWithOpenssl = spawnSync('openssl', ['version']).status === 0 ? describe : describe.skip;
  describeWithOpenssl('and certificates (openssl)', () => {
    const [key, certificate, other] = ['key.pem', 'certificate.pem', 'other.pem'].map((name) =>
      path.join(folder, name),
    );
    const make = (file: string): void => {
      const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:secure.corp.invalid'];
      const kind = [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '1',
      ];
      execFileSync('openssl', [...kind, '-keyout', key!, '-out', file, ...names], {stdio: 'ignore'});
    };
    let secure: Server;
    let securePort = 0;
    beforeAll(async () => {
      make(other!);
      make(certificate!);
      const files = {key: readFileSync(key!), cert: readFileSync(certificate!)};
      secure = createSecureServer(files, (_, response) => response.end('secure'));
      securePort = await listen(secure);
    });
    afterAll(() => close(secure));

    test.each(['REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'SSL_CERT_FILE'])('%s names the authorities', async (name) => {
      const url = `https://127.0.0.1:${securePort}/`;
      expect(await send({[name]: certificate!}, url)).toBe('secure');
      const {message, isTransient} = await failure(send({[name]: other!}, url));
      expect({message, isTransient}).toEqual({message: expect.stringMatching(/certificate/), isTransient: true});
      const all = path.join(folder, 'all.pem');
      writeFileSync(all, `${readFileSync(other!, 'utf8')}\n${readFileSync(certificate!, 'utf8')}`);
      expect(await send({[name]: all}, url)).toBe('secure');
      expect(() => new HttpClient({[name]: path.join(folder, 'gone.pem')})).toThrow(
        new RegExp(`^${name}: Cannot read .*gone\\.pem: no such file`),
      );
      expect(() => new HttpClient({[name]: key!})).toThrow(new RegExp(`^${name}: .* holds no PEM text`));
    });

    test('those of NODE_EXTRA_CA_CERTS are added to them, and a folder holds them all', async () => {
      const url = `https://127.0.0.1:${securePort}/`;
      expect(await send({SSL_CERT_FILE: other!, NODE_EXTRA_CA_CERTS: certificate!}, url)).toBe('secure');
      expect(await send({REQUESTS_CA_BUNDLE: folder}, url)).toBe('secure');
    });

    test('the message names the remedy', async () => {
      const {reason} = await failure(send({}, `https://127.0.0.1:${securePort}/`));
      expect(reason).toMatch(/self-signed; .*SSL_CERT_FILE, REQUESTS_CA_BUNDLE or NODE_EXTRA_CA_CERTS/);
    });

    test.each(['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY'])(
      '%s makes a tunnel, and the certificate is checked',
      async (name) => {
        const before = targetPort;
        targetPort = securePort;
        try {
          const env = {[name]: `http://me:pw@127.0.0.1:${proxyPort}`, SSL_CERT_FILE: certificate!};
          expect(await send(env, 'https://secure.corp.invalid/')).toBe('secure');
          expect(seen).toEqual(['CONNECT secure.corp.invalid:443 Basic bWU6cHc=']);
          const wrong = {...env, SSL_CERT_FILE: other!};
          expect((await failure(send(wrong, 'https://secure.corp.invalid/'))).message).toMatch(/certificate/);
          const client = new HttpClient(wrong, {verify: false});
          const url = 'https://secure.corp.invalid/';
          expect((await client.send({method: 'GET', url, signal, timeoutMs})).status).toBe(200);
        } finally {
          targetPort = before;
        }
      },
    );
  });
});
