/** One PNG or JPEG image to RGB bytes of the size the network sees. */
import {isNativeError} from 'node:util/types';

import type {Metadata, Sharp} from 'sharp';

import {ExitCode, SdqError} from '../errors.ts';
import {readFileBounded} from '../files.ts';
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
 * @returns [size, size, 3] bytes, turned as EXIF says, resized with an antialiased triangle filter; grey becomes RGB, alpha
 *   is dropped
 * @throws SdqError (exit 3) that names the image
 */
export async function decodeImage(
  source: string | EncodedImage,
  size: number,
  crop: Crop | undefined,
): Promise<Uint8Array> {
  return decoded(source, (image, width, height) => {
    if (crop !== undefined) return resized(image.extract(crop(width, height)), size, size);
    const side = Math.min(width, height) === size ? size : Math.round((size * 8) / 7);
    const margin = Math.floor((side - size) / 2);
    return image
      .resize(side, side, {fit: 'cover', kernel: 'linear', fastShrinkOnLoad: false})
      .extract({left: margin, top: margin, width: size, height: size});
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
  return decoded(file, (image, imageWidth, imageHeight) => {
    const {source, width, height} = choose(imageWidth, imageHeight);
    return resized(image.extract(source), width, height);
  });
}

const resized = (image: Sharp, width: number, height: number): Sharp =>
  image.resize(width, height, {fit: 'fill', kernel: 'linear', fastShrinkOnLoad: false});

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
  shape: (image: Sharp, width: number, height: number) => Sharp,
): Promise<Uint8Array> {
  const sharp = await loadSharp();
  // Sharp would open a file twice, for its header and for its pixels.
  const {bytes, name} = typeof source === 'string' ? {bytes: readFileBounded(source, maxBytes), name: source} : source;
  try {
    const stored = sharp(bytes, {limitInputPixels: maxPixels, failOn: 'warning'}).autoOrient();
    const {autoOrient, hasAlpha} = await checkedHeader(stored);
    const image = hasAlpha ? await withoutAlpha(stored) : stored;
    return await shape(image, autoOrient.width, autoOrient.height).toColourspace('srgb').raw().toBuffer();
  } catch (error) {
    throw undecodable(name, error);
  }
}

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

/**
 * The stored colours alone, as Pillow's `convert('RGB')` has them. A resize of an image with alpha would weigh colours by it
 * and make what is transparent black; dropping alpha is sharp's last step, so this is a pass of its own.
 */
async function withoutAlpha(image: Sharp): Promise<Sharp> {
  const sharp = await loadSharp();
  const {data, info} = await image.toColourspace('srgb').removeAlpha().raw().toBuffer({resolveWithObject: true});
  return sharp(data, {raw: {width: info.width, height: info.height, channels: info.channels}});
}

/** Sharp's own threads and cache for the whole process: the engine's threads have the cores. */
export async function limitImageThreads(): Promise<void> {
  const sharp = await loadSharp();
  sharp.concurrency(1);
  sharp.cache(false);
}
