/** The user's own rows of numbers, with a class or numbers to learn: CSV and Parquet files. */
import {createHash} from 'node:crypto';
import path from 'node:path';

import type {Dataset, Split} from '../../data/dataset.ts';
import {openTableFile, tableError, type TableFile} from '../../data/table-file.ts';
import {invalidInput, SdqError} from '../../errors.ts';
import {item} from '../../lookup.ts';
import type {DatasetDefinition} from '../../plugin-api/registry.ts';
import {nothingToFetch} from './own-files.ts';

interface TableOptions {
  readonly file?: string;
  readonly test?: string;
  readonly testShare?: number;
  readonly label?: string;
  readonly targets?: readonly string[];
  readonly columns?: readonly string[];
  readonly ignore?: readonly string[];
  readonly delimiter?: string;
  readonly header?: boolean;
}

const maxClasses = 65_536; // labels are 16 bits wide
/** 1 GiB of float64 in one file; more is refused before memory is used. */
const maxValues = 2 ** 27;
/** `data verify` stops after so many faults. */
const maxFaults = 20;
/** The columns in which pandas writes the index of its rows. */
const indexColumns = new Set(['', '__index_level_0__']);

/** Which columns of a file are what, by name. */
interface Roles {
  readonly inputs: readonly string[];
  readonly label: string | undefined;
  readonly targets: readonly string[];
}

/** The rows of one file. */
interface Rows {
  readonly count: number;
  /** [count, inputs] */
  readonly inputs: Float64Array;
  /** [count, targets] */
  readonly targets: Float64Array;
  /** [count], indices into `classes` */
  readonly labels: Uint32Array;
  /** Label values in the order of their first row, each with that row's place. */
  readonly classes: ReadonlyMap<string, {readonly index: number; readonly place: string}>;
}

/** Told of each fault in a cell; may throw it. */
type Report = (fault: SdqError) => void;

const shown = (values: readonly string[], most = 12): string =>
  values
    .slice(0, most)
    .map((value) => JSON.stringify(value.slice(0, 40)))
    .join(', ') + (values.length > most ? ` and ${values.length - most} more` : '');

// ----------------------------------------------------------------------------------------------------------- columns

/** @throws SdqError (exit 3) for a column that is not there, or has two roles */
function rolesOf(file: string, {columns: all}: TableFile, options: TableOptions): Roles {
  const {targets = [], columns, ignore = []} = options;
  const label = options.label ?? (targets.length > 0 ? undefined : 'label');
  const repeated = all.find((name, index) => all.indexOf(name) !== index);
  if (repeated !== undefined) throw tableError(file, ` has two columns ${JSON.stringify(repeated)}.`);
  const chosen = [...(label === undefined ? [] : [label]), ...targets, ...(columns ?? []), ...ignore];
  const missing = chosen.find((name) => !all.includes(name));
  if (missing !== undefined) {
    const hint = missing === label && options.label === undefined ? ['--set data.options.label=COLUMN'] : [];
    throw tableError(file, ` has no column ${JSON.stringify(missing)}. Its columns: ${shown(all)}.`, hint);
  }
  const twice = chosen.find((name, index) => chosen.indexOf(name) !== index);
  if (twice !== undefined) {
    throw tableError(file, `: the column ${JSON.stringify(twice)} is named twice in data.options.`);
  }
  const inputs = columns ?? all.filter((name) => !chosen.includes(name) && !indexColumns.has(name));
  if (inputs.length === 0) throw tableError(file, ` has no column of numbers beside ${shown(chosen)}.`);
  return {inputs, label, targets};
}

// -------------------------------------------------------------------------------------------------------------- cells

const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

/** @returns undefined for what is no finite number */
function numberOf(value: unknown): number | undefined {
  if (typeof value === 'boolean') return Number(value);
  if (typeof value === 'bigint') return Number(value);
  if (typeof value === 'string') {
    if (/^(?:true|false)$/i.test(value)) return Number(value.toLowerCase() === 'true');
    return decimal.test(value) ? finite(Number(value)) : undefined;
  }
  return typeof value === 'number' ? finite(value) : undefined;
}

/** Networks compute in float32. */
const finite = (value: number): number | undefined => (Number.isFinite(Math.fround(value)) ? value : undefined);

function labelOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value === '' ? undefined : value;
  return ['number', 'bigint', 'boolean'].includes(typeof value) ? String(value) : undefined;
}

function written(value: unknown): string {
  if (value === undefined || value === null || value === '') return 'is empty';
  if (value instanceof Date) return 'is a date';
  if (typeof value === 'string' || typeof value === 'number') return `has ${JSON.stringify(`${value}`.slice(0, 40))}`;
  return 'is a list or a structure';
}

function cellFault(file: string, place: string, column: string, value: unknown, isLabel: boolean): SdqError {
  const wanted = isLabel ? 'a class is needed' : 'a number is needed';
  const suggestions = isLabel ? [] : ['To leave columns out: --set data.options.ignore=\'["NAME"]\'.'];
  return tableError(file, `, ${place}: the column ${JSON.stringify(column)} ${written(value)}; ${wanted}.`, [
    'Fill the cell, or remove the row.',
    ...suggestions,
  ]);
}

// --------------------------------------------------------------------------------------------------------------- rows

/** @throws SdqError (exit 3) for more numbers than fit into memory, or more classes than labels can tell apart */
async function readRows(file: string, table: TableFile, roles: Roles, report: Report): Promise<Rows> {
  const {inputs, label, targets} = roles;
  const numbers = [...inputs, ...targets];
  const width = numbers.length;
  const checkSize = (rows: number): void => {
    if (rows * width <= maxValues) return;
    throw tableError(file, ` has more than ${maxValues} numbers in its ${width} columns; that is the most.`);
  };
  checkSize(table.rows ?? 0);
  const places = new Map(numbers.map((name, index) => [table.columns.indexOf(name), index]));
  const labelColumn = label === undefined ? -1 : table.columns.indexOf(label);
  let cells = new Float64Array((table.rows ?? 1024) * width);
  let labels = new Uint32Array(table.rows ?? 1024);
  const classes = new Map<string, {index: number; place: string}>();
  const classOf = (name: string, place: string): number => {
    const known = classes.get(name);
    if (known !== undefined) return known.index;
    if (classes.size === maxClasses) {
      throw tableError(file, `, ${place}: the column "${label}" has more than ${maxClasses} different values.`, [
        'For a column of numbers to learn: --set task.name=regression and data.options.targets.',
      ]);
    }
    classes.set(name, {index: classes.size, place});
    return classes.size - 1;
  };
  const grow = (row: number): void => {
    checkSize(row + 1);
    const more = Math.max(row + 1, 2 * labels.length);
    cells = grown(cells, more * width);
    labels = grown(labels, more);
  };
  const count = await table.read(
    [...places.keys(), ...(labelColumn < 0 ? [] : [labelColumn])],
    (row, column, value, place) => {
      if (row >= labels.length) grow(row);
      const isLabel = column === labelColumn;
      const name = isLabel ? labelOf(value) : undefined;
      const number = isLabel ? undefined : numberOf(value);
      if (name !== undefined) labels[row] = classOf(name, place);
      else if (number !== undefined) cells[row * width + (places.get(column) ?? 0)] = number;
      else report(cellFault(file, place, item(table.columns, column), value, isLabel));
    },
  );
  if (count === 0) throw tableError(file, ' has no row.');
  const part = (start: number, size: number): Float64Array => {
    const result = new Float64Array(count * size);
    for (let row = 0; row < count; row++) {
      result.set(cells.subarray(row * width + start, row * width + start + size), row * size);
    }
    return result;
  };
  return {
    count,
    inputs: part(0, inputs.length),
    targets: part(inputs.length, targets.length),
    labels: labels.subarray(0, count),
    classes,
  };
}

function grown<T extends Float64Array | Uint32Array>(array: T, length: number): T {
  const larger = new (array.constructor as new (length: number) => T)(length);
  larger.set(array);
  return larger;
}

/**
 * A number in 0 … 1 that depends on the numbers and the class of a row alone: equal rows come to lie on the same side of a split, and a
 * new row moves no other.
 */
function keysOf({count, inputs, targets, labels, classes}: Rows): Float64Array {
  const names = [...classes.keys()];
  const [width, outputs] = [inputs.length / count, targets.length / count];
  return Float64Array.from({length: count}, (_, row) => {
    const hash = createHash('sha256');
    hash.update(inputs.subarray(row * width, (row + 1) * width));
    hash.update(targets.subarray(row * outputs, (row + 1) * outputs));
    hash.update(names[item(labels, row)] ?? '');
    return hash.digest().readUIntBE(0, 6) / 2 ** 48;
  });
}

/** @param order of the rows; @param classes the index of each label value among the classes */
function splitOf(
  rows: Rows,
  order: readonly number[],
  classes: ReadonlyMap<string, number>,
): Extract<Split, {kind: 'rows'}> {
  const [width, outputs] = [rows.inputs.length / rows.count, rows.targets.length / rows.count];
  const names = [...rows.classes.keys()];
  const numbers = new Float64Array(new SharedArrayBuffer(8 * order.length * width));
  const targets = new Float32Array(new SharedArrayBuffer(4 * order.length * outputs));
  const labels = new Uint16Array(new SharedArrayBuffer(2 * order.length));
  for (const [to, from] of order.entries()) {
    numbers.set(rows.inputs.subarray(from * width, (from + 1) * width), to * width);
    targets.set(rows.targets.subarray(from * outputs, (from + 1) * outputs), to * outputs);
    labels[to] = classes.get(names[item(rows.labels, from)] ?? '') ?? 0;
  }
  return {kind: 'rows', rows: numbers, labels, ...(outputs === 0 ? {} : {targets})};
}

/** Mean and standard deviation of every column; a column that never changes has a standard deviation of 1, which makes it 0. */
function statisticsOf({rows, labels}: Extract<Split, {kind: 'rows'}>): Pick<Dataset, 'mean' | 'std'> {
  const count = labels.length;
  const width = rows.length / count;
  const mean = new Array<number>(width).fill(0);
  const squares = new Array<number>(width).fill(0);
  rows.forEach((value, i) => (mean[i % width] = item(mean, i % width) + value / count));
  rows.forEach((value, i) => {
    const column = i % width;
    squares[column] = item(squares, column) + (value - item(mean, column)) ** 2 / count;
  });
  return {mean, std: squares.map((square) => (square > 0 ? Math.sqrt(square) : 1))};
}

/** Numbers in their order, other values in that of their UTF-16 code units. */
function sortedClasses(names: readonly string[]): string[] {
  const areNumbers = names.every((name) => decimal.test(name));
  return names.toSorted((a, b) => (areNumbers && Number(a) !== Number(b) ? Number(a) - Number(b) : a < b ? -1 : 1));
}

// ----------------------------------------------------------------------------------------------------------- data set

const throwing: Report = (fault) => {
  throw fault;
};

/** @throws SdqError (exit 3) for options of which one makes the other useless */
function checkOptions(options: TableOptions): void {
  for (const [one, other] of [
    ['test', 'testShare'],
    ['columns', 'ignore'],
  ] as const) {
    if (options[one] === undefined || options[other] === undefined) continue;
    throw invalidInput('config-invalid', `data.options has both ${one} and ${other}; one of them is allowed.`);
  }
}

async function openTable(directory: string, options: TableOptions, report: Report): Promise<Dataset> {
  const format = {
    header: options.header ?? true,
    ...(options.delimiter === undefined ? {} : {delimiter: options.delimiter}),
  };
  checkOptions(options);
  const file = path.resolve(directory, options.file ?? 'train.csv');
  const table = await openTableFile(file, format);
  const roles = rolesOf(file, table, options);
  const rows = await readRows(file, table, roles, report);
  const keys = keysOf(rows);
  const order = [...keys.keys()].sort((a, b) => item(keys, a) - item(keys, b) || a - b);
  const classes = sortedClasses([...rows.classes.keys()]);
  const indices = new Map(classes.map((name, index) => [name, index]));
  const splits = await testSplit();
  return {
    name: 'table',
    classes,
    ...(roles.targets.length === 0 ? {} : {values: roles.targets}),
    height: 1,
    width: 1,
    channels: roles.inputs.length,
    ...statisticsOf(splits.train),
    augmentation: {pad: 0, flip: false},
    ...splits,
  };

  async function testSplit(): Promise<{readonly train: Extract<Split, {kind: 'rows'}>; readonly test: Split}> {
    if (options.test === undefined) {
      const share = options.testShare ?? 0.2;
      const first = order.findIndex((row) => item(keys, row) >= share);
      if (first <= 0) {
        throw tableError(
          file,
          ` has ${rows.count} rows; data.options.testShare ${share} leaves none for one of the splits.`,
          ['Name a file of test rows: --set data.options.test=FILE'],
        );
      }
      return {train: splitOf(rows, order.slice(first), indices), test: splitOf(rows, order.slice(0, first), indices)};
    }
    const testFile = path.resolve(directory, options.test);
    const testTable = await openTableFile(testFile, format);
    rolesOf(testFile, testTable, {...options, columns: roles.inputs, ignore: []});
    const tested = await readRows(testFile, testTable, roles, report);
    for (const [name, {place}] of tested.classes) {
      if (indices.has(name)) continue;
      const message = `, ${place}: the class ${JSON.stringify(name.slice(0, 40))} is in no row of ${file}.`;
      report(tableError(testFile, message));
    }
    const inOrder = Array.from({length: tested.count}, (_, row) => row);
    return {train: splitOf(rows, order, indices), test: splitOf(tested, inOrder, indices)};
  }
}

const names = (description: string) => ({
  type: 'array',
  items: {type: 'string'},
  minItems: 1,
  uniqueItems: true,
  description,
});

export const table: DatasetDefinition<TableOptions> = {
  kind: 'dataset',
  name: 'table',
  summary: 'Your own rows of numbers with a class, or numbers to learn: CSV and Parquet files in data.directory.',
  optionsSchema: {
    type: 'object',
    properties: {
      file: {
        type: 'string',
        minLength: 1,
        default: 'train.csv',
        description: 'The rows to train on: a .csv, .tsv or .parquet file in data.directory.',
      },
      test: {type: 'string', minLength: 1, description: 'The rows to test on, with the same columns.'},
      testShare: {
        type: 'number',
        exclusiveMinimum: 0,
        exclusiveMaximum: 1,
        description: 'Without `test`: the share of the rows to test on. Default: 0.2.',
      },
      label: {
        type: 'string',
        description: 'The column with the class. Default: `label`, where there are no `targets`.',
      },
      targets: names('The columns with the numbers to learn, for the task regression.'),
      columns: names('The columns that the network reads. Default: all others.'),
      ignore: names('Columns to leave out of all others.'),
      delimiter: {
        type: 'string',
        minLength: 1,
        maxLength: 1,
        description: 'Between two values. Default: a tab in .tsv, else a comma.',
      },
      header: {
        type: 'boolean',
        default: true,
        description: 'Whether the first line has the names of the columns; without it they are `1`, `2`, ….',
      },
    },
    additionalProperties: false,
  },
  ...nothingToFetch('table'),
  async verify(directory, options) {
    const faults: string[] = [];
    const collect: Report = (fault) => {
      faults.push(fault.message);
      if (faults.length === maxFaults) throw fault;
    };
    try {
      await openTable(directory, options, collect);
    } catch (error) {
      if (!(error instanceof SdqError)) throw error;
      // What follows from rows that are not whole says nothing.
      if (faults.length === 0) faults.push(error.message);
    }
    return faults;
  },
  open: (directory, options) => openTable(directory, options, throwing),
};
