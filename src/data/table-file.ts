/** Rows of CSV and Parquet files, read in pieces: a file is never in memory as a whole. */
import {createReadStream} from 'node:fs';
import path from 'node:path';

import {CsvError, parse} from 'csv-parse';

import {invalidInput, type SdqError} from '../errors.ts';
import {checkFile, fileError, isFileSystemError} from '../files.ts';
import {item} from '../lookup.ts';
import {openParquetFile, rowGroups} from './parquet-file.ts';

/** How a CSV file is written. */
export interface CsvFormat {
  /** One character; left out: a tab in .tsv files, else a comma. */
  readonly delimiter?: string;
  /** Whether the first line has the names of the columns; else they are `1`, `2`, … */
  readonly header: boolean;
}

/** Receives one cell: text of CSV, a value of any type of Parquet. `row` counts from 0; `place` says where the row is in the file. */
type PutCell = (row: number, column: number, value: unknown, place: string) => void;

export interface TableFile {
  readonly columns: readonly string[];
  /** Rows, where the file says so at its beginning or end. */
  readonly rows: number | undefined;
  /**
   * Calls `put` for every row and each of the columns, by their index in `columns`.
   * @returns how many rows there are
   * @throws SdqError (exit 3) for a broken file, and whatever `put` throws
   */
  read(columns: readonly number[], put: PutCell): Promise<number>;
}

/** A longer line is not read: a quote that is never closed would swallow the file. */
const longestLine = 2 ** 24;

export function tableError(file: string, message: string, suggestions: readonly string[] = []): SdqError {
  return invalidInput('table-invalid', `${file}${message}`, suggestions);
}

/** @throws SdqError (exit 3) for a file that is missing, empty, of another kind or broken */
export async function openTableFile(file: string, format: CsvFormat): Promise<TableFile> {
  const {size} = checkFile(file);
  if (size === 0) throw tableError(file, ' is empty.');
  const extension = path.extname(file).toLowerCase();
  if (extension === '.parquet') return openParquet(file);
  if (['.csv', '.tsv', '.txt', '.data'].includes(extension)) {
    return openCsv(file, {...format, delimiter: format.delimiter ?? (extension === '.tsv' ? '\t' : ',')});
  }
  throw tableError(file, ` ends in "${extension}"; .csv, .tsv, .txt, .data and .parquet files are read.`);
}

// --------------------------------------------------------------------------------------------------------------- CSV

async function openCsv(file: string, format: Required<CsvFormat>): Promise<TableFile> {
  let columns: readonly string[] = [];
  for await (const {record} of records(file, format, 1)) columns = record;
  if (columns.length === 0) throw tableError(file, ' has no line.');
  return {
    columns: format.header ? columns : columns.map((_, index) => `${index + 1}`),
    rows: undefined,
    async read(wanted, put) {
      let row = format.header ? -1 : 0;
      for await (const {record, line} of records(file, format)) {
        if (row >= 0) for (const column of wanted) put(row, column, record[column], `line ${line}`);
        row += 1;
      }
      return row;
    },
  };
}

/** @param to the last record; left out: all */
async function* records(
  file: string,
  {delimiter}: Required<CsvFormat>,
  to?: number,
): AsyncGenerator<{readonly record: readonly string[]; readonly line: number}> {
  const source = createReadStream(file);
  const parser = parse({
    bom: true,
    delimiter,
    info: true,
    max_record_size: longestLine,
    skip_empty_lines: true,
    trim: true,
    ...(to === undefined ? {} : {to}),
  });
  source.on('error', (error) => parser.destroy(error));
  source.pipe(parser);
  try {
    for await (const entry of parser) {
      const {record, info} = entry as {record: string[]; info: {lines: number}};
      yield {record, line: info.lines};
    }
  } catch (error) {
    throw csvError(error, file);
  } finally {
    source.destroy();
    parser.destroy();
  }
}

function csvError(error: unknown, file: string): unknown {
  if (!(error instanceof CsvError)) return isFileSystemError(error) ? fileError(error, 'read', file) : error;
  const {lines, record, columns} = error as CsvError & {lines?: number; record?: string[]; columns?: unknown};
  const line = typeof lines === 'number' ? `, line ${lines}` : '';
  if (error.code === 'CSV_RECORD_INCONSISTENT_FIELDS_LENGTH' && Array.isArray(record)) {
    const expected = /expect (\d+)/.exec(error.message)?.[1] ?? String(columns);
    return tableError(file, `${line}: ${record.length} values; the first line has ${expected}.`, [
      'For another separator: --set data.options.delimiter=";".',
    ]);
  }
  if (error.code === 'CSV_MAX_RECORD_SIZE') {
    return tableError(file, `${line}: a line of more than ${longestLine} characters. Is a quote never closed?`);
  }
  return tableError(file, `${line}: ${error.message}`);
}

// ----------------------------------------------------------------------------------------------------------- Parquet

async function openParquet(file: string): Promise<TableFile> {
  const {metadata, columns, scan} = await openParquetFile(file, (message) => tableError(file, message));
  return {
    columns,
    rows: Number(metadata.num_rows),
    async read(wanted, put) {
      const readColumn = await scan(wanted.map((column) => item(columns, column)));
      // One column of one row group at a time, which is the piece that the format is written in.
      for (const {start, end} of rowGroups(metadata)) {
        for (const column of wanted) {
          const values = await readColumn(item(columns, column), start, end);
          for (let i = 0; i < values.length; i++) put(start + i, column, values[i], `row ${start + i + 1}`);
        }
      }
      return Number(metadata.num_rows);
    },
  };
}
