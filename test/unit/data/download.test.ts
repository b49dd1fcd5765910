import {createHash} from 'node:crypto';
import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import {createServer, type IncomingMessage, type Server, type ServerResponse} from 'node:http';
import type {AddressInfo} from 'node:net';
import path from 'node:path';

import {afterEach, beforeEach, describe, expect, test} from '@jest/globals';

import {download, type Download} from '../../../src/data/download.ts';
import {SdqError} from '../../../src/errors.ts';
import type {Clock} from '../../../src/retry.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const content = Buffer.from(Array.from({length: 100_000}, (_, i) => (i * 7919) >> 3));
const sha256 = createHash('sha256').update(content).digest('hex');

let server: Server;
let handle: (request: IncomingMessage, response: ServerResponse) => void;
let ranges: (string | undefined)[];
let file: string;
let files = 0;
/** What was waited for between two tries; nothing is in truth. */
let pauses: number[];
const clock: Clock = {
  now: () => 0,
  wait(ms) {
    pauses.push(ms);
    return Promise.resolve();
  },
};

beforeEach(async () => {
  ranges = [];
  pauses = [];
  file = path.join(folder, `${files++}.part`);
  server = createServer((request, response) => {
    ranges.push(request.headers.range);
    handle(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function start(changes: Partial<Download> = {}): Promise<void> {
  return download({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/data`,
    file,
    bytes: content.length,
    sha256,
    signal: new AbortController().signal,
    progress: () => undefined,
    connectTimeoutMs: 60_000,
    idleTimeoutMs: 60_000,
    env: {},
    clock,
    ...changes,
  });
}

async function failure(changes: Partial<Download> = {}): Promise<SdqError> {
  const error = await start(changes).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(SdqError);
  return error as SdqError;
}

/** A server that understands ranges; sends at most `limit` bytes of each answer, then drops the connection. */
function serve(limit = Infinity) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const rest = content.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, {
      'content-length': rest.length,
      ...(from > 0 ? {'content-range': `bytes ${from}-${content.length - 1}/${content.length}`} : {}),
    });
    if (rest.length <= limit) response.end(rest);
    else response.write(rest.subarray(0, limit), () => setTimeout(() => response.destroy(), 20));
  };
}

describe('download', () => {
  test('brings the file and tells how far it is', async () => {
    handle = serve();
    const seen: number[] = [];
    await start({progress: (done) => seen.push(done)});
    expect(readFileSync(file)).toEqual(content);
    expect(seen[0]).toBe(0);
    expect(seen.at(-1)).toBe(content.length);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  test('goes on where an earlier process stopped', async () => {
    handle = serve();
    writeFileSync(file, content.subarray(0, 60_000));
    await start();
    expect(ranges).toEqual(['bytes=60000-']);
    expect(readFileSync(file)).toEqual(content);
  });

  test('a dropped connection is resumed as long as bytes arrive', async () => {
    handle = serve(15_000);
    await start();
    expect(readFileSync(file)).toEqual(content);
    expect(ranges.length).toBeGreaterThanOrEqual(7);
    // A connection may drop before its first byte has arrived: nothing is there to be resumed yet.
    const resumed = ranges.findIndex((range) => range !== undefined);
    expect(resumed).toBeGreaterThan(0);
    expect(ranges.slice(resumed)).not.toContain(undefined);
  });

  test('a whole file that is there needs no server', async () => {
    writeFileSync(file, content);
    await start();
    expect(ranges).toEqual([]);
  });

  test('a server without ranges starts again from byte 0', async () => {
    handle = (_, response) => response.end(content);
    writeFileSync(file, content.subarray(0, 500));
    await start();
    expect(readFileSync(file)).toEqual(content);
  });

  test('a server that answers another range than asked is not believed', async () => {
    const good = serve();
    handle = (request, response) => {
      if (request.headers.range === undefined) {
        good(request, response);
        return;
      }
      response.writeHead(206, {'content-range': `bytes 0-9/${content.length}`}).end(content.subarray(0, 10));
    };
    writeFileSync(file, content.subarray(0, 500));
    await start();
    expect(readFileSync(file)).toEqual(content);
  });

  test('an earlier part of another file is dropped, once', async () => {
    handle = serve();
    writeFileSync(file, Buffer.alloc(60_000));
    await start();
    expect(ranges).toEqual(['bytes=60000-', undefined]);
    expect(readFileSync(file)).toEqual(content);
  });

  test('a wrong digest is named, and the file does not stay', async () => {
    handle = (_, response) => response.end(Buffer.alloc(content.length));
    const {message, oclif} = await failure();
    expect(message).toContain(`${sha256} is expected`);
    expect(oclif.exit).toBe(6);
    expect(existsSync(file)).toBe(false);
  });

  test('a file that ends early is asked for as long as it grows and three times more, then named', async () => {
    handle = (_, response) => response.end(content.subarray(0, 1000));
    expect((await failure()).message).toContain('it sent 1000 of 100000 bytes');
    expect(ranges).toEqual([undefined, 'bytes=1000-', 'bytes=1000-', 'bytes=1000-']);
  });

  test('a file that does not end is cut off', async () => {
    handle = (_, response) => response.end(Buffer.concat([content, content]));
    expect((await failure()).message).toContain('it sends more than the 100000 bytes expected');
  });

  test.each([404, 403, 407, 416, 451, 501])('HTTP %d will not change: it is asked once', async (status) => {
    handle = (_, response) => response.writeHead(status).end('no such file');
    const {message, oclif} = await failure();
    expect({message, exit: oclif.exit}).toEqual({
      message: expect.stringContaining(`/data: HTTP ${status}: no such file.`),
      exit: 6,
    });
    expect(ranges).toHaveLength(1);
    expect(pauses).toEqual([]);
  });

  test.each([503, 500, 429, 408, 425])(
    'HTTP %d may change: it is asked three times, with growing pauses',
    async (status) => {
      handle = (_, response) => response.writeHead(status).end();
      expect((await failure()).message).toContain(`HTTP ${status}`);
      expect(ranges).toHaveLength(3);
      expect(pauses).toHaveLength(2);
      expect(pauses[0]).toBeGreaterThanOrEqual(750);
      expect(pauses[1]).toBeGreaterThanOrEqual(1500);
    },
  );

  test('a pause that the server asks for is kept, and one over two minutes not waited for', async () => {
    const good = serve();
    let after = '7';
    handle = (request, response) => {
      if (ranges.length > 1) good(request, response);
      else response.writeHead(429, {'retry-after': after}).end();
    };
    await start();
    expect(pauses).toEqual([7000]);
    expect(readFileSync(file)).toEqual(content);
    ranges = [];
    after = '3600';
    expect((await failure({file: `${file}.2`})).message).toContain('HTTP 429');
    expect(pauses).toEqual([7000]);
  });

  test('a redirect is followed, an endless one is not', async () => {
    const good = serve();
    handle = (request, response) => {
      if (request.url === '/data') response.writeHead(302, {location: '/moved'}).end();
      else good(request, response);
    };
    await start();
    expect(readFileSync(file)).toEqual(content);
    handle = (_, response) => response.writeHead(301, {location: '/data'}).end();
    expect((await failure({file: `${file}.2`})).message).toContain('more than 5 redirects');
  });

  test('a server that never answers, and one that stalls, time out', async () => {
    handle = () => undefined;
    expect((await failure({connectTimeoutMs: 50})).message).toContain('no answer within 0.05 s');
    handle = (_, response) => response.writeHead(200).write('x');
    expect((await failure({idleTimeoutMs: 50})).message).toContain('no data within 0.05 s');
  });

  test('nobody listening is named', async () => {
    const {port} = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const signal = new AbortController().signal;
    const options = {
      bytes: 1,
      sha256,
      signal,
      progress: () => undefined,
      connectTimeoutMs: 60_000,
      idleTimeoutMs: 60_000,
    };
    const url = `http://127.0.0.1:${port}/data`;
    await expect(download({...options, env: {}, clock, url, file})).rejects.toThrow(`${url}: connection refused.`);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });

  test('a stop keeps the part for the next time', async () => {
    const stop = new AbortController();
    handle = (_, response) => {
      response.writeHead(200).write(content.subarray(0, 30_000));
    };
    const stopped = start({signal: stop.signal, progress: (done) => done > 0 && stop.abort(new Error('stop now'))});
    await expect(stopped).rejects.toThrow('stop now');
    const part = readFileSync(file);
    expect(part.length).toBeGreaterThan(0);
    expect(part).toEqual(content.subarray(0, part.length));
  });

  test('a folder that does not exist is a file error, not a network error', async () => {
    handle = serve();
    const error = await failure({file: path.join(folder, 'absent', 'file')});
    expect(error.code).toBe('cannot-write-file');
  });
});
