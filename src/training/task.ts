/** What a network learns: its loss, how it learns from a teacher, and the figures by which it is judged. */
import * as tf from '@tensorflow/tfjs-core';

import {boxNumbers, type TargetBoxes} from '../detection/boxes.ts';
import type {Detection, Detector} from '../detection/decode.ts';
import type {DistillationOptions} from '../sdq/distillation.ts';

/** A figure of merit, under the name that results, journal and tables give it. */
export interface Metric {
  /** Camel case, e.g. `accuracy`. */
  readonly name: string;
  readonly better: 'higher' | 'lower';
  /** Shown to people in percent: 0 to 1. */
  readonly isFraction: boolean;
  /** Tables leave it out for a network of fewer outputs, where it says nothing. Default: 1. */
  readonly minOutputs?: number;
}

/** What the data set yields for the images of a batch, beside the images. */
export interface TargetArrays {
  /** [N]: index of each image's class; 0 where the data set has no classes. */
  readonly labels: Int32Array;
  /** [N, values]: the numbers of each image, where the data set has any. */
  readonly values?: Float32Array | undefined;
  /** The objects of each image, where the data set has boxes. */
  readonly boxes?: TargetBoxes | undefined;
}

/** The same as tensors: `labels` [N] int32, `values` [N, values] and `boxes` [N, most, 6] float32. */
// A type and not an interface, so that tf.dispose takes it.
export type Targets = {
  readonly labels: tf.Tensor1D;
  readonly values?: tf.Tensor2D;
  readonly boxes?: tf.Tensor3D;
};

/** Figures by name, over whole images; `loss` is always among them, NaN where it cannot be computed. */
export type Figures = Readonly<Record<string, number>> & {readonly loss: number};

/** Figures on a split, and on how many images. */
export type Evaluation = Figures & {readonly samples: number};

/** Adds up the figures of a split, batch by batch, in double precision. */
export interface Meter {
  /** @param outputs values of each output of the network, flat, [N, …] */
  add(outputs: readonly Float32Array[], targets: TargetArrays): void;
  /** The metrics of the task's definition in their order, then `loss`. */
  result(): Figures;
}

/** A task with its arithmetic. Functions on tensors run on the gradient tape; they must not await. */
export interface Task {
  /** @param outputs of the network, [N, …] each. @returns scalar */
  loss(outputs: readonly tf.Tensor[], targets: Targets): tf.Tensor;
  /** The loss of a student that also learns from a teacher's outputs; no gradient passes to those. @returns scalar */
  distillationLoss(
    outputs: readonly tf.Tensor[],
    teacher: readonly tf.Tensor[],
    targets: Targets,
    options: DistillationOptions,
  ): tf.Tensor;
  /** Scalars of a training batch that the journal shows beside the loss, by name. */
  reported(outputs: readonly tf.Tensor[], targets: Targets): Readonly<Record<string, tf.Tensor>>;
  meter(): Meter;
  /** The first output is one logit for each class of the data set: runs keep which classes are taken for which. Default: no. */
  readonly classifies?: boolean;
  /**
   * What `sdq verify` counts where rounding to either side is allowed. Default: images none of whose outputs differs by more than
   * 1 % of the largest output.
   */
  readonly agreement?: Agreement;
  /** Of a detector: how its outputs become boxes. */
  readonly heads?: Detector;
  /** Of a detector: the boxes that its metric counts. @param outputs of one image, flat */
  readonly detect?: (outputs: readonly Float32Array[]) => readonly Detection[];
}

export interface Agreement {
  /** What is compared, e.g. `first class`. */
  readonly of: string;
  /** Whether two outputs for one image say the same. */
  isSame(a: readonly Float32Array[], b: readonly Float32Array[]): boolean;
}

/** The caller disposes the tensors. @param size images of the batch */
export function targetTensors({labels, values, boxes}: TargetArrays, size: number): Targets {
  return {
    labels: tf.tensor1d(labels, 'int32'),
    ...(values !== undefined && {values: tf.tensor2d(values, [size, values.length / size])}),
    ...(boxes !== undefined && {boxes: tf.tensor3d(boxes.values, [size, boxes.most, boxNumbers])}),
  };
}

/** Those of the first images of a batch, copied. @param size images of the batch */
export function firstTargets({labels, values, boxes}: TargetArrays, size: number, count: number): TargetArrays {
  const rows = (array: Float32Array): Float32Array => array.slice(0, (array.length / size) * count);
  return {
    labels: labels.slice(0, count),
    ...(values !== undefined && {values: rows(values)}),
    ...(boxes !== undefined && {boxes: {most: boxes.most, values: rows(boxes.values)}}),
  };
}

/** Whether `value` is better than `than`. */
export const isBetter = ({better}: Pick<Metric, 'better'>, value: number, than: number): boolean =>
  better === 'higher' ? value > than : value < than;
