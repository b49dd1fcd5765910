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
  const {height, width, classes, anchors, scaleXY} = heads;
  const cells = output.length / (mask.length * (5 + classes));
  const [rows, columns] = gridOf(heads, cells);
  const found: Detection[] = [];
  mask.forEach((index, slot) => {
    const [anchorWidth, anchorHeight] = item(anchors, index);
    for (let cell = 0; cell < cells; cell++) {
      const value = (k: number): number => item(output, (slot * (5 + classes) + k) * cells + cell);
      const objectness = sigmoid(value(4));
      if (!(objectness >= minScore)) continue;
      const offset = (k: number): number => scaleXY * sigmoid(value(k)) - (scaleXY - 1) / 2;
      const box = cornersOf(
        ((cell % columns) + offset(0)) / columns,
        (Math.floor(cell / columns) + offset(1)) / rows,
        (Math.exp(value(2)) * anchorWidth) / width,
        (Math.exp(value(3)) * anchorHeight) / height,
      );
      for (let c = 0; c < classes; c++) {
        const score = objectness * sigmoid(value(5 + c));
        if (score >= minScore) found.push({class: c, score, box});
      }
    }
  });
  return found;
}
