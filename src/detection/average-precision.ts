/**
 * Average precision as COCO computes it (pycocotools' `COCOeval`): per class, detections in the order of their scores are matched to
 * objects; precision, made monotone, is averaged over 101 recalls; then over the classes that have objects.
 */
import {item} from '../lookup.ts';
import {coveredBy, iou, type TrueBox} from './boxes.ts';
import type {Detection} from './decode.ts';

/** 0.5, 0.55, … 0.95 */
const thresholds = Array.from({length: 10}, (_, i) => 0.5 + 0.05 * i);
const recalls = Array.from({length: 101}, (_, i) => i / 100);
/** Detections of an image that count for a class: COCO's `maxDets`. */
export const mostDetections = 100;

/** What became of a detection at each threshold. */
type Outcome = 'hit' | 'miss' | 'ignored';

interface ClassRecord {
  objects: number;
  readonly scored: {readonly score: number; readonly outcomes: readonly Outcome[]}[];
}

interface AveragePrecisions {
  /** Mean over the classes and over the IoUs from 0.5 to 0.95. */
  readonly map: number;
  /** Mean over the classes at IoU 0.5. */
  readonly map50: number;
  /** At IoU 0.5 of each class, the precision at recalls 0, 0.01, … 1; of the classes that have objects. */
  readonly curves: ReadonlyMap<number, readonly number[]>;
}

export interface DetectionRecord {
  /** @param detections of one image, in any order */
  add(detections: readonly Detection[], truth: readonly TrueBox[]): void;
  /** NaN where no image has an object. */
  result(): AveragePrecisions;
}

export function detectionRecord(): DetectionRecord {
  const classes = new Map<number, ClassRecord>();
  const recordOf = (index: number): ClassRecord => {
    const record = classes.get(index) ?? {objects: 0, scored: []};
    classes.set(index, record);
    return record;
  };
  return {
    add(detections, truth) {
      for (const index of new Set([...detections, ...truth].map((each) => each.class))) {
        const record = recordOf(index);
        const found = detections
          .filter((each) => each.class === index)
          .toSorted((a, b) => b.score - a.score)
          .slice(0, mostDetections);
        const objects = truth.filter((each) => each.class === index);
        const ordered = [...objects.filter(({ignore}) => !ignore), ...objects.filter(({ignore}) => ignore)];
        const outcomes = thresholds.map((threshold) => matched(found, ordered, threshold));
        record.objects += objects.filter(({ignore}) => !ignore).length;
        record.scored.push(...found.map(({score}, i) => ({score, outcomes: outcomes.map((at) => item(at, i))})));
      }
    },
    result() {
      const curves = new Map<number, readonly number[]>();
      const means: number[][] = [];
      for (const [index, {objects, scored}] of [...classes].toSorted(([a], [b]) => a - b)) {
        if (objects === 0) continue;
        const sorted = scored.toSorted((a, b) => b.score - a.score);
        const all = thresholds.map((_, t) =>
          precisions(
            sorted.map(({outcomes}) => item(outcomes, t)),
            objects,
          ),
        );
        curves.set(index, item(all, 0));
        means.push(all.map(mean));
      }
      return {map: mean(means.map(mean)), map50: mean(means.map((each) => item(each, 0))), curves};
    },
  };
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** @param found by descending score @param objects those to ignore last */
function matched(found: readonly Detection[], objects: readonly TrueBox[], threshold: number): Outcome[] {
  const taken = new Set<TrueBox>();
  return found.map(({box}) => {
    let best = Math.min(threshold, 1 - 1e-10);
    let match: TrueBox | undefined;
    for (const object of objects) {
      if (taken.has(object) && !object.ignore) continue;
      if (match?.ignore === false && object.ignore) break;
      const overlap = object.ignore ? coveredBy(box, object.box) : iou(box, object.box);
      if (overlap < best) continue;
      best = overlap;
      match = object;
    }
    if (match === undefined) return 'miss';
    taken.add(match);
    return match.ignore ? 'ignored' : 'hit';
  });
}

/** Precision at each of the recalls, 0 where it is not reached. @param outcomes by descending score */
function precisions(outcomes: readonly Outcome[], objects: number): number[] {
  const points: {readonly recall: number; precision: number}[] = [];
  let [hits, misses] = [0, 0];
  for (const outcome of outcomes) {
    if (outcome === 'hit') hits++;
    if (outcome === 'miss') misses++;
    points.push({recall: hits / objects, precision: hits === 0 ? 0 : hits / (hits + misses)});
  }
  let highest = 0;
  for (const point of points.toReversed()) {
    highest = Math.max(highest, point.precision);
    point.precision = highest;
  }
  let at = 0;
  return recalls.map((recall) => {
    while (at < points.length && item(points, at).recall < recall) at++;
    return points[at]?.precision ?? 0;
  });
}
