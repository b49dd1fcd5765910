/** `mistakes.json` of a run: what the trained classifier gets wrong on the test images, for the report. */
import {createRequire} from 'node:module';

import {writeFileAtomic} from '../files.ts';
import {readJsonFile} from '../json-file.ts';
import {expand, type JsonSchema} from '../schema/json-schema.ts';
import {checkFile} from '../schema/settings.ts';
import type {Mistakes, WrongImage} from '../training/mistakes.ts';
import {pngUri} from './pixels-png.ts';
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
    worst: worst.map(({pixels, ...image}) => ({...image, image: pngUri(session, pixels, side)})),
  };
  writeFileAtomic(file, `${JSON.stringify(content)}\n`);
}

/** @throws SdqError (exit 3) naming the file, the place, the value found and what is allowed */
export function readMistakes(file: string): MistakesFile {
  const value = readJsonFile(file, limitBytes, 'mistakes') as Record<string, unknown>;
  checkFile(value, expand(require('../../schemas/mistakes.schema.json') as JsonSchema), file);
  return value as unknown as MistakesFile;
}
