import {spawn, spawnSync} from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {once} from 'node:events';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {interceptFs} from '../helpers/intercepted-fs.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const fs = interceptFs();
const {checkWritable, makeFolder, readFileBounded, sha256Of, writeFileAtomic} = await import('../../src/files.ts');

const folder = temporaryFolder();
const inFolder = (...parts: string[]): string => path.join(folder, ...parts);
const posix = process.platform === 'win32' ? test.skip : test;

describe('makeFolder', () => {
  test('makes all that are missing, and takes those that are there', () => {
    for (let i = 0; i < 2; i++) makeFolder(inFolder('one', 'two', 'three'));
    expect(statSync(inFolder('one', 'two', 'three')).isDirectory()).toBe(true);
  });

  test('names the file that is in the way', () => {
    writeFileSync(inFolder('plain'), '');
    expect(() => makeFolder(inFolder('plain'))).toThrow('EEXIST');
    expect(() => makeFolder(inFolder('plain', 'below', 'it'))).toThrow('ENOTDIR');
  });

  (existsSync('/proc/self') ? test : test.skip)('ends where the system lets nobody make any', () => {
    expect(() => makeFolder('/proc/none/below')).toThrow('ENOENT');
    expect(() => writeFileAtomic('/proc/none/file', '')).toThrow('/proc/none/file');
  });
});

describe('writeFileAtomic', () => {
  test('syncs the file before it renames it, and the folder afterwards', () => {
    const calls: string[] = [];
    fs.during(
      (name, _, call) => {
        if (['writeSync', 'fsyncSync', 'renameSync'].includes(name)) calls.push(name);
        return call();
      },
      () => writeFileAtomic(inFolder('new', 'a.txt'), 'content'),
    );
    expect(calls).toEqual(['writeSync', 'fsyncSync', 'renameSync', 'fsyncSync']);
    expect(readFileSync(inFolder('new', 'a.txt'), 'utf8')).toBe('content');
  });

  test('leaves the old file and no draft when the disk is full', () => {
    const file = inFolder('full', 'a.txt');
    writeFileAtomic(file, 'old');
    const write = (): void =>
      fs.during(
        (name, _, call) => {
          if (name === 'fsyncSync') throw Object.assign(new Error('ENOSPC'), {code: 'ENOSPC', syscall: 'fsync'});
          return call();
        },
        () => writeFileAtomic(file, 'new'),
      );
    expect(write).toThrow(expect.objectContaining({message: `Cannot write ${file}: the disk is full.`}));
    expect(readFileSync(file, 'utf8')).toBe('old');
    expect(readdirSync(inFolder('full'))).toEqual(['a.txt']);
  });

  posix('follows symbolic links, to files that do not exist too, and keeps the mode', () => {
    mkdirSync(inFolder('links', 'target'), {recursive: true});
    writeFileSync(inFolder('links', 'target', 'real'), 'old');
    chmodSync(inFolder('links', 'target', 'real'), 0o600);
    symlinkSync('target/real', inFolder('links', 'to-real'));
    symlinkSync('to-real', inFolder('links', 'to-link'));
    symlinkSync('target/none', inFolder('links', 'to-none'));
    for (const [link, target, names] of [
      ['to-link', 'real', 'to-real'],
      ['to-none', 'none', 'target/none'],
    ] as const) {
      checkWritable(inFolder('links', link));
      writeFileAtomic(inFolder('links', link), 'new');
      expect(readlinkSync(inFolder('links', link))).toBe(names);
      expect(readFileSync(inFolder('links', 'target', target), 'utf8')).toBe('new');
    }
    expect(statSync(inFolder('links', 'target', 'real')).mode & 0o777).toBe(0o600);
    expect(readdirSync(inFolder('links', 'target')).toSorted()).toEqual(['none', 'real']);
    symlinkSync('loop', inFolder('links', 'loop'));
    expect(() => checkWritable(inFolder('links', 'loop'))).toThrow(/Cannot write .*loop/);
  });

  posix('writes straight to a character device', () => {
    checkWritable('/dev/null');
    writeFileAtomic('/dev/null', 'content');
    expect(lstatSync('/dev/null').isCharacterDevice()).toBe(true);
  });

  posix('writes straight to a FIFO that somebody reads, and waits for no reader', async () => {
    const fifo = inFolder('fifo');
    expect(spawnSync('mkfifo', [fifo]).status).toBe(0);
    checkWritable(fifo);
    expect(() => writeFileAtomic(fifo, 'content')).toThrow(/nobody reads from it/);
    const reader = spawn('cat', [fifo], {stdio: ['ignore', 'pipe', 'inherit']});
    let read = '';
    reader.stdout.on('data', (chunk: Buffer) => (read += chunk.toString()));
    // More than a pipe holds; tried until the reader has opened it.
    const content = 'x'.repeat(200_000);
    for (let isDone = false; !isDone;) {
      try {
        writeFileAtomic(fifo, content);
        isDone = true;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
    await once(reader, 'close');
    expect(read.length).toBe(content.length);
    expect(lstatSync(fifo).isFIFO()).toBe(true);
  });

  test('a folder and - are refused beforehand', () => {
    expect(() => checkWritable(folder)).toThrow('it is a folder');
    expect(() => writeFileAtomic(folder, '')).toThrow('it is a folder');
    expect(() => checkWritable('-')).toThrow(expect.objectContaining({oclif: {exit: 6}}));
    expect(existsSync('-')).toBe(false);
  });
});

describe('large files', () => {
  test('are read, written and digested in parts that the system takes', () => {
    const file = inFolder('parts');
    const content = Buffer.from('0123456789');
    // A system that transfers at most four bytes a call.
    const few: Parameters<typeof fs.during>[0] = (name, args, call) => {
      if (name !== 'readSync' && name !== 'writeSync') return call();
      const [fd, bytes, offset, length, position] = args as [number, Uint8Array, number, number, number | null];
      expect(length).toBeLessThanOrEqual(2 ** 30);
      const transfer = fs.original[name] as (...all: unknown[]) => unknown;
      return transfer(fd, bytes, offset, Math.min(4, length), position);
    };
    fs.during(few, () => {
      writeFileAtomic(file, content);
      expect(Buffer.from(readFileBounded(file, 10))).toEqual(content);
    });
    expect(readFileSync(file, 'utf8')).toBe('0123456789');
    expect(() => readFileBounded(file, 9)).toThrow('has 10 bytes; at most 9 are read');
    // printf 0123456789 | sha256sum
    expect(sha256Of(content)).toBe('84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882');
  });
});
