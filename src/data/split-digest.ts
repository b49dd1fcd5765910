/** A short digest of what a split holds, by which two runs can be seen to use the same data. */
import {createHash} from 'node:crypto';
import path from 'node:path';

import type {Dataset} from './dataset.ts';
import {pathAt} from './path-list.ts';

/** Samples whose content counts, and files whose names do: reading all of a large data set would hold up the run. */
const sampleLimit = 10_000;
const digestLength = 16;

/**
 * Covers the shape, the class names, all labels, target values and boxes, and the first 10,000 images (or rows) in memory. Of images in
 * files it covers the names of the first 10,000 files.
 * @param directory of the data set's files: where their names start
 * @returns 16 hexadecimal digits of a SHA-256
 */
export function splitDigest(dataset: Dataset, part: 'train' | 'test', directory: string): string {
  const {[part]: split, channels, classes, height, width} = dataset;
  const hash = createHash('sha256').update(JSON.stringify([part, height, width, channels, classes]));
  hash.update(split.labels);
  if (split.targets !== undefined) hash.update(split.targets);
  if (split.boxes !== undefined) {
    const {classes: boxClasses, corners, offsets} = split.boxes;
    hash.update(offsets).update(boxClasses).update(corners);
  }
  if (split.kind === 'memory') hash.update(split.images.subarray(0, sampleLimit * height * width * channels));
  else if (split.kind === 'rows') hash.update(split.rows.subarray(0, sampleLimit * channels));
  else {
    const files = split.kind === 'files' ? split.paths : split.files;
    for (let i = 0; i < Math.min(files.length, sampleLimit); i++) {
      hash.update(`${path.relative(directory, pathAt(files, i)).replaceAll(path.sep, '/')}\n`);
    }
  }
  return hash.digest('hex').slice(0, digestLength);
}
