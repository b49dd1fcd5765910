/** What a detector finds on a split: precision over recall, and the boxes of some images. */
import {detectionRecord} from '../detection/average-precision.ts';
import {trueBoxes, type TrueBox} from '../detection/boxes.ts';
import type {Detection} from '../detection/decode.ts';
import type {BatchObserver} from './evaluate.ts';
import type {Task} from './task.ts';

interface DetectedImage {
  /** Its place in the split, from 0. */
  readonly index: number;
  /** [height · width · channels], as the network saw it: normalised. */
  readonly pixels: Float32Array;
  /** Those of a high score. */
  readonly boxes: readonly Detection[];
  readonly truth: readonly TrueBox[];
}

export interface Detections {
  readonly samples: number;
  /** Of each class that has objects: precision at IoU 0.5 at recalls of 0, 0.01, … 1. */
  readonly curves: readonly {readonly class: number; readonly precision: readonly number[]}[];
  /** The first ones of the split. */
  readonly images: readonly DetectedImage[];
}

/** @param limit of images @param minScore of the boxes of `images` */
export function collectDetections(
  detect: NonNullable<Task['detect']>,
  {limit, minScore}: {readonly limit: number; readonly minScore: number},
): {readonly add: BatchObserver; result(): Detections} {
  const record = detectionRecord();
  const images: DetectedImage[] = [];
  let samples = 0;
  return {
    add(outputs, {boxes: targets, images: pixels, labels}) {
      const count = labels.length;
      const part = (array: Float32Array, i: number): Float32Array => {
        const size = array.length / count;
        return array.subarray(i * size, (i + 1) * size);
      };
      for (let i = 0; i < count; i++) {
        const boxes = detect(outputs.map((output) => part(output, i)));
        const truth = targets === undefined ? [] : trueBoxes(targets, i);
        record.add(boxes, truth);
        if (images.length === limit) continue;
        const shown = boxes.filter(({score}) => score >= minScore);
        images.push({index: samples + i, pixels: part(pixels, i).slice(), boxes: shown, truth});
      }
      samples += count;
    },
    result: () => ({
      samples,
      curves: [...record.result().curves].map(([index, precision]) => ({class: index, precision})),
      images,
    }),
  };
}
