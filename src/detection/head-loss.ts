/**
 * The loss of YOLO heads for one image, in double precision: what validation and tests report. Training has it on the gradient tape
 * (src/plugins/tasks/detection-loss.ts), whose words on its terms hold here too.
 */
import {item} from '../lookup.ts';
import {nearest} from './anchors.ts';
import {coveredBy, iou, type Box, type TrueBox} from './boxes.ts';
import {headReader, type HeadReader, type YoloHeads} from './decode.ts';

export interface LossOptions {
  /** Of the boxes: darknet's `iou_normalizer`. */
  readonly boxWeight: number;
  /** A box without an object is not counted as empty where its IoU with one is above: darknet's `ignore_thresh`. */
  readonly ignoreIou: number;
}

/** In nats. */
const crossEntropy = (logit: number, target: number): number =>
  Math.max(logit, 0) + Math.log1p(Math.exp(-Math.abs(logit))) - logit * target;

const sizeOf = ([x1, y1, x2, y2]: Box): readonly [width: number, height: number] => [x2 - x1, y2 - y1];

function completeIou(a: Box, b: Box): number {
  const span = (low: 0 | 1): number => Math.max(a[low + 2] ?? 0, b[low + 2] ?? 0) - Math.min(a[low], b[low]);
  const apart = (low: 0 | 1): number => (a[low] + (a[low + 2] ?? 0) - b[low] - (b[low + 2] ?? 0)) / 2;
  const angle = (box: Box): number => Math.atan2(...sizeOf(box));
  const v = (4 / Math.PI ** 2) * (angle(b) - angle(a)) ** 2;
  const overlap = iou(a, b);
  const alpha = v === 0 ? 0 : v / (1 - overlap + v);
  return overlap - (apart(0) ** 2 + apart(1) ** 2) / (span(0) ** 2 + span(1) ** 2) - alpha * v;
}

/** Index of the anchor of the most similar shape. */
function anchorOf(box: Box, {anchors, width, height}: YoloHeads): number {
  const sizes = anchors.map(([w, h]) => [w / width, h / height] as const);
  return nearest(sizeOf(box), sizes).index;
}

/** @param outputs [anchors × (5 + classes), rows, columns] each, flat */
export function headLoss(
  outputs: readonly Float32Array[],
  truth: readonly TrueBox[],
  heads: YoloHeads,
  options: LossOptions,
): number {
  const objects = truth.filter(({ignore}) => !ignore);
  return outputs.reduce((sum, output, index) => {
    const mask = item(heads.masks, index);
    const head = headReader(output, heads, mask);
    const assigned = new Map<number, TrueBox[]>();
    for (const object of objects) {
      const slot = mask.indexOf(anchorOf(object.box, heads));
      if (slot < 0) continue;
      const box = slot * head.rows * head.columns + cellOf(object.box, head);
      assigned.set(box, [...(assigned.get(box) ?? []), object]);
    }
    return sum + lossOfBoxes(head, assigned, truth, heads.classes, options);
  }, 0);
}

function cellOf([x1, y1, x2, y2]: Box, {rows, columns}: HeadReader): number {
  const cell = (middle: number, cells: number): number => Math.min(Math.max(Math.floor(middle * cells), 0), cells - 1);
  return cell((y1 + y2) / 2, rows) * columns + cell((x1 + x2) / 2, columns);
}

function lossOfBoxes(
  head: HeadReader,
  assigned: ReadonlyMap<number, readonly TrueBox[]>,
  truth: readonly TrueBox[],
  classes: number,
  {boxWeight, ignoreIou}: LossOptions,
): number {
  let sum = 0;
  for (let index = 0; index < head.boxes; index++) {
    const box = head.box(index);
    const own = assigned.get(index);
    if (own === undefined) {
      const isClear = truth.every((object) => (object.ignore ? coveredBy : iou)(box, object.box) <= ignoreIou);
      if (isClear) sum += crossEntropy(head.value(index, 4), 0);
      continue;
    }
    sum += crossEntropy(head.value(index, 4), 1);
    for (const object of own) sum += boxWeight * (1 - completeIou(box, object.box));
    for (let c = 0; c < classes; c++) {
      const isOne = own.some((object) => object.class === c);
      sum += crossEntropy(head.value(index, 5 + c), Number(isOne));
    }
  }
  return sum;
}
