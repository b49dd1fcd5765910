/** A Parquet file, read a column of a row group at a time. */
import {
  asyncBufferFromFile,
  parquetMetadataAsync,
  parquetScan,
  parquetSchema,
  type DecodedArray,
  type FileMetaData,
} from 'hyparquet';
import {compressors} from 'hyparquet-compressors';

import {SdqError} from '../errors.ts';
import {fileError, isFileSystemError} from '../files.ts';

export interface ParquetFile {
  readonly metadata: FileMetaData;
  /** Names of the columns. */
  readonly columns: readonly string[];
  /**
   * @param binary leaves bytes that are no text as they are
   * @returns reads rows `start` … `end` − 1 of one of the columns, within a row group
   * @throws SdqError (exit 3) for a broken file
   */
  readonly scan: (columns: readonly string[], options?: {readonly binary?: boolean}) => Promise<ReadColumn>;
}

type ReadColumn = (column: string, start: number, end: number) => Promise<DecodedArray>;

/** @param invalid the error of a file that cannot be read: its message follows the file's name @throws SdqError (exit 3) */
export async function openParquetFile(file: string, invalid: (message: string) => SdqError): Promise<ParquetFile> {
  const attempt = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (error instanceof SdqError) throw error;
      if (isFileSystemError(error)) throw fileError(error, 'read', file);
      throw invalid(` cannot be read as Parquet: ${(error as Error).message}.`);
    }
  };
  const buffer = await attempt(() => asyncBufferFromFile(file));
  const metadata = await attempt(() => parquetMetadataAsync(buffer));
  return {
    metadata,
    columns: parquetSchema(metadata).children.map(({element}) => element.name),
    async scan(columns, {binary = false} = {}) {
      const options = {file: buffer, metadata, columns: [...columns], compressors, utf8: !binary};
      const opened = await attempt(() => parquetScan(options));
      return (column, rowStart, rowEnd) => attempt(() => opened.readColumn({column, rowStart, rowEnd}));
    },
  };
}

/** Rows `start` … `end` − 1 of each row group. */
export function rowGroups({row_groups}: FileMetaData): {readonly start: number; readonly end: number}[] {
  let end = 0;
  return row_groups.map(({num_rows}) => {
    const start = end;
    end += Number(num_rows);
    return {start, end};
  });
}
