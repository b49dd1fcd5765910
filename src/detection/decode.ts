/**
 * From the outputs of YOLO heads to boxes: what the metric, `sdq predict` and a user of an exported file do alike.
 * The equations are darknet's (Redmon and Farhadi 2018; `scale_x_y`: Bochkovskiy et al. 2020).
 */
import {item} from '../lookup.ts';
import {cornersOf, iou, type Box} from './boxes.ts';

/** How the outputs of a detector are read. */
export interface YoloHeads {
  /** The network's input in pixels. */
  readonly height: number;
  readonly width: number;
  readonly classes: number;
  /** [width, height] in pixels of the network's input. */
  readonly anchors: readonly (readonly [width: number, height: number])[];
  /** For each output the indices of its anchors. */
  readonly masks: readonly (readonly number[])[];
  /** Stretches the offset of a centre in its cell about the cell's middle; 1: it stays within the cell. */
  readonly scaleXY: number;
}

/** What a detector says of itself: how its outputs are read, and what is done about boxes that overlap. */
export interface Detector extends YoloHeads {
  /** `nmsIou` of `DecodeOptions`. */
  readonly nmsIou: number;
}

export interface DecodeOptions {
  /** Boxes of a lower score are left out. */
  readonly minScore: number;
  /** Of two boxes of a class that overlap more, the one of the lower score is left out. */
  readonly nmsIou: number;
  /** The best of each class. */
  readonly maxPerClass: number;
}

export interface Detection {
  readonly class: number;
  /** Objectness × probability of the class, 0 … 1. */
  readonly score: number;
  /** Fractions of the network's input; may reach beyond it. */
  readonly box: Box;
}

/** Cells of an output of YOLO heads, from its length: strides are the same in both directions. */
function gridOf({height, width}: Pick<YoloHeads, 'height' | 'width'>, cells: number): readonly [number, number] {
  const stride = Math.sqrt((height * width) / cells);
  return [Math.round(height / stride), Math.round(width / stride)];
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/**
 * [ours] Outputs of width and height count up to this size, either sign: sides of e^−10 to e^10 anchors. Beyond it single precision
 * loses areas and squared lengths, and the loss would not be a number.
 */
export const mostExponent = 10;

const boundedExponential = (x: number): number => Math.exp(Math.min(mostExponent, Math.max(-mostExponent, x)));

/** An output of the heads for one image, read box by box: box `index` belongs to anchor ⌊index / cells⌋ and cell index mod cells. */
export interface HeadReader {
  readonly rows: number;
  readonly columns: number;
  /** Number of boxes: anchors · cells. */
  readonly boxes: number;
  /** Number k of box `index`: 0 to 3 place and size, 4 objectness, then the classes. */
  value(index: number, k: number): number;
  box(index: number): Box;
}

/** @param output [anchors × (5 + classes), rows, columns], flat */
export function headReader(output: Float32Array, heads: YoloHeads, mask: readonly number[]): HeadReader {
  const {height, width, classes, anchors, scaleXY} = heads;
  const cells = output.length / (mask.length * (5 + classes));
  const [rows, columns] = gridOf(heads, cells);
  const value: HeadReader['value'] = (index, k) => {
    const slot = Math.floor(index / cells);
    return item(output, (slot * (5 + classes) + k) * cells + (index % cells));
  };
  const offset = (index: number, k: number): number => scaleXY * sigmoid(value(index, k)) - (scaleXY - 1) / 2;
  return {
    rows,
    columns,
    boxes: mask.length * cells,
    value,
    box(index) {
      const [anchorWidth, anchorHeight] = item(anchors, item(mask, Math.floor(index / cells)));
      const cell = index % cells;
      return cornersOf(
        ((cell % columns) + offset(index, 0)) / columns,
        (Math.floor(cell / columns) + offset(index, 1)) / rows,
        (boundedExponential(value(index, 2)) * anchorWidth) / width,
        (boundedExponential(value(index, 3)) * anchorHeight) / height,
      );
    },
  };
}

/**
 * Boxes of one image, those of the highest score first; per-class greedy non-maximum suppression.
 * @param outputs of the heads for this image, [anchors × (5 + classes), rows, columns] each, flat: x, y, width, height, objectness
 *   and classes of each anchor, before any activation
 */
export function decode(
  outputs: readonly Float32Array[],
  heads: YoloHeads,
  {minScore, nmsIou, maxPerClass}: DecodeOptions,
): Detection[] {
  const candidates = outputs
    .flatMap((output, head) => candidatesOf(output, heads, item(heads.masks, head), minScore))
    .sort((a, b) => b.score - a.score);
  const kept = new Map<number, Detection[]>();
  return candidates.filter((candidate) => {
    const better = kept.get(candidate.class) ?? [];
    const isLeftOut = better.length >= maxPerClass || better.some(({box}) => iou(box, candidate.box) > nmsIou);
    if (!isLeftOut) kept.set(candidate.class, [...better, candidate]);
    return !isLeftOut;
  });
}

function candidatesOf(output: Float32Array, heads: YoloHeads, mask: readonly number[], minScore: number): Detection[] {
  const head = headReader(output, heads, mask);
  const found: Detection[] = [];
  for (let index = 0; index < head.boxes; index++) {
    const objectness = sigmoid(head.value(index, 4));
    if (!(objectness >= minScore)) continue;
    const box = head.box(index);
    for (let c = 0; c < heads.classes; c++) {
      const score = objectness * sigmoid(head.value(index, 5 + c));
      if (score >= minScore) found.push({class: c, score, box});
    }
  }
  return found;
}
