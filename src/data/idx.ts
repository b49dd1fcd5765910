/**
 * The IDX format of the MNIST family (LeCun, Cortes, Burges): bytes 0, 0, dtype, ndim; ndim big-endian uint32 sizes; the
 * values, last dimension fastest. Only unsigned bytes (dtype 0x08) are images and labels.
 */
import {invalidInput, type SdqError} from '../errors.ts';

export interface IdxBytes {
  readonly shape: readonly number[];
  /** A view of the file's bytes. */
  readonly values: Uint8Array;
}

const unsignedByte = 0x08;

function invalid(file: string, offset: number, found: string, allowed: string): SdqError {
  return invalidInput('idx-invalid', `${file}, byte ${offset}: found ${found}; allowed: ${allowed}.`);
}

/**
 * @param dimensions how many the caller expects: 3 for images [count, height, width], 1 for labels
 * @param file for messages
 * @throws SdqError (exit 3) with the byte offset when header and length do not agree
 */
export function parseIdx(bytes: Uint8Array, dimensions: number, file: string): IdxBytes {
  const header = 4 + 4 * dimensions;
  if (bytes.length < header) throw invalid(file, bytes.length, 'the end of the file', `a header of ${header} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint32(0);
  const expected = (unsignedByte << 8) | dimensions;
  if (magic !== expected) throw invalid(file, 0, `magic number ${magic}`, `${expected}`);
  const shape = Array.from({length: dimensions}, (_, axis) => view.getUint32(4 + 4 * axis));
  for (const [axis, size] of shape.entries()) {
    if (size === 0) throw invalid(file, 4 + 4 * axis, 'size 0', 'at least 1');
  }
  // A product of uint32 sizes may leave the exact integers of a double; it is then far above any file's length.
  const count = shape.reduce((product, size) => product * size, 1);
  if (bytes.length - header !== count) {
    throw invalid(
      file,
      header,
      `${bytes.length - header} bytes of values`,
      shape.length === 1 ? `${count}` : `${shape.join(' × ')} = ${count}`,
    );
  }
  return {shape, values: bytes.subarray(header)};
}

/** Copies labels, each below `classes`. @throws SdqError (exit 3) with the byte offset of one that is not */
export function idxLabels(idx: IdxBytes, classes: number, file: string): Uint16Array<SharedArrayBuffer> {
  const labels = new Uint16Array(new SharedArrayBuffer(2 * idx.values.length));
  for (const [index, label] of idx.values.entries()) {
    if (label >= classes) throw invalid(file, 8 + index, `label ${label}`, `0 to ${classes - 1}`);
    labels[index] = label;
  }
  return labels;
}
