/**
 * The loss of YOLO heads as darknet computes it for `yolov4-tiny.cfg`: every object belongs to the anchor of the most similar shape,
 * in the cell of its centre (Redmon and Farhadi 2018); CIoU for its box (Zheng et al. 2020), binary cross-entropy for objectness and
 * classes; a box that overlaps an object without being its own does not count as empty. Sums over boxes, mean over images.
 *
 * [ours] Gradients are the exact ones, those of the sigmoid of x and y included, and with α of the CIoU held constant as its authors
 * do; overlaps count for any class; regions to ignore (crowds) excuse boxes that lie in them. Widths and heights beyond
 * `mostExponent` have the size at that bound and no gradient: value and gradient are finite for outputs of any size.
 */
import * as tf from '@tensorflow/tfjs-core';

import {mostExponent, type YoloHeads} from '../../detection/decode.ts';
import type {LossOptions} from '../../detection/head-loss.ts';
import {item} from '../../lookup.ts';
import type {DistillationOptions} from '../../sdq/distillation.ts';
import {sigmoidCrossEntropy} from '../../tensor/sigmoid-cross-entropy.ts';

/** One output, its boxes in a row: P = anchors · rows · columns, the anchor outermost. */
interface Head {
  readonly rows: number;
  readonly columns: number;
  /** Indices of its anchors. */
  readonly mask: readonly number[];
  /** [N, P, 5 + classes], before any activation */
  readonly raw: tf.Tensor3D;
}

/** Centre and size, each of the same shape, as fractions of the network's input. */
interface Boxes {
  readonly x: tf.Tensor;
  readonly y: tf.Tensor;
  readonly width: tf.Tensor;
  readonly height: tf.Tensor;
}

/** Keeps divisions by areas and lengths from 0. */
const epsilon = 1e-9;
/** Less than the area of any box that is decoded. */
const tiny = 1e-24;

const headsOf = (outputs: readonly tf.Tensor[], {masks, classes}: YoloHeads): Head[] =>
  outputs.map((output, index) => {
    const mask = item(masks, index);
    const [images, , rows, columns] = output.shape as [number, number, number, number];
    const planes = tf.reshape(output, [images, mask.length, 5 + classes, rows * columns]);
    const raw = tf.reshape<tf.Rank.R3>(tf.transpose(planes, [0, 1, 3, 2]), [images, -1, 5 + classes]);
    return {rows, columns, mask, raw};
  });

/** Entry k of the last axis of [N, B, K] as [N, B]. */
function column(x: tf.Tensor, k: number): tf.Tensor2D {
  const [images, boxes] = x.shape as [number, number];
  return tf.reshape(tf.slice(x, [0, 0, k], [images, boxes, 1]), [images, boxes]);
}

const float = (x: tf.Tensor): tf.Tensor => tf.cast(x, 'float32');

/** Of the P boxes of a head: column and row of the cell, width and height of the anchor as fractions of the input; [P] each. */
function places({rows, columns, mask}: Head, {anchors, width, height}: YoloHeads): Boxes {
  const cells = rows * columns;
  const each = (value: (slot: number, cell: number) => number): tf.Tensor =>
    tf.tensor1d(Float32Array.from({length: mask.length * cells}, (_, i) => value(Math.floor(i / cells), i % cells)));
  const anchor = (slot: number): readonly [number, number] => item(anchors, item(mask, slot));
  return {
    x: each((_, cell) => cell % columns),
    y: each((_, cell) => Math.floor(cell / columns)),
    width: each((slot) => anchor(slot)[0] / width),
    height: each((slot) => anchor(slot)[1] / height),
  };
}

/** @param raw [N, B, 5 + classes] @param at the place of each box, broadcast to [N, B] */
function decoded(raw: tf.Tensor, at: Boxes, {rows, columns}: Head, scaleXY: number): Boxes {
  const centre = (k: number, cell: tf.Tensor, cells: number): tf.Tensor =>
    tf.div(tf.add(tf.sub(tf.mul(tf.sigmoid(column(raw, k)), scaleXY), (scaleXY - 1) / 2), cell), cells);
  const side = (k: number, anchor: tf.Tensor): tf.Tensor =>
    tf.mul(tf.exp(tf.clipByValue(column(raw, k), -mostExponent, mostExponent)), anchor);
  return {
    x: centre(0, at.x, columns),
    y: centre(1, at.y, rows),
    width: side(2, at.width),
    height: side(3, at.height),
  };
}

/** Length of the overlap of two intervals given by their middles. */
function overlap(a: tf.Tensor, aLength: tf.Tensor, b: tf.Tensor, bLength: tf.Tensor): tf.Tensor {
  const end = tf.minimum(tf.add(a, tf.div(aLength, 2)), tf.add(b, tf.div(bLength, 2)));
  const start = tf.maximum(tf.sub(a, tf.div(aLength, 2)), tf.sub(b, tf.div(bLength, 2)));
  return tf.relu(tf.sub(end, start));
}

/** Shapes broadcast. */
function overlaps(a: Boxes, b: Boxes): {readonly iou: tf.Tensor; readonly covered: tf.Tensor} {
  const common = tf.mul(overlap(a.x, a.width, b.x, b.width), overlap(a.y, a.height, b.y, b.height));
  const own = tf.mul(a.width, a.height);
  const union = tf.sub(tf.add(own, tf.mul(b.width, b.height)), common);
  return {iou: tf.div(common, tf.add(union, epsilon)), covered: tf.div(common, tf.maximum(own, tiny))};
}

/** Length of the smallest interval around two. */
function hull(a: tf.Tensor, aLength: tf.Tensor, b: tf.Tensor, bLength: tf.Tensor): tf.Tensor {
  const end = tf.maximum(tf.add(a, tf.div(aLength, 2)), tf.add(b, tf.div(bLength, 2)));
  const start = tf.minimum(tf.sub(a, tf.div(aLength, 2)), tf.sub(b, tf.div(bLength, 2)));
  return tf.sub(end, start);
}

/** IoU − ρ²/c² − α v (Zheng et al. 2020, equations 9 to 12); differentiable in `a`. */
function completeIou(a: Boxes, b: Boxes): tf.Tensor {
  const {iou} = overlaps(a, b);
  const diagonal = tf.add(tf.square(hull(a.x, a.width, b.x, b.width)), tf.square(hull(a.y, a.height, b.y, b.height)));
  const distance = tf.add(tf.square(tf.sub(a.x, b.x)), tf.square(tf.sub(a.y, b.y)));
  const angle = ({width, height}: Boxes): tf.Tensor => tf.atan(tf.div(width, tf.add(height, epsilon)));
  const v = tf.mul(tf.square(tf.sub(angle(b), angle(a))), 4 / Math.PI ** 2);
  const alpha = constant(() => tf.div(v, tf.add(tf.add(v, tf.relu(tf.sub(1, iou))), epsilon)));
  return tf.sub(tf.sub(iou, tf.div(distance, tf.add(diagonal, epsilon))), tf.mul(alpha, v));
}

/** What `make` computes, cut off the tape. */
function constant(make: () => tf.Tensor): tf.Tensor {
  const cut = tf.customGrad(() => ({value: make(), gradFunc: () => []}));
  return cut();
}

/** The objects of a batch: what is to be learned, [N, M] each. */
interface Truth {
  readonly boxes: Boxes;
  /** 1 for an object, 0 for none and for one that is ignored. */
  readonly counts: tf.Tensor;
  /** 1 for one that is ignored. */
  readonly ignored: tf.Tensor;
  readonly class: tf.Tensor;
  /** Index of the anchor of the most similar shape, int32. */
  readonly anchor: tf.Tensor;
}

function truthOf(targets: tf.Tensor3D, {anchors, width, height}: YoloHeads): Truth {
  const [kind, x, y, w, h, flag] = [0, 1, 2, 3, 4, 5].map((k) => column(targets, k)) as [
    tf.Tensor2D,
    tf.Tensor2D,
    tf.Tensor2D,
    tf.Tensor2D,
    tf.Tensor2D,
    tf.Tensor2D,
  ];
  const isBox = float(tf.greaterEqual(kind, 0));
  const [wide, high] = [w, h].map((size) => tf.expandDims(size, 2)) as [tf.Tensor, tf.Tensor];
  const anchorWidth = tf.tensor1d(anchors.map((anchor) => anchor[0] / width));
  const anchorHeight = tf.tensor1d(anchors.map((anchor) => anchor[1] / height));
  const common = tf.mul(tf.minimum(wide, anchorWidth), tf.minimum(high, anchorHeight));
  const union = tf.sub(tf.add(tf.mul(wide, high), tf.mul(anchorWidth, anchorHeight)), common);
  return {
    boxes: {x, y, width: w, height: h},
    counts: tf.mul(isBox, tf.sub(1, flag)),
    ignored: tf.mul(isBox, flag),
    class: kind,
    anchor: tf.argMax(tf.div(common, union), 2),
  };
}

/** Which box of a head each object has, and where that box is. */
interface Assignment {
  /** [N, M, P]: 1 where the box is the object's. */
  readonly matrix: tf.Tensor3D;
  /** [N, M]: 1 where one of the head's boxes is the object's. */
  readonly assigned: tf.Tensor;
  readonly places: Boxes;
}

function assign(truth: Truth, head: Head, heads: YoloHeads): Assignment {
  const {rows, columns, mask} = head;
  const cell = (position: tf.Tensor, cells: number): tf.Tensor =>
    tf.clipByValue(tf.floor(tf.mul(position, cells)), 0, cells - 1);
  const [x, y] = [cell(truth.boxes.x, columns), cell(truth.boxes.y, rows)];
  const [images, most] = x.shape as [number, number];
  const hot = tf.mul(
    float(tf.equal(tf.expandDims(truth.anchor, 2), tf.tensor1d([...mask], 'int32'))),
    tf.expandDims(truth.counts, 2),
  );
  const index = tf.expandDims(tf.add(tf.mul(y, columns), x), 2);
  const inCell = float(tf.equal(index, tf.range(0, rows * columns)));
  const both = tf.mul(tf.expandDims(hot, 3), tf.expandDims(inCell, 2));
  const assigned = tf.sum(hot, 2);
  // An object of another head has a size too, so that nothing is divided by 0.
  const size = (side: 0 | 1, all: number): tf.Tensor => {
    const sizes = tf.tensor1d(mask.map((anchor) => item(heads.anchors, anchor)[side] / all));
    return tf.add(tf.sum(tf.mul(hot, sizes), 2), tf.sub(1, assigned));
  };
  return {
    matrix: tf.reshape(both, [images, most, mask.length * rows * columns]),
    assigned,
    places: {x, y, width: size(0, heads.width), height: size(1, heads.height)},
  };
}

const withAxis = ({x, y, width, height}: Boxes, axis: number): Boxes => ({
  x: tf.expandDims(x, axis),
  y: tf.expandDims(y, axis),
  width: tf.expandDims(width, axis),
  height: tf.expandDims(height, axis),
});

/** Objectness of all boxes of a head, [N, P]: targets, and 0 as the weight of those that overlap an object. */
function objectness(
  head: Head,
  truth: Truth,
  matrix: tf.Tensor3D,
  heads: YoloHeads,
  ignoreIou: number,
): {readonly targets: tf.Tensor; readonly weights: tf.Tensor} {
  const targets = tf.minimum(tf.sum(matrix, 1), 1);
  const all = withAxis(decoded(head.raw, places(head, heads), head, heads.scaleXY), 2);
  const {iou, covered} = overlaps(all, withAxis(truth.boxes, 1));
  const best = tf.maximum(
    tf.max(tf.mul(iou, tf.expandDims(truth.counts, 1)), 2),
    tf.max(tf.mul(covered, tf.expandDims(truth.ignored, 1)), 2),
  );
  const clear = float(tf.lessEqual(best, ignoreIou));
  return {targets, weights: tf.maximum(clear, targets)};
}

/** Classes of the objects, [N, M, classes]; a box with several objects counts once, as one of all their classes. */
function classTargets(
  truth: Truth,
  {matrix, assigned}: Assignment,
  classes: number,
): {readonly targets: tf.Tensor; readonly weights: tf.Tensor} {
  const same = tf.matMul(matrix, matrix, false, true);
  const kinds = float(tf.equal(tf.expandDims(truth.class, 2), tf.range(0, classes))) as tf.Tensor3D;
  const sharing = tf.maximum(tf.sum(same, 2), 1);
  return {targets: tf.minimum(tf.matMul(same, kinds), 1), weights: tf.expandDims(tf.div(assigned, sharing), 2)};
}

/** @param columns of each box, [N, B, …] */
function lastColumns(raw: tf.Tensor, first: number): tf.Tensor {
  const [images, boxes, columns] = raw.shape as [number, number, number];
  return tf.slice(raw, [0, 0, first], [images, boxes, columns - first]);
}

/**
 * @param outputs [N, anchors · (5 + classes), rows, columns] each
 * @param targets [N, M, 6]
 * @returns scalar
 */
export function detectionLoss(
  outputs: readonly tf.Tensor[],
  targets: tf.Tensor3D,
  heads: YoloHeads,
  {boxWeight, ignoreIou}: LossOptions,
): tf.Tensor {
  const truth = truthOf(targets, heads);
  const terms = headsOf(outputs, heads).flatMap((head) => {
    const assignment = assign(truth, head, heads);
    const {matrix, assigned, places: at} = assignment;
    const own = tf.matMul(matrix, head.raw);
    const ciou = completeIou(decoded(own, at, head, heads.scaleXY), truth.boxes);
    // Padding has no size; its CIoU is computed and not counted.
    return [
      tf.mul(tf.sum(tf.mul(tf.sub(1, ciou), assigned)), boxWeight),
      sigmoidCrossEntropy(column(head.raw, 4), () => objectness(head, truth, matrix, heads, ignoreIou)),
      sigmoidCrossEntropy(lastColumns(own, 5), () => classTargets(truth, assignment, heads.classes)),
    ];
  });
  return tf.div(tf.addN(terms), targets.shape[0]);
}

/**
 * [ours] What the teacher says of every box of its heads: T² BCE of objectness and, weighted by the teacher's objectness, T² BCE of
 * the classes and `boxWeight` · (1 − CIoU) of the boxes; plus μ times the loss of the objects. No gradient passes to the teacher.
 */
export function detectionDistillation(
  outputs: readonly tf.Tensor[],
  teacher: readonly tf.Tensor[],
  targets: tf.Tensor3D,
  heads: YoloHeads,
  options: LossOptions & DistillationOptions,
): tf.Tensor {
  const {temperature, hardLabelWeight, boxWeight} = options;
  const teachers = headsOf(teacher, heads);
  const soft = (logits: tf.Tensor): tf.Tensor => tf.sigmoid(tf.div(logits, temperature));
  const terms = headsOf(outputs, heads).flatMap((head, index) => {
    const {raw} = item(teachers, index);
    const confidence = tf.sigmoid(column(raw, 4));
    const at = places(head, heads);
    const ciou = completeIou(decoded(head.raw, at, head, heads.scaleXY), decoded(raw, at, head, heads.scaleXY));
    const ofLogits = (logits: tf.Tensor, hints: tf.Tensor, weights: tf.Tensor): tf.Tensor =>
      tf.mul(
        sigmoidCrossEntropy(tf.div(logits, temperature), () => ({targets: soft(hints), weights})),
        temperature ** 2,
      );
    return [
      tf.mul(tf.sum(tf.mul(tf.sub(1, ciou), confidence)), boxWeight),
      ofLogits(column(head.raw, 4), column(raw, 4), tf.onesLike(confidence)),
      ofLogits(lastColumns(head.raw, 5), lastColumns(raw, 5), tf.expandDims(confidence, 2)),
    ];
  });
  const distilled = tf.div(tf.addN(terms), targets.shape[0]);
  if (hardLabelWeight === 0) return distilled;
  return tf.add(distilled, tf.mul(detectionLoss(outputs, targets, heads, options), hardLabelWeight));
}
