/**
 * First values of the learned input ranges, from a fixed sample of the training images: the same images and the same places in every
 * tensor whatever `data.batchSize` is. [ours]
 */
import * as tf from '@tensorflow/tfjs-core';

import {openBatches} from '../data/batches.ts';
import {partRange} from '../data/splits.ts';
import type {Network} from '../graph/network.ts';
import {calibrate, samplePositions, type InputQuantizer} from '../sdq/activation-quantizer.ts';
import type {Session} from './session.ts';

/** Images in the sample, where the train part has so many. */
const calibrationImages = 256;
/** The most images in one forward pass. */
const imagesAtOnce = 32;

/** Values of each layer's full-precision input, by layer name. */
export type InputSample = ReadonlyMap<string, Float32Array>;

/**
 * Values of layer inputs for some images: from each image the same number, spread over all channels and places.
 * @param layers names of the layers
 * @param images [N, height, width, channels]
 * @param first index of the first image within the whole sample: each image has its own places
 */
export async function sampleInputs(
  network: Network,
  layers: Iterable<string>,
  images: tf.Tensor,
  first = 0,
): Promise<InputSample> {
  const names = new Set(layers);
  const taken = new Map<string, tf.Tensor>();
  if (names.size === 0) return new Map();
  const logits = network.forward(images, {
    training: false,
    onActivation({name}, x) {
      if (!names.has(name)) return;
      const count = x.shape[0];
      const positions = samplePositions(count, x.size / count, first);
      taken.set(name, tf.keep(tf.gather(tf.reshape(x, [-1]), tf.tensor1d(positions, 'int32'))));
    },
  });
  try {
    const read = [...taken].map(async ([name, values]): Promise<[string, Float32Array]> => [
      name,
      Float32Array.from(await values.data()),
    ]);
    return new Map(await Promise.all(read));
  } finally {
    tf.dispose([logits, ...taken.values()]);
  }
}

/** The same for the fixed sample of a session's training images, in a fixed random order and without augmentation. */
export async function sampleTrainingInputs(
  session: Session,
  network: Network,
  layers: Iterable<string>,
): Promise<InputSample> {
  const names = [...layers];
  if (names.length === 0) return new Map();
  const {config, dataset, normalization} = session;
  const {channels, height, width} = dataset;
  const {batchSize, validation} = config.data;
  const {start, end} = partRange(dataset, 'train', validation);
  const total = Math.min(calibrationImages, end - start);
  const source = openBatches(dataset, {
    part: 'train',
    mode: 'sample',
    validation,
    batchSize: Math.min(batchSize, imagesAtOnce),
    augment: false,
    normalization,
    seed: 0,
  });
  const parts = new Map<string, Float32Array[]>(names.map((name) => [name, []]));
  try {
    for (let index = 0, first = 0; first < total; index++) {
      const batch = await source.batch(0, index);
      const count = Math.min(batch.size, total - first);
      const images = tf.tensor4d(batch.images.slice(0, count * height * width * channels), [
        count,
        height,
        width,
        channels,
      ]);
      for (const [name, values] of await sampleInputs(network, names, images, first)) parts.get(name)!.push(values);
      images.dispose();
      first += count;
      session.reporter.update('calibrating input ranges', first, total);
    }
  } finally {
    await source.close();
  }
  return new Map(names.map((name) => [name, joined(parts.get(name)!)]));
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, {length}) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/**
 * Sets the ranges of the quantizers from a sample that has their layers.
 * @returns one sentence for the layers whose inputs were constant throughout the sample, so that their ranges mean little
 */
export function calibrateInputs(inputs: ReadonlyMap<string, InputQuantizer>, sample: InputSample): string | undefined {
  const constant: string[] = [];
  for (const [name, input] of inputs) {
    const values = sample.get(name)!;
    calibrate(input, values);
    if (values.every((value) => value === values[0])) constant.push(`"${name}" (${values[0] ?? 'no value'})`);
  }
  if (constant.length === 0) return undefined;
  return `Every sampled value of the input is the same for layer ${constant.join(', ')}: its range is a guess.`;
}
