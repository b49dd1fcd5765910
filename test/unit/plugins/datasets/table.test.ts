/** The data set of the user's own rows: which columns and rows go where, what they become, and how wrong cells are told. */
import {mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import type {Split} from '../../../../src/data/dataset.ts';
import {table} from '../../../../src/plugins/datasets/table.ts';
import {root} from '../../../helpers/result-schemas.ts';
import {temporaryFolder} from '../../../helpers/temporary-folder.ts';

const base = temporaryFolder();
type Options = Parameters<typeof table.open>[1];

function folderOf(files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = mkdtempSync(path.join(base, 'table-'));
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(folder, name), content);
  return folder;
}

/** Rows of a split as text: its numbers and its class. */
function rowsOf(split: Split, classes: readonly string[]): string[] {
  if (split.kind !== 'rows') throw new Error('not rows');
  const width = split.rows.length / split.labels.length;
  return [...split.labels].map(
    (label, row) => `${[...split.rows.slice(row * width, (row + 1) * width)].join(' ')} ${classes[label]!}`,
  );
}

const open = (files: Readonly<Record<string, string | Uint8Array>>, options: Options) =>
  table.open(folderOf(files), options);

const refused = async (
  files: Readonly<Record<string, string | Uint8Array>>,
  options: Options = {},
): Promise<string> => {
  const folder = folderOf(files);
  const error: unknown = await table.open(folder, options).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({name: 'SdqError', oclif: {exit: 3}});
  expect(await table.verify(folder, options)).toContain((error as Error).message);
  return (error as Error).message.replaceAll(`${folder}${path.sep}`, '');
};

describe('columns', () => {
  test('the label is what is learned, and all others but the index of pandas are read', async () => {
    const train = ',x,label,"a ""b"", c"\r\n0,1.5,b, 2 \r\n\r\n1,-3e1,a,"4"\r\n2,True,b,.5\r\n';
    const dataset = await open(
      {'train.csv': `﻿${train}`, 'test.csv': ',x,label,"a ""b"", c"\n0,7,a,8\n'},
      {test: 'test.csv'},
    );
    expect(dataset).toMatchObject({name: 'table', classes: ['a', 'b'], channels: 2, height: 1, width: 1});
    expect(rowsOf(dataset.train, dataset.classes).sort()).toEqual(['-30 4 a', '1 0.5 b', '1.5 2 b']);
    expect(rowsOf(dataset.test, dataset.classes)).toEqual(['7 8 a']);
  });

  test('columns chooses them and their order, also of the test file, and ignore leaves some out', async () => {
    const files = {'t.tsv': 'id\tx\ty\tkind\n7\t1\t2\t0\n8\t3\t4\t1\n', 'u.tsv': 'kind\ty\tx\n1\t20\t10\n'};
    const chosen = await open(files, {file: 't.tsv', test: 'u.tsv', label: 'kind', columns: ['y', 'x']});
    expect(rowsOf(chosen.train, chosen.classes).sort()).toEqual(['2 1 0', '4 3 1']);
    expect(rowsOf(chosen.test, chosen.classes)).toEqual(['20 10 1']);
    const rest = await open(files, {file: 't.tsv', test: 'u.tsv', label: 'kind', ignore: ['id']});
    expect(rowsOf(rest.test, rest.classes)).toEqual(['10 20 1']);
  });

  test('without a header they are numbered; another separator; classes that are numbers are in their order', async () => {
    const {classes, train} = await open(
      {'a.data': '1;2;10\n3;4;9\n5;6;10\n', 'b.data': '0;0;9\n'},
      {file: 'a.data', test: 'b.data', header: false, delimiter: ';', label: '3'},
    );
    expect(classes).toEqual(['9', '10']);
    expect(rowsOf(train, classes).sort()).toEqual(['1 2 10', '3 4 9', '5 6 10']);
  });

  test('targets are numbers to learn, of as many columns as are named', async () => {
    const files = {'train.csv': 'x,p,q\n1,2,3\n4,5,6\n', 'test.csv': 'x,p,q\n7,8,9\n'};
    const {classes, values, train, test: held} = await open(files, {test: 'test.csv', targets: ['q', 'p']});
    expect({classes, values}).toEqual({classes: [], values: ['q', 'p']});
    expect([...held.targets!]).toEqual([9, 8]);
    expect([...train.targets!].sort()).toEqual([2, 3, 5, 6]);
  });

  test('a file whose columns do not fit is refused, with what it has', async () => {
    expect(await refused({'train.csv': 'a,b\n1,2\n'})).toBe('train.csv has no column "label". Its columns: "a", "b".');
    expect(await refused({'train.csv': 'a,a,label\n1,2,x\n'})).toBe('train.csv has two columns "a".');
    expect(await refused({'train.csv': 'label\nx\n'})).toBe('train.csv has no column of numbers beside "label".');
    expect(await refused({'train.csv': 'a,label\n1,x\n'}, {columns: ['a', 'label']})).toBe(
      'train.csv: the column "label" is named twice in data.options.',
    );
    const files = {'train.csv': 'a,label\n1,x\n', 'test.csv': 'b,label\n1,x\n'};
    expect(await refused(files, {test: 'test.csv'})).toBe('test.csv has no column "a". Its columns: "b", "label".');
    expect(await refused(files, {test: 'test.csv', testShare: 0.5})).toBe(
      'data.options has both test and testShare; one of them is allowed.',
    );
  });
});

describe('cells', () => {
  const message = (cell: string, label = 'x'): Promise<string> =>
    refused({'train.csv': `a,b,label\n1,2,x\n\n3,${cell},${label}\n`});

  test('what is no finite number of float32 is refused by file, line and column', async () => {
    expect(await message('red')).toBe('train.csv, line 4: the column "b" has "red"; a number is needed.');
    expect(await message('')).toBe('train.csv, line 4: the column "b" is empty; a number is needed.');
    for (const cell of ['NaN', '1e39', 'Infinity', '0x10', '1 2', '--1', '.']) {
      expect(await message(cell)).toBe(`train.csv, line 4: the column "b" has "${cell}"; a number is needed.`);
    }
    expect(await message('1', '')).toBe('train.csv, line 4: the column "label" is empty; a class is needed.');
  });

  test('verify names all wrong cells, up to twenty', async () => {
    const wrong = Array.from({length: 30}, (_, i) => `${i % 2 === 0 ? '?' : '1'},x\n`).join('');
    const faults = await table.verify(folderOf({'train.csv': `a,label\n${wrong}`}), {});
    expect(faults).toHaveLength(15);
    expect(faults[14]).toMatch(/train\.csv, line 30: the column "a" has "\?"/);
    const more = await table.verify(folderOf({'train.csv': `a,label\n${wrong.repeat(3)}`}), {});
    expect(more).toHaveLength(20);
  });

  test('broken lines and files', async () => {
    expect(await refused({'train.csv': 'a,label\n1,x\n1,2,3\n'})).toBe(
      'train.csv, line 3: 3 values; the first line has 2.',
    );
    expect(await refused({'train.csv': 'a,label\n"1,x\n'})).toMatch(/^train\.csv, line 2: .*quote/i);
    expect(await refused({'train.csv': ''})).toBe('train.csv is empty.');
    expect(await refused({'train.csv': '\n'})).toBe('train.csv has no line.');
    expect(await refused({'train.csv': 'a,label\n'})).toBe('train.csv has no row.');
    expect(await refused({'train.csv': 'a,label\n1,x\n', 'test.csv': 'a,label\n1,y\n'}, {test: 'test.csv'})).toMatch(
      /^test\.csv, line 2: the class "y" is in no row of .*train\.csv\.$/,
    );
    expect(await refused({'train.xlsx': 'x'}, {file: 'train.xlsx'})).toMatch(/^train\.xlsx ends in "\.xlsx"; \.csv/);
    expect(await refused({'train.parquet': 'PAR1 and no more'}, {file: 'train.parquet'})).toMatch(
      /^train\.parquet cannot be read as Parquet: /,
    );
    expect(await refused({})).toMatch(/^Cannot read train\.csv/);
  });
});

describe('splits', () => {
  const line = (i: number): string => `${i},${(i * 7) % 11},${i % 3 === 0 ? 'x' : 'y'}\n`;
  const rows = (count: number): string => `a,b,label\n${Array.from({length: count}, (_, i) => line(i)).join('')}`;

  test('a share of the rows is kept to test on; new rows move no other, and equal rows stay together', async () => {
    const few = await open({'train.csv': rows(400)}, {});
    const [trained, tested] = [rowsOf(few.train, few.classes), rowsOf(few.test, few.classes)];
    expect(trained.length + tested.length).toBe(400);
    expect(tested.length / 400).toBeCloseTo(0.2, 1);
    const {test: more, classes} = await open({'train.csv': rows(500) + line(3) + line(3)}, {});
    expect(
      rowsOf(more, classes)
        .filter((row) => Number(row.split(' ')[0]) < 400 && !row.startsWith('3 '))
        .sort(),
    ).toEqual(tested.filter((row) => !row.startsWith('3 ')).sort());
    expect([0, 3]).toContain(rowsOf(more, classes).filter((row) => row.startsWith('3 ')).length);
    const half = await open({'train.csv': rows(400)}, {testShare: 0.5});
    expect(half.test.labels.length / 400).toBeCloseTo(0.5, 1);
  });

  test('the end of the training rows, which is held out, has rows of every class whatever the order of the file', async () => {
    const sorted = [...Array(200).keys()].map((i) => `${i},${i < 100 ? 'x' : 'y'}\n`).join('');
    const {train} = await open({'train.csv': `a,label\n${sorted}`}, {});
    expect(new Set(train.labels.slice(-20))).toEqual(new Set([0, 1]));
  });

  test('a share that leaves a split empty is refused', async () => {
    expect(await refused({'train.csv': 'a,label\n1,x\n'})).toBe(
      'train.csv has 1 rows; data.options.testShare 0.2 leaves none for one of the splits.',
    );
  });

  test('mean and standard deviation are those of the training rows; a constant column has 1', async () => {
    const files = {'train.csv': 'a,b,label\n1,5,x\n2,5,x\n6,5,y\n', 'test.csv': 'a,b,label\n100,100,x\n'};
    const {mean, std} = await open(files, {test: 'test.csv'});
    expect(mean.map((value) => Number(value.toFixed(12)))).toEqual([3, 5]);
    expect(std[0]).toBeCloseTo(Math.sqrt(14 / 3), 12);
    expect(std[1]).toBe(1);
  });
});

describe('Parquet', () => {
  const fixture = (name: string): Buffer => readFileSync(path.join(root, 'test/fixtures/table', name));

  test.each(['zstd', 'snappy', 'gzip', 'uncompressed'])(
    'of polars, compressed by %s, in several row groups',
    async (codec) => {
      const files = {'train.parquet': fixture(`${codec}.parquet`)};
      const {classes, train, test: held, channels} = await open(files, {file: 'train.parquet', label: 'kind'});
      expect({classes, channels}).toEqual({classes: ['even', 'odd'], channels: 4});
      const all = [...rowsOf(train, classes), ...rowsOf(held, classes)].sort(
        (a, b) => Number.parseInt(a) - Number.parseInt(b),
      );
      const expected = Array.from(
        {length: 100},
        (_, i) => `${i} ${i / 4} ${Math.fround(0.1 * i)} ${i % 3 === 0 ? 1 : 0} ${i % 2 === 0 ? 'even' : 'odd'}`,
      );
      expect(all).toEqual(expected);
    },
  );

  test('missing values, dates and lists are refused by row and column', async () => {
    const files = {'train.parquet': fixture('odd.parquet')};
    const message = (column: string): Promise<string> =>
      refused(files, {file: 'train.parquet', label: 'kind', columns: [column]});
    expect(await message('missing')).toBe('train.parquet, row 3: the column "missing" is empty; a number is needed.');
    expect(await message('day')).toBe('train.parquet, row 1: the column "day" is a date; a number is needed.');
    expect(await message('list')).toBe(
      'train.parquet, row 1: the column "list" is a list or a structure; a number is needed.',
    );
    expect(await message('nan')).toBe('train.parquet, row 2: the column "nan" has "NaN"; a number is needed.');
    expect(await refused(files, {file: 'train.parquet', label: 'missing', columns: ['number']})).toBe(
      'train.parquet, row 3: the column "missing" is empty; a class is needed.',
    );
  });

  test('a class of any scalar type', async () => {
    const files = {'train.parquet': fixture('zstd.parquet')};
    for (const [label, classes] of [
      ['whole', Array.from({length: 100}, (_, i) => `${i}`)],
      ['flag', ['false', 'true']],
    ] as const) {
      expect((await open(files, {file: 'train.parquet', label, columns: ['single']})).classes).toEqual(classes);
    }
  });
});
