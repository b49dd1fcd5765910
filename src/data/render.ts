/**
 * Makes batches from a data set: which images or rows, cropped and mirrored how, normalised. A batch is a pure function of
 * (seed, epoch, index) and, image by image, of (seed, epoch, image): a resumed run needs no state, and another batch size
 * moves no crop.
 *
 * Augmentation is the usual one. In memory and of small files: zeros around the image, a random crop, a mirror image half of
 * the time (He et al. 2016, section 4.2). Larger files: a random resized crop of 8 to 100 % of the area and aspect 3:4 to
 * 4:3 (Szegedy et al. 2015), a mirror image half of the time; evaluation takes the centre. Files with boxes:
 * `detection-image.ts`.
 */
import {boxNumbers} from '../detection/boxes.ts';
import {item} from '../lookup.ts';
import {permutation, uniform, type Uniform} from '../random.ts';
import type {Augmentation, Split, SplitBoxes} from './dataset.ts';
import {decodeImage, type Crop, type EncodedImage} from './decode-image.ts';
import {drawDetectionImage} from './detection-image.ts';
import {normalizedByte, type Normalization} from './normalization.ts';
import {pathAt} from './path-list.ts';
import {blockAt, groupOf, shardOrder, type ShardOrder} from './shard-order.ts';
import {shardReader} from './shard-reader.ts';

export interface RenderPlan {
  readonly split: Split;
  /** Images `start` … `end` − 1 of the split. */
  readonly start: number;
  readonly end: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  /** undefined: none. */
  readonly augmentation: Augmentation | undefined;
  readonly normalization: Normalization;
  readonly seed: number;
  /** Boxes that an image has at most, where the split has boxes. */
  readonly mostBoxes: number;
}

/** The arrays of one batch. */
interface BatchArrays {
  /** [batchSize, height, width, channels] */
  readonly images: Float32Array;
  /** [batchSize] */
  readonly labels: Int32Array;
  /** [batchSize, values] */
  readonly values?: Float32Array;
  /** [batchSize, mostBoxes, 6], as `TargetBoxes`. */
  readonly boxes?: Float32Array;
}

/**
 * Fills the arrays with batch `index` of `epoch`, or the places of one share of it. The bits do not depend on how it is shared.
 * @returns how many images the batch has: less than the batch size where the range ends
 * @throws SdqError (exit 3) that names an image file that cannot be decoded
 */
export type Render = (epoch: number, index: number, arrays: BatchArrays, share?: Share) => Promise<number>;

/** A part of a batch: one of `of` parts of about as many images. */
export interface Share {
  readonly part: number;
  readonly of: number;
}

const whole: Share = {part: 0, of: 1};

/** Writes one image of the split, normalised, to `target`, and its boxes to `boxes`; without `draw` it is not augmented. */
type WriteImage = (
  image: number,
  draw: Uniform | undefined,
  target: Float32Array,
  block: unknown,
  boxes: Float32Array | undefined,
) => Promise<void> | undefined;

export function createRenderer(plan: RenderPlan): Render {
  const {split, start, batchSize, seed, augmentation} = plan;
  const count = plan.end - start;
  const imageSize = plan.height * plan.width * plan.channels;
  const boxSize = boxNumbers * plan.mostBoxes;
  const orderOf = ordersOf(plan, count);
  const write = writerOf(plan, split);
  const shareOf = shares(plan);

  return async (epoch, index, {boxes, images, labels, values}, {part, of} = whole) => {
    const first = index * batchSize;
    const size = Math.min(batchSize, count - first);
    const order = orderOf?.(epoch);
    for (let place = 0; place < size; place++) {
      const image = start + (order?.order[first + place] ?? first + place);
      if (shareOf(place, size, of, image) !== part) continue;
      const draw = augmentation && uniform(seed, 'augment', epoch, image);
      const block = order?.blocks && blockAt(order.blocks, first + place);
      await write(
        image,
        draw,
        images.subarray(place * imageSize, (place + 1) * imageSize),
        block,
        boxes?.subarray(place * boxSize, (place + 1) * boxSize),
      );
      labels[place] = item(split.labels, image);
      if (split.targets !== undefined) {
        const width = split.targets.length / split.labels.length;
        values?.set(split.targets.subarray(image * width, (image + 1) * width), place * width);
      }
    }
    return size;
  };
}

/** The images at the places of an epoch, counted from the first of the plan, and the blocks of shards. */
type Order = Pick<ShardOrder, 'order'> & Partial<ShardOrder>;

/** The order of one epoch, kept until another epoch is asked for; undefined: as they are. */
function ordersOf(plan: RenderPlan, count: number): ((epoch: number) => Order) | undefined {
  const {split, shuffle, seed} = plan;
  if (split.kind === 'shards' && !shuffle) {
    const order = shardOrder(split, plan, undefined);
    return () => order;
  }
  if (!shuffle) return undefined;
  let current: (Order & {readonly epoch: number}) | undefined;
  return (epoch) => {
    if (current?.epoch === epoch) return current;
    const draw = uniform(seed, 'shuffle', epoch);
    const order = split.kind === 'shards' ? shardOrder(split, plan, draw) : {order: permutation(count, draw)};
    return (current = {epoch, ...order});
  };
}

/** Which of `of` shares of a batch of `size` images makes the one at `place`. */
type ShareOf = (place: number, size: number, of: number, image: number) => number;

function shares({split, shuffle}: RenderPlan): ShareOf {
  // Each row group in memory once: the images of a group are one thread's.
  if (split.kind === 'shards' && split.images.format === 'parquet' && shuffle)
    return (_, __, of, image) => groupOf(split, image) % of;
  return (place, size, of) => Math.floor(((place + 1) * of - 1) / size);
}

function writerOf(plan: RenderPlan, split: Split): WriteImage {
  if (split.kind === 'memory') return memoryWriter(plan, split);
  if (split.kind === 'rows') return rowWriter(plan, split);
  if (split.kind === 'shards') return encodedWriter(plan, shardReader(split));
  if (split.boxes !== undefined) return boxWriter(plan, split, split.boxes);
  return encodedWriter(plan, (image) => pathAt(split.paths, image));
}

function rowWriter(
  {channels, normalization: {mean, std}}: RenderPlan,
  {rows}: Extract<Split, {kind: 'rows'}>,
): WriteImage {
  return (row, _, target) => {
    for (let c = 0; c < channels; c++) target[c] = (item(rows, row * channels + c) - item(mean, c)) / item(std, c);
    return undefined;
  };
}

function memoryWriter(plan: RenderPlan, split: Extract<Split, {kind: 'memory'}>): WriteImage {
  const imageSize = plan.height * plan.width * plan.channels;
  const table = normalizationTable(plan.normalization);
  const {pad, flip} = plan.augmentation ?? {pad: 0, flip: false};
  return (image, draw, target) => {
    const pixels = split.images.subarray(image * imageSize, (image + 1) * imageSize);
    writeNormalized(pixels, target, plan, table, shift(draw, pad, flip));
    return undefined;
  };
}

/** By how much a crop of the padded image is off its middle, and whether it is mirrored; without `draw` it is neither. */
function shift(draw: Uniform | undefined, pad: number, flip: boolean): {top: number; left: number; mirrored: boolean} {
  const top = draw ? Math.floor(draw() * (2 * pad + 1)) - pad : 0;
  const left = draw ? Math.floor(draw() * (2 * pad + 1)) - pad : 0;
  return {top, left, mirrored: draw !== undefined && flip && draw() < 0.5};
}

/** @param source of an image */
function encodedWriter(
  plan: RenderPlan,
  source: (image: number, block: unknown) => string | Promise<EncodedImage>,
): WriteImage {
  const table = normalizationTable(plan.normalization);
  const {pad, flip} = plan.augmentation ?? {pad: 0, flip: false};
  if (pad > 0) {
    return async (image, draw, target, block) => {
      const place = shift(draw, pad, flip);
      const pixels = await decodeImage(await source(image, block), plan.width, undefined);
      writeNormalized(pixels, target, plan, table, place);
    };
  }
  return async (image, draw, target, block) => {
    const crop = draw && randomResizedCrop(draw);
    const mirrored = draw !== undefined && flip && draw() < 0.5;
    const pixels = await decodeImage(await source(image, block), plan.width, crop);
    writePhotograph(pixels, target, plan.width, table, mirrored);
  };
}

function boxWriter(plan: RenderPlan, split: Extract<Split, {kind: 'files'}>, boxes: SplitBoxes): WriteImage {
  const table = normalizationTable(plan.normalization);
  const pixels = new Uint8Array(plan.height * plan.width * plan.channels);
  const source = {
    canvas: {width: plan.width, height: plan.height},
    fileOf: (image: number) => pathAt(split.paths, image),
    boxes,
    augmentation: plan.augmentation?.detection,
    start: plan.start,
    end: plan.end,
    most: plan.mostBoxes,
  };
  return async (image, draw, target, _, boxTarget = new Float32Array(boxNumbers * plan.mostBoxes)) => {
    await drawDetectionImage(source, image, draw, pixels, boxTarget);
    writePhotograph(pixels, target, plan.width, table, false);
  };
}

/** (byte / 255 − mean) / std of every byte and channel: [256, channels]. */
function normalizationTable(normalization: Normalization): Float32Array {
  const channels = normalization.mean.length;
  return Float32Array.from({length: 256 * channels}, (_, i) =>
    normalizedByte(Math.floor(i / channels), i % channels, normalization),
  );
}

/* eslint-disable @typescript-eslint/no-non-null-assertion -- a loop over every pixel, within the image */
/**
 * @param pixels [height, width, channels] bytes
 * @param target the same shape
 * @param place the source row and column at which the target begins, outside the image reads 0; `mirrored` then swaps
 *   left and right
 */
function writeNormalized(
  pixels: Uint8Array,
  target: Float32Array,
  {height, width, channels}: {height: number; width: number; channels: number},
  table: Float32Array,
  {top, left, mirrored}: {top: number; left: number; mirrored: boolean},
): void {
  let out = 0;
  for (let row = top; row < top + height; row++) {
    const inside = row >= 0 && row < height;
    for (let x = 0; x < width; x++) {
      const column = left + (mirrored ? width - 1 - x : x);
      if (inside && column >= 0 && column < width) {
        const source = (row * width + column) * channels;
        for (let c = 0; c < channels; c++) target[out++] = table[pixels[source + c]! * channels + c]!;
      } else {
        for (let c = 0; c < channels; c++) target[out++] = table[c]!;
      }
    }
  }
}

/** `writeNormalized` of three channels and the whole image, in half the time. @param pixels [height, width, 3] bytes */
function writePhotograph(
  pixels: Uint8Array,
  target: Float32Array,
  width: number,
  table: Float32Array,
  mirrored: boolean,
): void {
  // From the end of a pixel read to the start of the next one.
  const skip = mirrored ? -6 : 0;
  const first = mirrored ? 3 * (width - 1) : 0;
  let out = 0;
  for (let row = 0; row < pixels.length; row += 3 * width) {
    let source = row + first;
    for (let x = 0; x < width; x++) {
      target[out++] = table[3 * pixels[source++]!]!;
      target[out++] = table[3 * pixels[source++]! + 1]!;
      target[out++] = table[3 * pixels[source++]! + 2]!;
      source += skip;
    }
  }
}
/* eslint-enable @typescript-eslint/no-non-null-assertion */

/** After ten tries that do not fit: the largest centre region of an allowed aspect, as torchvision does. */
function randomResizedCrop(draw: Uniform): Crop {
  // All draws are made here, so that a crop of another image size leaves the draws after it where they are.
  const tries = Array.from({length: 10}, () => ({area: 0.08 + 0.92 * draw(), aspect: (3 / 4) * (16 / 9) ** draw()}));
  const [down, right] = [draw(), draw()];
  return (width, height) => {
    for (const {area, aspect} of tries) {
      const cropWidth = Math.round(Math.sqrt(area * width * height * aspect));
      const cropHeight = Math.round(Math.sqrt((area * width * height) / aspect));
      if (cropWidth < 1 || cropWidth > width || cropHeight < 1 || cropHeight > height) continue;
      return {
        left: Math.floor(right * (width - cropWidth + 1)),
        top: Math.floor(down * (height - cropHeight + 1)),
        width: cropWidth,
        height: cropHeight,
      };
    }
    const cropWidth = Math.min(width, Math.max(1, Math.round((height * 4) / 3)));
    const cropHeight = Math.min(height, Math.max(1, Math.round((width * 4) / 3)));
    return {
      left: Math.floor((width - cropWidth) / 2),
      top: Math.floor((height - cropHeight) / 2),
      width: cropWidth,
      height: cropHeight,
    };
  };
}
