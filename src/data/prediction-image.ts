/** An image file as a network sees it, for predictions. */
import {ExitCode, SdqError} from '../errors.ts';
import {item} from '../lookup.ts';
import {decodeImage} from './decode-image.ts';
import {normalizedByte, type Normalization} from './normalization.ts';

/** Luma of ITU-R BT.601, as Pillow's `convert('L')` has it. */
const luma = [0.299, 0.587, 0.114] as const;

/**
 * @param shape [channels, height, width] of the network's input; square, of 1 or 3 channels
 * @param isWhole takes the whole image, resized; else the centre, as an evaluation of image files does
 * @returns [height, width, channels], normalised
 * @throws SdqError (exit 3) for another shape, and for a file that cannot be decoded
 */
export async function predictionImage(
  file: string,
  shape: readonly number[],
  normalization: Normalization,
  isWhole: boolean,
): Promise<Float32Array> {
  const [channels, size, width] = shape;
  if (size === undefined || size !== width || (channels !== 1 && channels !== 3)) {
    throw new SdqError(
      `Predictions are of square images with 1 or 3 channels; the network takes [${shape.join(', ')}].`,
      {code: 'input-not-an-image', exit: ExitCode.invalidInput},
    );
  }
  const whole = isWhole ? (w: number, h: number) => ({left: 0, top: 0, width: w, height: h}) : undefined;
  const pixels = await decodeImage(file, size, whole);
  const value = (pixel: number, channel: number): number =>
    channels === 3
      ? item(pixels, 3 * pixel + channel)
      : Math.round(luma.reduce((sum, weight, i) => sum + weight * item(pixels, 3 * pixel + i), 0));
  return Float32Array.from({length: size * size * channels}, (_, i) => {
    const channel = i % channels;
    return normalizedByte(value(Math.floor(i / channels), channel), channel, normalization);
  });
}
