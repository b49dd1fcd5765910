import {createHash} from 'node:crypto';
import {chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import type {PinnedFile} from '../../../../src/data/pinned-files.ts';
import {ExitCode, SdqError} from '../../../../src/errors.ts';
import {writeFileAtomic} from '../../../../src/files.ts';
import {acquireLock} from '../../../../src/lock.ts';
import {fetchFiles, type Source} from '../../../../src/plugins/datasets/fetch-files.ts';
import type {FetchContext} from '../../../../src/plugin-api/registry.ts';
import {smallDisk} from '../../../helpers/full-disk.ts';
import {temporaryFolder} from '../../../helpers/temporary-folder.ts';

const root = temporaryFolder();
const disk = smallDisk(64);
const testOnDisk = disk === undefined ? test.skip : test;
const contents = {'one.bin': 'content of one', 'two.bin': 'content of two'};
const files: readonly PinnedFile[] = Object.entries(contents).map(([name, content]) => ({
  name,
  bytes: content.length,
  algorithm: 'sha256',
  digest: createHash('sha256').update(content).digest('hex'),
}));

interface Recorded extends FetchContext {
  readonly notices: string[];
}

function contextIn(directory: string, changes: Partial<FetchContext> = {}): Recorded {
  const notices: string[] = [];
  return {
    directory,
    signal: new AbortController().signal,
    progress: () => undefined,
    notice: (message) => notices.push(message),
    notices,
    ...changes,
  };
}

const freshFolder = (): string => mkdtempSync(path.join(root, 'set-'));

function sourceOf(name: string, what: Readonly<Record<string, string>>): Source & {asked: number} {
  const source = {
    name,
    asked: 0,
    stage(staging: string): Promise<void> {
      source.asked++;
      for (const [file, content] of Object.entries(what)) writeFileSync(path.join(staging, file), content);
      return Promise.resolve();
    },
  };
  return source;
}

const unreachable: Source = {
  name: 'far',
  stage: () =>
    Promise.reject(new SdqError('far.example: no answer.', {code: 'download-failed', exit: ExitCode.notAvailable})),
};

const noFrom = (): Promise<void> => Promise.reject(new Error('not asked for'));
const fetchTo = (context: FetchContext, ...sources: Source[]): Promise<void> =>
  fetchFiles('made', files, sources, noFrom, context);

function expectComplete(directory: string): void {
  expect(readdirSync(directory).toSorted()).toEqual(['one.bin', 'two.bin']);
  for (const [name, content] of Object.entries(contents)) {
    expect(readFileSync(path.join(directory, name), 'utf8')).toBe(content);
  }
}

describe('fetchFiles', () => {
  test('takes the first source that works, and names the one that does not', async () => {
    const context = contextIn(freshFolder());
    const [good, spare] = [sourceOf('good', contents), sourceOf('spare', contents)];
    await fetchTo(context, unreachable, good, spare);
    expectComplete(context.directory);
    expect(context.notices).toEqual([
      'Fetching made, source far.',
      'Source far of made failed: far.example: no answer.',
      'Fetching made, source good.',
    ]);
    expect(spare.asked).toBe(0);
  });

  test('files that are there and right need no source; one wrong byte does', async () => {
    const context = contextIn(freshFolder());
    const source = sourceOf('good', contents);
    await fetchTo(context, source);
    await fetchTo(context, source);
    expect(source.asked).toBe(1);
    writeFileSync(path.join(context.directory, 'one.bin'), 'content of onf');
    await fetchTo(context, source);
    expect(source.asked).toBe(2);
    expectComplete(context.directory);
  });

  test('a source with a wrong file is named with both digests, and none of its files is kept', async () => {
    const context = contextIn(freshFolder());
    await fetchTo(context, sourceOf('bad', {...contents, 'two.bin': 'content of tvo'}), sourceOf('good', contents));
    expect(context.notices[1]).toMatch(/Source bad of made failed: .*two\.bin has sha256 .* is expected\./);
    expectComplete(context.directory);

    const alone = contextIn(freshFolder());
    await expect(fetchTo(alone, sourceOf('bad', {'one.bin': contents['one.bin']}))).rejects.toThrow(
      'two.bin is missing.',
    );
    expect(readdirSync(alone.directory)).toEqual([]);
  });

  test('when every source fails the error names each, with exit code 6', async () => {
    const failed = fetchTo(contextIn(freshFolder()), unreachable, sourceOf('empty', {}));
    await expect(failed).rejects.toMatchObject({code: 'dataset-not-available', oclif: {exit: 6}});
    await expect(failed).rejects.toThrow(/far\.example: no answer\. .*one\.bin is missing\./);
  });

  test('--source takes that one only', async () => {
    const [first, second] = [sourceOf('first', contents), sourceOf('second', contents)];
    await fetchTo(contextIn(freshFolder(), {source: 'second'}), first, second);
    expect([first.asked, second.asked]).toEqual([0, 1]);
  });

  test('--from asks no source, and a wrong file in the folder is an error', async () => {
    const source = sourceOf('good', contents);
    const from = freshFolder();
    const copy = (folder: string, staging: string): Promise<void> => {
      writeFileSync(path.join(staging, 'one.bin'), readFileSync(path.join(folder, 'one.bin')));
      return Promise.resolve();
    };
    writeFileSync(path.join(from, 'one.bin'), contents['one.bin']);
    const context = contextIn(freshFolder(), {from});
    await expect(fetchFiles('made', files, [source], copy, context)).rejects.toMatchObject({oclif: {exit: 3}});
    expect(source.asked).toBe(0);
    expect(readdirSync(context.directory)).toEqual([]);
  });

  test('a stop leaves no file, and no other source is tried', async () => {
    const stop = new AbortController();
    const context = contextIn(freshFolder(), {signal: stop.signal});
    const stopped: Source = {
      name: 'stopped',
      stage(staging) {
        writeFileSync(path.join(staging, 'one.bin'), contents['one.bin']);
        stop.abort(new Error('stop now'));
        return Promise.reject(new SdqError('cut off', {code: 'download-failed', exit: ExitCode.notAvailable}));
      },
    };
    const spare = sourceOf('spare', contents);
    await expect(fetchTo(context, stopped, spare)).rejects.toThrow('stop now');
    expect(readdirSync(context.directory)).toEqual([]);
    expect(spare.asked).toBe(0);
  });

  test('what a killed process left half staged is removed', async () => {
    const context = contextIn(freshFolder());
    mkdirSync(path.join(context.directory, '.staging'));
    writeFileSync(path.join(context.directory, '.staging', 'one.bin'), 'half');
    await fetchTo(context, sourceOf('good', {'two.bin': contents['two.bin'], 'one.bin': contents['one.bin']}));
    expectComplete(context.directory);
  });

  test('two at once: one fetches, the other waits, says so, and finds the files', async () => {
    const directory = freshFolder();
    const [first, second] = [contextIn(directory), contextIn(directory)];
    const source = sourceOf('good', contents);
    const slow: Source = {
      name: 'slow',
      async stage(staging, context) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        await source.stage(staging, context);
      },
    };
    await Promise.all([fetchTo(first, slow), fetchTo(second, slow)]);
    expect(source.asked).toBe(1);
    expect(second.notices[0]).toContain(`${directory} is in use by process ${process.pid}. Waiting for it.`);
    expectComplete(directory);
  });

  test('waiting for another process ends with the stop', async () => {
    const stop = new AbortController();
    const context = contextIn(freshFolder(), {signal: stop.signal});
    const lock = acquireLock(context.directory);
    setTimeout(() => stop.abort(), 50);
    await expect(fetchTo(context, sourceOf('good', contents))).rejects.toThrow('abort');
    lock.release();
  });

  test('a bug in a source is not taken for a source that fails', async () => {
    const buggy: Source = {name: 'buggy', stage: () => Promise.reject(new TypeError('not a function'))};
    await expect(fetchTo(contextIn(freshFolder()), buggy, sourceOf('good', contents))).rejects.toThrow(TypeError);
  });

  testOnDisk(
    'a full disk ends it with the file named, tries no other source and leaves nothing (needs root)',
    async () => {
      const folder = disk!;
      const spare = sourceOf('spare', contents);
      const large: Source = {
        name: 'large',
        stage: (staging) => {
          writeFileAtomic(path.join(staging, 'one.bin'), Buffer.alloc(1 << 20));
          return Promise.resolve();
        },
      };
      const failed = fetchTo(contextIn(folder), large, spare);
      await expect(failed).rejects.toThrow(
        `Cannot write ${path.join(folder, '.staging', 'one.bin')}: the disk is full.`,
      );
      await expect(failed).rejects.toMatchObject({oclif: {exit: 6}});
      expect(spare.asked).toBe(0);
      expect(readdirSync(folder)).toEqual([]);
    },
  );

  test('a folder that cannot be written is named', async () => {
    const directory = freshFolder();
    const absent = path.join(directory, 'absent');
    await expect(fetchTo(contextIn(absent), sourceOf('good', contents))).rejects.toMatchObject({
      code: 'cannot-write-file',
      oclif: {exit: 6},
    });
    if (process.getuid?.() === 0) return; // root writes everywhere
    chmodSync(directory, 0o500);
    await expect(fetchTo(contextIn(directory), sourceOf('good', contents))).rejects.toThrow('permission denied');
    expect(existsSync(path.join(directory, 'one.bin'))).toBe(false);
  });
});
