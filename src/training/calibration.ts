/** First values of the learned input ranges, from a sample of full-precision inputs. [ours] */
import * as tf from '@tensorflow/tfjs-core';

import type {Network} from '../graph/network.ts';
import {entry} from '../lookup.ts';
import {calibrate, samplePositions, type InputQuantizer} from '../sdq/activation-quantizer.ts';

/** Values of each full-precision activation, by id of the site. */
export type InputSample = ReadonlyMap<string, Float32Array>;

/**
 * Values of layer inputs for some images: from each image the same number, spread over all channels and places.
 * @param sites ids of the activations
 * @param images [N, height, width, channels]
 * @param first index of the first image within the whole sample: each image has its own places
 */
export async function sampleInputs(
  network: Network,
  sites: Iterable<string>,
  images: tf.Tensor,
  first = 0,
): Promise<InputSample> {
  const names = new Set(sites);
  const taken = new Map<string, tf.Tensor>();
  if (names.size === 0) return new Map();
  const count = images.shape[0];
  const logits = network.forward(images, {
    training: false,
    onActivation({id}, x) {
      if (!names.has(id)) return;
      // A tensor may hold several entries of an image along its first axis.
      const positions = samplePositions(count, x.size / count, first);
      taken.set(id, tf.keep(tf.gather(tf.reshape(x, [-1]), tf.tensor1d(positions, 'int32'))));
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

/**
 * Sets the ranges of the quantizers from a sample that has their layers.
 * @returns one sentence for the layers whose inputs were constant throughout the sample, so that their ranges mean little
 */
export function calibrateInputs(inputs: ReadonlyMap<string, InputQuantizer>, sample: InputSample): string | undefined {
  const constant: string[] = [];
  for (const [name, input] of inputs) {
    const values = entry(sample, name);
    calibrate(input, values);
    if (values.every((value) => value === values[0])) constant.push(`"${name}" (${values[0] ?? 'no value'})`);
  }
  if (constant.length === 0) return undefined;
  return `Every sampled value of the input is the same for layer ${constant.join(', ')}: its range is a guess.`;
}
