/** Tables and pictures as W&B keeps them: a file of the run below `media/`, and a value in the history that points to it. */
import {createHash} from 'node:crypto';
import path from 'node:path';

import type {Event} from '../../../plugin-api/tracker.ts';

export interface Media {
  /** Column of the history. */
  readonly name: string;
  /** Path in the files of the run at W&B, with forward slashes. */
  readonly path: string;
  readonly content: {readonly text: string} | {/** Path in the run's folder. */ readonly file: string};
  /** What stands for it in the history and in the summary. */
  readonly value: Readonly<Record<string, unknown>>;
}

/** The table or picture of an event of kind `artifact`; undefined for any other event, and for types that are not sent. */
export function mediaOf({seq, kind, data}: Event, types: ReadonlySet<string>): Media | undefined {
  if (kind !== 'artifact' || !types.has(String(data['type']))) return undefined;
  if (data['type'] === 'table') return tableOf(seq, data);
  return data['type'] === 'image' ? imageOf(seq, data) : undefined;
}

function tableOf(seq: number, data: Event['data']): Media {
  const {name, columns, rows} = data as unknown as {name: string; columns: readonly string[]; rows: readonly unknown[]};
  const text = JSON.stringify({columns, data: rows});
  const sha256 = createHash('sha256').update(text).digest('hex');
  const place = `media/table/${name}_${seq}_${sha256.slice(0, 20)}.table.json`;
  return {
    name,
    path: place,
    content: {text},
    value: {
      _type: 'table-file',
      path: place,
      sha256,
      size: Buffer.byteLength(text),
      ncols: columns.length,
      nrows: rows.length,
      log_mode: 'IMMUTABLE',
    },
  };
}

function imageOf(seq: number, data: Event['data']): Media {
  const {
    bytes,
    height,
    path: file,
    sha256,
    width,
  } = data as unknown as {
    bytes: number;
    height: number;
    path: string;
    sha256: string;
    width: number;
  };
  const extension = path.extname(file);
  const name = path.basename(file, extension);
  const place = `media/images/${name}_${seq}_${sha256.slice(0, 20)}${extension}`;
  return {
    name,
    path: place,
    content: {file},
    value: {_type: 'image-file', path: place, sha256, size: bytes, format: extension.slice(1), width, height},
  };
}
