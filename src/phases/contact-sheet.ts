/** Training images of a data set on one picture, with their boxes or classes: whether they are what they should be is seen at a glance. */
import {openBatches} from '../data/batches.ts';
import {sampleNoun, type Dataset} from '../data/dataset.ts';
import type {Region} from '../data/decode-image.ts';
import {drawBoxes, type LabelledBox} from '../data/draw-boxes.ts';
import {loadSharp} from '../data/sharp.ts';
import {trueBoxes, type TrueBox} from '../detection/boxes.ts';
import {invalidInput} from '../errors.ts';
import {item} from '../lookup.ts';

const columns = 6;
const rows = 4;
/** Pixels of an image on the sheet, at most, and between two. */
const side = 256;
const gap = 4;
const textSize = 14;

/**
 * Up to 24 training images, drawn at random with a fixed seed, as an evaluation prepares them.
 * @returns PNG
 * @throws SdqError (exit 3) for rows of numbers, and for images that cannot be decoded
 */
export async function contactSheet(dataset: Dataset): Promise<Buffer> {
  if (sampleNoun(dataset) === 'rows') {
    throw invalidInput('no-images', `${dataset.name} has rows of numbers; a sheet shows images.`);
  }
  const {height, width} = dataset;
  const scale = side / Math.max(height, width);
  const tile = {width: Math.round(width * scale), height: Math.round(height * scale)};
  const source = openBatches(dataset, {
    ...{part: 'train', mode: 'sample', validation: 0, batchSize: columns * rows, augment: false, seed: 0},
    normalization: {mean: dataset.mean.map(() => 0), std: dataset.std.map(() => 1)},
  });
  try {
    const batch = await source.batch(0, 0);
    const used = Math.min(batch.size, columns);
    const sheet = {
      width: used * (tile.width + gap) + gap,
      height: Math.ceil(batch.size / columns) * (tile.height + gap) + gap,
    };
    const pixels = new Uint8Array(3 * sheet.width * sheet.height).fill(255);
    const shapes: LabelledBox[] = [];
    for (let i = 0; i < batch.size; i++) {
      const left = gap + (i % columns) * (tile.width + gap);
      const top = gap + Math.floor(i / columns) * (tile.height + gap);
      const size = height * width * dataset.channels;
      const place = {left, top, ...tile};
      paste(await resized(batch.images.subarray(i * size, (i + 1) * size), dataset, tile), place, sheet.width, pixels);
      if (batch.boxes === undefined) {
        const index = item(batch.labels, i);
        shapes.push(framed(place, dataset.classes[index] ?? '', index));
      } else {
        const objects = trueBoxes(batch.boxes, i);
        shapes.push(...objects.map((object) => onSheet(place, object, dataset.classes[object.class] ?? '')));
      }
    }
    return await drawBoxes({pixels, ...sheet}, shapes, textSize);
  } finally {
    await source.close();
  }
}

const framed = ({height, left, top, width}: Region, label: string, index: number): LabelledBox => ({
  ...{left, top, right: left + width, bottom: top + height, label, index},
});

function onSheet({height, left, top, width}: Region, {box, class: index, ignore}: TrueBox, label: string): LabelledBox {
  const [x1, y1, x2, y2] = box;
  return {
    ...{left: left + x1 * width, top: top + y1 * height, right: left + x2 * width, bottom: top + y2 * height},
    ...{label, index, isDashed: ignore},
  };
}

/** @param image [height, width, channels], 0 … 1; grey becomes RGB @returns [tile.height, tile.width, 3] bytes */
async function resized(
  image: Float32Array,
  {channels, height, width}: Pick<Dataset, 'channels' | 'height' | 'width'>,
  tile: Pick<Region, 'width' | 'height'>,
): Promise<Uint8Array> {
  const bytes = Uint8Array.from({length: 3 * height * width}, (_, i) =>
    Math.round(255 * item(image, Math.floor(i / 3) * channels + (channels < 3 ? 0 : i % 3))),
  );
  const sharp = await loadSharp();
  const kernel = tile.width > width ? 'nearest' : 'linear';
  return sharp(bytes, {raw: {width, height, channels: 3}})
    .resize(tile.width, tile.height, {fit: 'fill', kernel})
    .raw()
    .toBuffer();
}

/** @param part [height, width, 3] of the place */
function paste(part: Uint8Array, {height, left, top, width}: Region, sheetWidth: number, pixels: Uint8Array): void {
  for (let y = 0; y < height; y++) {
    pixels.set(part.subarray(3 * y * width, 3 * (y + 1) * width), 3 * ((top + y) * sheetWidth + left));
  }
}
