/** Files, pictures and tables of a run that its trackers may show: journalled when they are complete. */
import path from 'node:path';

import {readFileBounded, sha256Of} from '../files.ts';
import type {Run} from './run-directory.ts';

/** @param file in the run's folder, written whole @throws SdqError (exit 3) when it cannot be read */
export function logArtifact(run: Run, type: 'strategy' | 'checkpoint', file: string): void {
  run.journal.log('artifact', {type, ...described(run, file)});
}

/** Boxes on the picture of an event of type `image`. */
export interface ImageBoxes {
  /** Names by index. */
  readonly classes: readonly string[];
  /** E.g. `predictions`, `ground_truth`. */
  readonly groups: Readonly<
    Record<
      string,
      readonly {
        readonly class: number;
        /** Left, top, right and bottom edge as fractions of the image. */
        readonly box: readonly [x1: number, y1: number, x2: number, y2: number];
        readonly score?: number;
      }[]
    >
  >;
}

/** A tensor of an ONNX file; a size that is a name may be any. */
interface ModelValue {
  readonly name: string;
  readonly shape: readonly (number | string)[];
}

/**
 * @param file ONNX in the run's folder, written whole
 * @param about.example JSON file in the run's folder: nested arrays, one input
 * @throws SdqError (exit 3) when it cannot be read
 */
export function logModelFile(
  run: Run,
  file: string,
  about: {
    readonly example: string;
    readonly inputs: readonly ModelValue[];
    readonly outputs: readonly ModelValue[];
  },
): void {
  run.journal.log('artifact', {type: 'model', ...described(run, file), ...about});
}

/**
 * @param file PNG in the run's folder, written whole
 * @param size in pixels
 * @param boxed boxes on it, and the same picture with the boxes drawn, for trackers that know no boxes
 * @throws SdqError (exit 3) when it cannot be read
 */
export function logImage(
  run: Run,
  file: string,
  {height, width}: {readonly width: number; readonly height: number},
  boxed?: {readonly boxes: ImageBoxes; readonly drawn: string},
): void {
  const more =
    boxed === undefined
      ? {}
      : {boxes: boxed.boxes, drawn: path.relative(run.directory, boxed.drawn).replaceAll(path.sep, '/')};
  run.journal.log('artifact', {type: 'image', ...described(run, file), width, height, ...more});
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

/** @param file that the run starts from: in its own folder or in that of the run that made it */
export function logInput(run: Run, of: 'strategy' | 'checkpoint', file: string): void {
  const place = path.relative(run.directory, file).replaceAll(path.sep, '/');
  run.journal.log('artifact', {type: 'input', of, name: path.basename(file), path: place});
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
