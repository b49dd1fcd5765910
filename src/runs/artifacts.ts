/** Files, pictures and tables of a run that its trackers may show: journalled when they are complete. */
import path from 'node:path';

import {readFileBounded, sha256Of} from '../files.ts';
import type {Run} from './run-directory.ts';

/** @param file in the run's folder, written whole @throws SdqError (exit 3) when it cannot be read */
export function logArtifact(run: Run, type: 'strategy' | 'checkpoint', file: string): void {
  run.journal.log('artifact', {type, ...described(run, file)});
}

/**
 * @param file PNG in the run's folder, written whole
 * @param size in pixels
 * @throws SdqError (exit 3) when it cannot be read
 */
export function logImage(run: Run, file: string, size: {readonly width: number; readonly height: number}): void {
  run.journal.log('artifact', {type: 'image', ...described(run, file), width: size.width, height: size.height});
}

/** @param rows each as long as `columns` */
export function logTable(
  run: Run,
  name: string,
  columns: readonly string[],
  rows: readonly (readonly (string | number | null)[])[],
): void {
  run.journal.log('artifact', {type: 'table', name, columns, rows});
}

/** A split of the data set that the run works on. */
export interface DatasetInput {
  readonly name: string;
  readonly split: 'train' | 'test';
  /** Of its content, in hexadecimal. */
  readonly digest: string;
  readonly samples: number;
  /** How many of them are kept for validation. */
  readonly validation: number;
  /** Of one sample: [channels, height, width] of images, [features] of rows. */
  readonly shape: readonly number[];
  readonly classes: number;
}

export function logDataset(run: Run, input: DatasetInput): void {
  run.journal.log('artifact', {type: 'dataset', ...input});
}

function described(run: Run, file: string): Readonly<Record<string, unknown>> {
  const content = readFileBounded(file);
  return {
    name: path.basename(file),
    path: path.relative(run.directory, file).replaceAll(path.sep, '/'),
    bytes: content.length,
    sha256: sha256Of(content),
  };
}
