/** Images as a network sees them, back to PNG. */
import {sampleShape} from '../data/dataset.ts';
import {encodePng} from '../data/png.ts';
import {item} from '../lookup.ts';
import type {Session} from './session.ts';

/**
 * @param pixels [height, width, channels], normalised
 * @param side a larger image is sampled down to at most so many pixels a side
 * @returns a PNG as a data URI; null for rows, and for images of neither 1 nor 3 channels
 */
export function pngUri(
  {dataset, normalization: {mean, std}}: Session,
  pixels: Float32Array,
  side: number,
): string | null {
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
  const png = encodePng(new Uint8Array(bytes.buffer), rows, columns, channels);
  return `data:image/png;base64,${png.toString('base64')}`;
}
