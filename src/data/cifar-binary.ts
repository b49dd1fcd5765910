/**
 * The binary format of CIFAR-10 (Krizhevsky, 2009): records of one label byte, then 1,024 red, 1,024 green and 1,024 blue
 * bytes, row-major.
 */
import {invalidInput} from '../errors.ts';
import {item} from '../lookup.ts';

export const cifarSide = 32;
const plane = cifarSide * cifarSide;
export const cifarRecordBytes = 1 + 3 * plane;

/**
 * Reads every record of one file into place, from planes to interleaved channels.
 * @param images [count, 32, 32, 3], written from image `first` on
 * @param labels [count], written from `first` on
 * @param count the records that the file must have
 * @param file for messages
 * @throws SdqError (exit 3) with the byte offset
 */
export function readCifarRecords(
  bytes: Uint8Array,
  {images, labels, first, count}: {images: Uint8Array; labels: Uint16Array; first: number; count: number},
  file: string,
): void {
  const fail = (offset: number, found: string, allowed: string): never => {
    throw invalidInput('cifar-invalid', `${file}, byte ${offset}: found ${found}; allowed: ${allowed}.`);
  };
  const expected = count * cifarRecordBytes;
  if (bytes.length !== expected) {
    const what = bytes.length < expected ? `the end of the file` : `${bytes.length - expected} bytes more`;
    fail(Math.min(bytes.length, expected), what, `${count} records of ${cifarRecordBytes} bytes = ${expected}`);
  }
  for (let record = 0; record < count; record++) {
    const start = record * cifarRecordBytes;
    const label = item(bytes, start);
    if (label > 9) fail(start, `label ${label}`, '0 to 9');
    labels[first + record] = label;
    let out = (first + record) * 3 * plane;
    /* eslint-disable @typescript-eslint/no-non-null-assertion -- a loop over every byte; the size was checked */
    for (let pixel = start + 1; pixel <= start + plane; pixel++) {
      images[out++] = bytes[pixel]!;
      images[out++] = bytes[pixel + plane]!;
      images[out++] = bytes[pixel + 2 * plane]!;
    }
    /* eslint-enable @typescript-eslint/no-non-null-assertion */
  }
}

/**
 * The file that `readCifarRecords` reads, from interleaved pixels.
 * @param pixels [count, 32, 32, 3]
 * @param labels [count], 0 … 9
 */
export function cifarRecords(pixels: Uint8Array, labels: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(labels.length * cifarRecordBytes);
  let source = 0;
  for (let record = 0; record < labels.length; record++) {
    const start = record * cifarRecordBytes;
    bytes[start] = item(labels, record);
    /* eslint-disable @typescript-eslint/no-non-null-assertion -- a loop over every byte of `labels.length` images */
    for (let pixel = start + 1; pixel <= start + plane; pixel++) {
      bytes[pixel] = pixels[source++]!;
      bytes[pixel + plane] = pixels[source++]!;
      bytes[pixel + 2 * plane] = pixels[source++]!;
    }
    /* eslint-enable @typescript-eslint/no-non-null-assertion */
  }
  return bytes;
}
