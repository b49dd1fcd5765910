/** Small data sets whose every byte is known. */
import type {Dataset, Split} from '../../src/data/dataset.ts';

function sharedBytes(values: ArrayLike<number>): Uint8Array<SharedArrayBuffer> {
  const bytes = new Uint8Array(new SharedArrayBuffer(values.length));
  bytes.set(values);
  return bytes;
}

export function sharedLabels(values: ArrayLike<number>): Uint16Array<SharedArrayBuffer> {
  const labels = new Uint16Array(new SharedArrayBuffer(2 * values.length));
  labels.set(values);
  return labels;
}

/** Image i is `pixel(i, row, column, channel)`; its label is i mod `classes`. */
export function memorySplit(
  count: number,
  [height, width, channels]: readonly [number, number, number],
  classes: number,
  pixel: (image: number, row: number, column: number, channel: number) => number,
): Split {
  const size = height * width * channels;
  const values = Array.from({length: count * size}, (_, i) => {
    const inImage = i % size;
    const column = Math.floor(inImage / channels) % width;
    return pixel(Math.floor(i / size), Math.floor(inImage / channels / width), column, inImage % channels);
  });
  return {
    kind: 'memory',
    images: sharedBytes(values),
    labels: sharedLabels(Array.from({length: count}, (_, i) => i % classes)),
  };
}

/** 3 × 5 colour images; the pixels of image i tell their image, place and channel apart. */
export function madeDataset(train: number, test: number, augmentation = {pad: 1, flip: true}): Dataset {
  const shape = [3, 5, 3] as const;
  const pixel = (image: number, row: number, column: number, channel: number): number =>
    1 + ((image * 45 + row * 15 + column * 3 + channel) % 255);
  return {
    name: 'made',
    classes: ['a', 'b', 'c'],
    height: 3,
    width: 5,
    channels: 3,
    mean: [0.1, 0.2, 0.3],
    std: [0.5, 0.25, 0.125],
    augmentation,
    train: memorySplit(train, shape, 3, pixel),
    test: memorySplit(test, shape, 3, (image, ...place) => 255 - pixel(image, ...place)),
  };
}
