/** Resizes RGB bytes with an antialiased triangle filter, to the bits of Pillow's `resize((…), BILINEAR)`, so of torchvision's. */
import {readFileSync} from 'node:fs';

import {item} from '../lookup.ts';

interface Size {
  readonly width: number;
  readonly height: number;
}

/** What is computed of an image that is resized. */
export interface Resized {
  /** Of the whole image. */
  readonly scaled: Size;
  /** Of `scaled`. */
  readonly part: Size & {readonly left: number; readonly top: number};
}

/** Addresses, then numbers: `assembly/resize.ts`. */
type Kernel = (...task: number[]) => void;

interface Kernels {
  readonly memory: {readonly buffer: ArrayBuffer; readonly grow: (pages: number) => number};
  readonly resizeRows: Kernel;
  readonly resizeColumns: Kernel;
}

let loaded: Kernels | undefined;

/** Of this thread. */
function kernels(): Kernels {
  if (loaded === undefined) {
    const bytes = readFileSync(new URL('../../wasm/resize.wasm', import.meta.url));
    const {exports} = new WebAssembly.Instance(new WebAssembly.Module(bytes), {});
    loaded = exports as unknown as Kernels;
  }
  return loaded;
}

/** After a buffer: kernels read and write there. */
const padding = 16;
const page = 65_536;
/** Source bytes that are resized at a time: they fit the second cache. */
const bandBytes = 2 ** 18;

/**
 * @param pixels [height, width, 3]
 * @returns [part.height, part.width, 3]
 * @throws RangeError where it does not fit a WebAssembly memory, 4 GiB
 */
export function resizePixels(pixels: Uint8Array, {width, height}: Size, {scaled, part}: Resized): Uint8Array {
  if (scaled.width === width && scaled.height === height && part.width === width && part.height === height)
    return pixels;
  const {memory, resizeRows, resizeColumns} = kernels();
  const stride = 3 * width;
  const out = 3 * part.width;
  const band = Math.min(height, Math.max(1, Math.floor(bandBytes / stride)));
  const across = tapsOf(width, scaled.width);
  const down = tapsOf(height, scaled.height);
  let end = 0; // the module has no data of its own
  const place = (size: number): number => {
    const start = Math.ceil(end / padding) * padding;
    end = start + size + padding;
    return start;
  };
  const rowWeights = place(4 * part.width * (2 + across));
  const columnWeights = place(4 * part.height * (2 + down));
  const source = place(band * stride);
  const middle = place(height * out);
  const result = place(part.height * out);
  const missing = end - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / page));

  const writeWeights = (at: number, size: number, scaled: number, start: number, length: number, taps: number): void =>
    weightsOf(new Int32Array(memory.buffer, at, length * (2 + taps)), size, scaled, start, length, taps);
  writeWeights(rowWeights, width, scaled.width, part.left, part.width, across);
  writeWeights(columnWeights, height, scaled.height, part.top, part.height, down);
  const bytes = new Uint8Array(memory.buffer);
  const tables = (at: number, length: number): [number, number, number] => [at, at + 4 * length, at + 8 * length];
  for (let row = 0; row < height; row += band) {
    const rows = Math.min(band, height - row);
    bytes.set(pixels.subarray(row * stride, (row + rows) * stride), source);
    const target = middle + row * out;
    resizeRows(source, rows, stride, target, part.width, ...tables(rowWeights, part.width), across);
  }
  resizeColumns(middle, out, result, part.height, ...tables(columnWeights, part.height), down);
  return bytes.slice(result, result + part.height * out);
}

const supportOf = (size: number, scaled: number): number => Math.max(1, size / scaled);

const tapsOf = (size: number, scaled: number): number => 2 * Math.ceil(supportOf(size, scaled)) + 1;

/** Weights have so many bits after the point. */
const unit = 2 ** 22;

/** The first pixel of each sum, how many it has, and their weights: a triangle of the width of a source pixel or, if it is wider, a target pixel. */
function weightsOf(
  target: Int32Array,
  size: number,
  scaled: number,
  start: number,
  length: number,
  taps: number,
): void {
  const scale = size / scaled;
  const support = supportOf(size, scaled);
  const row = new Float64Array(taps);
  for (let i = 0; i < length; i++) {
    const centre = (start + i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const count = Math.min(size, Math.trunc(centre + support + 0.5)) - first;
    let sum = 0;
    for (let tap = 0; tap < count; tap++) {
      const weight = Math.max(0, 1 - Math.abs((tap + first - centre + 0.5) / support));
      row[tap] = weight;
      sum += weight;
    }
    target[i] = first;
    target[length + i] = count;
    for (let tap = 0; tap < count; tap++)
      target[2 * length + i * taps + tap] = Math.round((item(row, tap) / sum) * unit);
  }
}
