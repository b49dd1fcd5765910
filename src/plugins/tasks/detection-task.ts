import {detectionRecord, mostDetections} from '../../detection/average-precision.ts';
import {iou, trueBoxes} from '../../detection/boxes.ts';
import {decode, type DecodeOptions, type Detection, type YoloHeads} from '../../detection/decode.ts';
import {headLoss, type LossOptions} from '../../detection/head-loss.ts';
import type {Meter, Task, Targets} from '../../training/task.ts';
import {detectionDistillation, detectionLoss} from './detection-loss.ts';
import type * as tf from '@tensorflow/tfjs-core';

/** [ours] Lowest score of a box that `sdq verify` looks for in both networks. */
const seen = 0.5;

export interface DetectionOptions extends LossOptions {
  readonly nmsIou: number;
  readonly minScore: number;
}

/** The network's outputs are those of the heads: [N, anchors · (5 + classes), rows, columns]. */
export function detectionTask(heads: YoloHeads, {nmsIou, minScore, ...loss}: DetectionOptions): Task {
  const decoding: DecodeOptions = {minScore, nmsIou, maxPerClass: mostDetections};
  return {
    heads: {...heads, nmsIou},
    detect: (outputs) => decode(outputs, heads, decoding),
    loss: (outputs, targets) => detectionLoss(outputs, boxesOf(targets), heads, loss),
    distillationLoss: (outputs, teacher, targets, options) =>
      detectionDistillation(outputs, teacher, boxesOf(targets), heads, {...loss, ...options}),
    reported: () => ({}),
    meter: () => detectionMeter(heads, decoding, loss),
    agreement: {
      of: `boxes of a score of ${seen} or more`,
      isSame: (a, b) => {
        const [ours, theirs] = [a, b].map((outputs) => decode(outputs, heads, {...decoding, minScore: seen}));
        return ours !== undefined && theirs !== undefined && areSame(ours, theirs);
      },
    },
  };
}

/** `outputs` of the definition refuses a data set without boxes. */
function boxesOf({boxes}: Targets): tf.Tensor3D {
  if (boxes === undefined) throw new Error('the batch has no boxes');
  return boxes;
}

/** Whether each box of one is in the other: of its class, at an IoU above 0.9. */
const areSame = (a: readonly Detection[], b: readonly Detection[]): boolean =>
  a.length === b.length &&
  a.every((box) => b.some((other) => other.class === box.class && iou(other.box, box.box) > 0.9));

/** mAP as COCO computes it; 0 where no image has an object. */
function detectionMeter(heads: YoloHeads, decoding: DecodeOptions, options: LossOptions): Meter {
  const record = detectionRecord();
  let [samples, sum] = [0, 0];
  return {
    add(outputs, {labels, boxes}) {
      const images = labels.length;
      for (let i = 0; i < images; i++) {
        const ofImage = outputs.map((output) => {
          const size = output.length / images;
          return output.subarray(i * size, (i + 1) * size);
        });
        const truth = boxes === undefined ? [] : trueBoxes(boxes, i);
        record.add(decode(ofImage, heads, decoding), truth);
        sum += headLoss(ofImage, truth, heads, options);
      }
      samples += images;
    },
    result() {
      const {map, map50} = record.result();
      return {map50: orZero(map50), map: orZero(map), loss: sum / samples};
    },
  };
}

const orZero = (value: number): number => (Number.isNaN(value) ? 0 : value);
