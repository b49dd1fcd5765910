/** One PNG or JPEG image to RGB bytes of the size the network sees. */
import {isNativeError} from 'node:util/types';

import type {Metadata, Sharp} from 'sharp';

import {ExitCode, SdqError} from '../errors.ts';
import {readFileBounded} from '../files.ts';
import {resizePixels, type Resized} from './resize.ts';
import {loadSharp} from './sharp.ts';

/** The region of an image of this width and height to take, in pixels. */
export type Crop = (width: number, height: number) => {left: number; top: number; width: number; height: number};

/** An image in memory, with a name for messages. */
export interface EncodedImage {
  readonly bytes: Uint8Array;
  readonly name: string;
}

/** Far above any photograph, far below what would exhaust the memory: 100 megapixels. */
const maxPixels = 100e6;
/** The pixels of the largest PNG without compression: 64 bits each. */
const maxBytes = 8 * maxPixels;

/** In pixels. */
export interface Region {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * @param source the path of a file, or what one would hold
 * @param crop the region that is resized to size × size; undefined: the centre, after a resize of the shorter side to
 *   8/7 of `size` (256 for 224, as in the usual ImageNet evaluation). If it is `size` already, the image was made for the
 *   network and is not resized [ours]
 * @returns [size, size, 3] bytes, turned as EXIF says, resized as torchvision does; grey becomes RGB, alpha is dropped and
 *   leaves the stored colours, as Pillow's `convert('RGB')`
 * @throws SdqError (exit 3) that names the image
 */
export async function decodeImage(
  source: string | EncodedImage,
  size: number,
  crop: Crop | undefined,
): Promise<Uint8Array> {
  return decoded(source, (width, height) => {
    if (crop !== undefined) return {source: crop(width, height), ...whole(size, size)};
    return centre(width, height, size);
  });
}

/**
 * @param choose a region of an image of this size, and the size to which it is resized
 * @returns [height, width, 3] bytes, as `decodeImage`
 * @throws SdqError (exit 3) that names the file
 */
export async function decodeRegion(
  file: string,
  choose: (width: number, height: number) => {readonly source: Region; readonly width: number; readonly height: number},
): Promise<Uint8Array> {
  return decoded(file, (imageWidth, imageHeight) => {
    const {source, width, height} = choose(imageWidth, imageHeight);
    return {source, ...whole(width, height)};
  });
}

/** What to decode of an image, and what to take of it once it is resized. */
interface View extends Resized {
  readonly source: Region;
}

const whole = (width: number, height: number): Resized => ({
  scaled: {width, height},
  part: {left: 0, top: 0, width, height},
});

/** torchvision's `Resize` and `CenterCrop`, in whose places half a pixel is rounded to an even one. */
function centre(width: number, height: number, size: number): View {
  const margin = (length: number): number => (length % 4 === 3 ? (length + 1) / 2 : Math.floor(length / 2));
  const inside = ({width, height}: {readonly width: number; readonly height: number}): Region => ({
    ...{left: margin(width - size), top: margin(height - size)},
    ...{width: size, height: size},
  });
  const shorter = Math.min(width, height);
  if (shorter === size) return {source: inside({width, height}), ...whole(size, size)};
  const side = Math.round((size * 8) / 7);
  const scale = (length: number): number => Math.trunc((side * length) / shorter);
  const scaled = {width: scale(width), height: scale(height)};
  return {source: {left: 0, top: 0, width, height}, scaled, part: inside(scaled)};
}

/** Width and height of an image, turned as EXIF says, by its header. @throws SdqError (exit 3) that names the file */
export async function imageSize(file: string): Promise<{readonly width: number; readonly height: number}> {
  const sharp = await loadSharp();
  try {
    const {autoOrient} = await checkedHeader(sharp(file, {limitInputPixels: maxPixels}));
    return {width: autoOrient.width, height: autoOrient.height};
  } catch (error) {
    throw undecodable(file, error);
  }
}

async function checkedHeader(image: Sharp): Promise<Metadata> {
  const metadata = await image.metadata();
  const {format} = metadata;
  if (format !== 'png' && format !== 'jpeg') throw new Error(`the format is ${format}, not PNG or JPEG`);
  return metadata;
}

async function decoded(
  source: string | EncodedImage,
  choose: (width: number, height: number) => View,
): Promise<Uint8Array> {
  const sharp = await loadSharp();
  // Sharp would open a file twice, for its header and for its pixels.
  const {bytes, name} = typeof source === 'string' ? {bytes: readFileBounded(source, maxBytes), name: source} : source;
  try {
    const image = sharp(bytes, {limitInputPixels: maxPixels, failOn: 'warning'}).autoOrient();
    const {width, height} = plainJpegSize(bytes) ?? (await checkedHeader(image)).autoOrient;
    const view = choose(width, height);
    const pixels = await image.extract(view.source).removeAlpha().toColourspace('srgb').raw().toBuffer();
    return resizePixels(pixels, view.source, view);
  } catch (error) {
    throw undecodable(name, error);
  }
}

/**
 * Width and height of a JPEG file that cannot be turned, as it has no EXIF data. Sharp's answer takes a tenth of the time of a
 * photograph of 640 × 480 pixels.
 * @returns undefined for any other file, and where the header is not the usual one
 */
function plainJpegSize(bytes: Uint8Array): {readonly width: number; readonly height: number} | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return undefined;
  let size: {readonly width: number; readonly height: number} | undefined;
  // A segment: 0xff, its marker, its length without these two bytes.
  for (let at = 2; at + 9 <= view.byteLength; at += 2 + view.getUint16(at + 2)) {
    const marker = view.getUint16(at);
    if (marker === jpeg.scan) return size;
    const isTable = marker === jpeg.quantization || marker === jpeg.restartInterval || marker === jpeg.huffman;
    const isNote = marker === jpeg.comment || (marker >= jpeg.application0 && marker <= jpeg.application15);
    if (marker === jpeg.baseline || marker === jpeg.progressive) {
      size = {height: view.getUint16(at + 5), width: view.getUint16(at + 7)};
      if (size.height === 0 || size.width === 0) return undefined;
    } else if (marker === jpeg.exif || !(isTable || isNote)) return undefined;
  }
  return undefined;
}

/** Markers of ISO/IEC 10918-1, table B.1. */
const jpeg = {
  baseline: 0xffc0,
  progressive: 0xffc2,
  huffman: 0xffc4,
  scan: 0xffda,
  quantization: 0xffdb,
  restartInterval: 0xffdd,
  application0: 0xffe0,
  exif: 0xffe1,
  application15: 0xffef,
  comment: 0xfffe,
} as const;

function undecodable(name: string, error: unknown): SdqError {
  // libvips says no more of what it would only warn of, e.g. a file that is cut short.
  const reason = (isNativeError(error) ? error.message : String(error)).replace(
    /^Warning treated as error.*/,
    'the file is damaged or cut short',
  );
  return new SdqError(`Cannot decode ${name}: ${reason.replace(/\s+/g, ' ')}.`, {
    code: 'image-undecodable',
    exit: ExitCode.invalidInput,
    suggestions: [
      'Replace or delete the image; `sdq data verify` with the name of the data set names every broken one.',
    ],
    cause: error,
  });
}

/** Sharp's own threads and cache for the whole process: the engine's threads have the cores. */
export async function limitImageThreads(): Promise<void> {
  const sharp = await loadSharp();
  sharp.concurrency(1);
  sharp.cache(false);
}
