/** Tables as W&B keeps them: a JSON file of the run below `media/table`, and a value in the history that points to it. */
import {createHash} from 'node:crypto';

import type {Event} from '../../../tracking/tracker.ts';

export interface Table {
  readonly name: string;
  /** Path in the run's files, with forward slashes. */
  readonly path: string;
  readonly content: string;
  readonly sha256: string;
  readonly columns: number;
  readonly rows: number;
}

/** The table of an event of kind `artifact`; undefined for any other event. */
export function tableOf({seq, kind, data}: Event): Table | undefined {
  if (kind !== 'artifact' || data['type'] !== 'table') return undefined;
  const {name, columns, rows} = data as unknown as {name: string; columns: readonly string[]; rows: readonly unknown[]};
  const content = JSON.stringify({columns, data: rows});
  const sha256 = createHash('sha256').update(content).digest('hex');
  return {
    name,
    path: `media/table/${name}_${seq}_${sha256.slice(0, 20)}.table.json`,
    content,
    sha256,
    columns: columns.length,
    rows: rows.length,
  };
}

/** What stands for the table in the history and in the summary. */
export function tableValue({path, content, sha256, columns, rows}: Table): Readonly<Record<string, unknown>> {
  return {
    _type: 'table-file',
    path,
    sha256,
    size: Buffer.byteLength(content),
    ncols: columns,
    nrows: rows,
    log_mode: 'IMMUTABLE',
  };
}
