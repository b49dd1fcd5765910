/** `mistakes.json` of a run: what the trained classifier gets wrong on the test images, for the report. */
import {createRequire} from 'node:module';

import {sampleShape} from '../data/dataset.ts';
import {encodePng} from '../data/png.ts';
import {writeFileAtomic} from '../files.ts';
import {readJsonFile} from '../json-file.ts';
import {item} from '../lookup.ts';
import {expand, type JsonSchema} from '../schema/json-schema.ts';
import {checkFile} from '../schema/settings.ts';
import type {Mistakes, WrongImage} from '../training/mistakes.ts';
import type {Session} from './session.ts';

const require = createRequire(import.meta.url);

/** The worst images that a run keeps. */
export const worstImages = 12;
/** Larger images are sampled down to this many pixels a side. */
const side = 96;
const limitBytes = 64 << 20;

export interface MistakesFile extends Omit<Mistakes, 'worst'> {
  readonly version: 1;
  readonly classes: readonly string[];
  readonly worst: readonly (Omit<WrongImage, 'pixels'> & {
    /** PNG as a data URI; null for rows, and for images of neither 1 nor 3 channels. */
    readonly image: string | null;
  })[];
}

/** @throws SdqError (exit 6) where it cannot be written */
export function writeMistakes(file: string, session: Session, {confusion, samples, worst}: Mistakes): void {
  const content: MistakesFile = {
    version: 1,
    classes: session.dataset.classes,
    samples,
    confusion,
    worst: worst.map(({pixels, ...image}) => ({...image, image: dataUri(session, pixels)})),
  };
  writeFileAtomic(file, `${JSON.stringify(content)}\n`);
}

/** @throws SdqError (exit 3) naming the file, the place, the value found and what is allowed */
export function readMistakes(file: string): MistakesFile {
  const value = readJsonFile(file, limitBytes, 'mistakes') as Record<string, unknown>;
  checkFile(value, expand(require('../../schemas/mistakes.schema.json') as JsonSchema), file);
  return value as unknown as MistakesFile;
}

/** @param pixels [height, width, channels], normalised */
function dataUri({dataset, normalization: {mean, std}}: Session, pixels: Float32Array): string | null {
  const [channels = 0, height = 0, width = 0] = sampleShape(dataset);
  if ((channels !== 1 && channels !== 3) || height * width * channels !== pixels.length) return null;
  const step = Math.ceil(Math.max(height, width) / side);
  const [rows, columns] = [Math.ceil(height / step), Math.ceil(width / step)];
  const bytes = Uint8ClampedArray.from({length: rows * columns * channels}, (_, i) => {
    const c = i % channels;
    const place = Math.floor(i / channels);
    const [y, x] = [step * Math.floor(place / columns), step * (place % columns)];
    return 255 * (item(pixels, (y * width + x) * channels + c) * item(std, c) + item(mean, c));
  });
  return `data:image/png;base64,${encodePng(new Uint8Array(bytes.buffer), rows, columns, channels).toString('base64')}`;
}
