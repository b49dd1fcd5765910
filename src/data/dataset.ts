/** A data set of images or rows with labels or numbers, opened: plain data that can be handed to the worker thread that makes the batches. */
import type {PathList} from './path-list.ts';

export interface Dataset {
  readonly name: string;
  /** Empty where images have no classes: every label is then 0. */
  readonly classes: readonly string[];
  /** Names of the numbers that every image has, e.g. `['age']`; left out: none. */
  readonly values?: readonly string[];
  /** Whether every image has boxes of its objects, of the data set's classes; labels are then 0. */
  readonly boxes?: true;
  /** Images as the network sees them. Rows have height and width 1, and a channel for each number. */
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Per channel, on pixels scaled to 0 … 1 or on the numbers of rows; of the training split. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly augmentation: Augmentation;
  readonly train: Split;
  readonly test: Split;
  /** What was left out or changed in the files: full sentences. */
  readonly notices?: readonly string[];
}

/** What training does to an image of this data set; evaluation does none of it. */
export interface Augmentation {
  /**
   * Pixels of zeros added on every side before normalisation, then a random crop of the image's own size.
   * Files with 0 take a random resized crop instead.
   */
  readonly pad: number;
  /** Whether a mirrored image still shows its class (not so for digits). */
  readonly flip: boolean;
  /** Of images with boxes, which take none of the crops above. */
  readonly detection?: DetectionAugmentation;
}

export interface DetectionAugmentation {
  /** Share of the images that are put together of four. */
  readonly mosaic: number;
  /** By how much each edge of an image moves at most, as a fraction of its side. */
  readonly jitter: number;
  /** By how much hues turn at most, in parts of a circle. */
  readonly hue: number;
  /** Largest factors, and one over them the smallest. */
  readonly saturation: number;
  readonly exposure: number;
}

/** `labels[i]` belongs to image i; so does row i of `targets`, [count, values] where the data set has values. */
export type Split = {readonly targets?: Float32Array<SharedArrayBuffer>; readonly boxes?: SplitBoxes} & (
  | {
      readonly kind: 'memory';
      /** [count, height, width, channels] bytes in a SharedArrayBuffer, so that a worker reads them without a copy. */
      readonly images: Uint8Array<SharedArrayBuffer>;
      readonly labels: Uint16Array<SharedArrayBuffer>;
    }
  | {
      readonly kind: 'files';
      /** Absolute paths of PNG or JPEG files, decoded and resized when a batch needs them; a `PathList` for very many. */
      readonly paths: PathList | readonly string[];
      readonly labels: Uint16Array<SharedArrayBuffer>;
    }
  | ({readonly kind: 'shards'; readonly labels: Uint16Array<SharedArrayBuffer>} & Shards)
  | {
      readonly kind: 'rows';
      /** [count, channels] */
      readonly rows: Float64Array<SharedArrayBuffer>;
      readonly labels: Uint16Array<SharedArrayBuffer>;
    }
);

/** Objects of a split's images, in memory that the workers share: of image i those from `offsets[i]` to `offsets[i + 1]` − 1. */
export interface SplitBoxes {
  /** [count + 1] */
  readonly offsets: Uint32Array<SharedArrayBuffer>;
  /** [total] */
  readonly classes: Uint16Array<SharedArrayBuffer>;
  /** [total, 4]: x1, y1, x2, y2 as fractions of the photograph's width and height. */
  readonly corners: Float32Array<SharedArrayBuffer>;
  /** [count, 2]: width and height of each photograph in pixels. */
  readonly sizes: Uint32Array<SharedArrayBuffer>;
  /** [total]: 1 for an object that neither loss nor metric counts, as a crowd. */
  readonly ignore: Uint8Array<SharedArrayBuffer>;
}

/** Images, encoded as PNG or JPEG, in few large files. Image i is the same for every number of threads, and is read when a batch needs it. */
export interface Shards {
  /** Absolute paths. */
  readonly files: PathList;
  /** Images next to each other in a file, which are read one after the other. */
  readonly groups: ShardGroups;
  readonly images: TarImages | ParquetImages;
  /** Training shuffles the groups, then the images of so many images' groups among each other. */
  readonly shuffle: number;
}

interface ShardGroups {
  /** [groups]: the place of its file in `files`. */
  readonly files: Uint32Array<SharedArrayBuffer>;
  /** [groups]: the first image after the group; they rise. */
  readonly ends: Uint32Array<SharedArrayBuffer>;
  /** [groups]: memory that the group takes while a batch may need its images; 0: its images are read one by one. */
  readonly bytes: Float64Array<SharedArrayBuffer>;
}

/** Members of tar archives. */
interface TarImages {
  readonly format: 'tar';
  /** [images]: where the bytes of each begin in its file. */
  readonly offsets: Float64Array<SharedArrayBuffer>;
  /** [images] */
  readonly sizes: Uint32Array<SharedArrayBuffer>;
}

/** Values of a column of Parquet files; a group is a row group. */
export interface ParquetImages {
  readonly format: 'parquet';
  readonly column: string;
  /** [groups]: the row of the file with which the group begins. */
  readonly rows: Uint32Array<SharedArrayBuffer>;
}

/** Whether the images are PNG or JPEG, decoded when a batch needs them. */
export const isEncoded = ({kind}: Split): boolean => kind === 'files' || kind === 'shards';

/** What the network takes: [channels, height, width] of an image, [features] of a row. */
export const sampleShape = ({train, channels, height, width}: Dataset): readonly number[] =>
  train.kind === 'rows' ? [channels] : [channels, height, width];

/** What the data set counts, for messages. */
export const sampleNoun = ({train}: Dataset): 'images' | 'rows' => (train.kind === 'rows' ? 'rows' : 'images');
