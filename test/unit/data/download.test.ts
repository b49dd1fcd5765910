import {createHash} from 'node:crypto';
import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import {createServer, type IncomingMessage, type Server, type ServerResponse} from 'node:http';
import type {AddressInfo} from 'node:net';
import path from 'node:path';

import {afterEach, beforeEach, describe, expect, test} from '@jest/globals';

import {download, type Download} from '../../../src/data/download.ts';
import {SdqError} from '../../../src/errors.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const content = Buffer.from(Array.from({length: 100_000}, (_, i) => (i * 7919) >> 3));
const sha256 = createHash('sha256').update(content).digest('hex');

let server: Server;
let handle: (request: IncomingMessage, response: ServerResponse) => void;
let ranges: (string | undefined)[];
let file: string;
let files = 0;

beforeEach(async () => {
  ranges = [];
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
    connectTimeoutMs: 2000,
    idleTimeoutMs: 2000,
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

  test('a file that ends early is asked for three times, then named', async () => {
    handle = (_, response) => response.end(content.subarray(0, 1000));
    expect((await failure()).message).toContain('it sent 1000 of 100000 bytes');
    expect(ranges).toHaveLength(3);
  });

  test('a file that does not end is cut off', async () => {
    handle = (_, response) => response.end(Buffer.concat([content, content]));
    expect((await failure()).message).toContain('it sends more than the 100000 bytes expected');
  });

  test('a status that will not change is not asked again; one that may is', async () => {
    handle = (_, response) => response.writeHead(404).end();
    expect((await failure()).message).toContain('HTTP status 404 Not Found');
    expect(ranges).toHaveLength(1);
    handle = (_, response) => response.writeHead(503).end();
    expect((await failure()).message).toContain('HTTP status 503');
    expect(ranges).toHaveLength(4);
  });

  test('a server that never answers, and one that stalls, time out', async () => {
    handle = () => undefined;
    expect((await failure({connectTimeoutMs: 50})).message).toContain('no answer for 0.05 s');
    handle = (_, response) => response.writeHead(200).write('x');
    expect((await failure({idleTimeoutMs: 50})).message).toContain('no data for 0.05 s');
  });

  test('nobody listening is named at once', async () => {
    const {port} = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const url = `http://127.0.0.1:${port}/data`;
    const signal = new AbortController().signal;
    const options = {bytes: 1, sha256, signal, progress: () => undefined, connectTimeoutMs: 2000, idleTimeoutMs: 2000};
    await expect(download({...options, url, file})).rejects.toThrow('ECONNREFUSED');
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
