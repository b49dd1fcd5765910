/** What an exported file says of a detector, in its metadata `sdq.heads`. */
import {letterboxGrey} from '../data/detection-image.ts';
import type {Detector} from '../detection/decode.ts';
import {invalidInput} from '../errors.ts';

/** How a photograph becomes the input, and the outputs become boxes of it. */
export interface ExportedDetector extends Detector {
  readonly letterbox: {
    /** The whole photograph, its aspect kept, in the centre. */
    readonly mode: 'centred';
    /** Beside it, 0 … 255. */
    readonly grey: number;
  };
}

/** Of `sdq evaluate`, and of files that earlier versions exported. */
const ours: Pick<ExportedDetector, 'letterbox' | 'nmsIou'> = {
  nmsIou: 0.45,
  letterbox: {mode: 'centred', grey: letterboxGrey},
};

export const exportedDetector = (detector: Detector): ExportedDetector => ({...ours, ...detector});

/**
 * @param value of the metadata
 * @param file named in errors
 * @throws SdqError (exit 3) for a letterbox or an IoU that `sdq predict` cannot use
 */
export function readDetector(value: Partial<ExportedDetector>, file: string): ExportedDetector {
  const detector = {...ours, ...value} as ExportedDetector;
  const {letterbox, nmsIou} = detector as {letterbox: Partial<ExportedDetector['letterbox']> | null; nmsIou: unknown};
  const refuse = (what: string, found: unknown, allowed: string): never => {
    throw invalidInput(
      'metadata-broken',
      `${file}: ${what} of the metadata sdq.heads is ${JSON.stringify(found)}; allowed: ${allowed}.`,
    );
  };
  const isWithin = (number: unknown, most: number): boolean =>
    typeof number === 'number' && number >= 0 && number <= most;
  if (!isWithin(nmsIou, 1)) refuse('nmsIou', nmsIou, '0 … 1');
  if (letterbox?.mode !== 'centred') refuse('letterbox.mode', letterbox?.mode, '"centred"');
  if (!isWithin(letterbox?.grey, 255)) refuse('letterbox.grey', letterbox?.grey, '0 … 255');
  return detector;
}
