/** `detections-*.json` of a run: what the detector finds on the test images, for the report. */
import {existsSync} from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';

import {sampleShape} from '../data/dataset.ts';
import {writeFileAtomic} from '../files.ts';
import {readJsonFile} from '../json-file.ts';
import {expand, type JsonSchema} from '../schema/json-schema.ts';
import {checkFile} from '../schema/settings.ts';
import {collectDetections, type Detections} from '../training/detections.ts';
import type {BatchObserver} from '../training/evaluate.ts';
import {pngUri} from './pixels-png.ts';
import type {Session} from './session.ts';

const require = createRequire(import.meta.url);

/** Test images that a run keeps. */
const imageLimit = 8;
/** [ours] Boxes of a lower score are not drawn: the default of `sdq predict`. */
const minScore = 0.25;
/** Larger images are sampled down to this many pixels a side. */
const side = 256;
const limitBytes = 64 << 20;

/** A box in fractions of the image. */
type Corners = readonly [x1: number, y1: number, x2: number, y2: number];

export interface DetectionsFile extends Omit<Detections, 'images'> {
  readonly version: 1;
  readonly classes: readonly string[];
  readonly images: readonly {
    /** Place in the test split, from 0. */
    readonly index: number;
    readonly width: number;
    readonly height: number;
    /** PNG as a data URI. */
    readonly image: string;
    readonly boxes: readonly {readonly class: number; readonly score: number; readonly box: Corners}[];
    readonly truth: readonly {readonly class: number; readonly box: Corners; readonly ignore: boolean}[];
  }[];
}

/** The names of the files in a run's folder. */
export const detectionFiles = {
  fullPrecision: 'detections-full-precision.json',
  quantized: 'detections-quantized.json',
} as const;

/**
 * Watches an evaluation of the test split.
 * @returns undefined where the task has no boxes; `write` leaves the file when the evaluation is over
 */
export function watchDetections(
  session: Session,
): {readonly observe: BatchObserver; write(file: string): DetectionsFile} | undefined {
  const {detect} = session.task;
  if (detect === undefined) return undefined;
  const collected = collectDetections(detect, {limit: imageLimit, minScore});
  return {
    observe: collected.add,
    write(file) {
      const content = fileOf(session, collected.result());
      writeFileAtomic(file, `${JSON.stringify(content)}\n`);
      return content;
    },
  };
}

function fileOf(session: Session, {curves, images, samples}: Detections): DetectionsFile {
  const [, height = 0, width = 0] = sampleShape(session.dataset);
  return {
    version: 1,
    classes: session.dataset.classes,
    samples,
    curves,
    images: images.flatMap(({boxes, index, pixels, truth}) => {
      const image = pngUri(session, pixels, side);
      return image === null ? [] : [{index, width, height, image, boxes, truth}];
    }),
  };
}

/** @throws SdqError (exit 3) naming the file, the place, the value found and what is allowed */
export function readDetections(file: string): DetectionsFile {
  const value = readJsonFile(file, limitBytes, 'detections') as Record<string, unknown>;
  checkFile(value, expand(require('../../schemas/detections.schema.json') as JsonSchema), file);
  return value as unknown as DetectionsFile;
}

/** The files of a detector's run; undefined where it has none (yet). */
export interface RunDetections {
  readonly fullPrecision: DetectionsFile | undefined;
  readonly quantized: DetectionsFile | undefined;
}

/** @throws as `readDetections` */
export function detectionsIn(directory: string): RunDetections {
  const read = (name: string): DetectionsFile | undefined => {
    const file = path.join(directory, name);
    return existsSync(file) ? readDetections(file) : undefined;
  };
  return {fullPrecision: read(detectionFiles.fullPrecision), quantized: read(detectionFiles.quantized)};
}
