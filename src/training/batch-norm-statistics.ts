/** The running mean and variance of batch normalisation: their update in training, and their re-estimation. */
import * as tf from '@tensorflow/tfjs-core';

import type {BatchSource} from '../data/batches.ts';
import {inputTensor} from '../graph/input-tensor.ts';
import type {ForwardOptions, Network} from '../graph/network.ts';
import {entry} from '../lookup.ts';

type OnBatchStatistics = NonNullable<ForwardOptions['onBatchStatistics']>;

/** The statistics of one training batch, held back until it is known whether its loss is finite. */
export interface BatchStatistics {
  /** The listener for `Network.forward`. */
  readonly collect: OnBatchStatistics;
  /**
   * Moves the running statistics when the batch is accepted, leaves them as they are otherwise, and frees the batch's:
   * running ← momentum · running + (1 − momentum) · batch, the batch's variance unbiased, as PyTorch does.
   */
  settle(accept: boolean): void;
}

export function batchStatistics(network: Network): BatchStatistics {
  const collected: {node: string; mean: tf.Tensor; variance: tf.Tensor}[] = [];
  return {
    collect(node, mean, variance) {
      collected.push({node, mean: tf.keep(tf.clone(mean)), variance: tf.keep(tf.clone(variance))});
    },
    settle(accept) {
      for (const {node, mean, variance} of collected.splice(0)) {
        const running = entry(network.norms, node);
        tf.tidy(() => {
          if (!accept) return;
          const {momentum} = running;
          const mixed = (old: tf.Tensor, batch: tf.Tensor): tf.Tensor =>
            tf.add(tf.mul(old, momentum), tf.mul(batch, 1 - momentum));
          running.mean.assign(mixed(running.mean, mean));
          running.variance.assign(mixed(running.variance, variance));
        });
        tf.dispose([mean, variance]);
      }
    },
  };
}

/**
 * Replaces the running statistics by the plain mean over `batches` batches of the source's first epoch (or all of them
 * when it has fewer), with the weights and quantizers as they are: after the bitwidths changed, the old ones do not fit.
 */
export async function reestimateStatistics(
  network: Network,
  source: BatchSource,
  batches: number,
  options: Pick<ForwardOptions, 'weight' | 'activation'> = {},
): Promise<void> {
  const count = Math.min(batches, source.batchesPerEpoch);
  for (let index = 0; index < count; index++) {
    const batch = await source.batch(0, index);
    tf.tidy(() => {
      const images = inputTensor(batch.images, batch.size, network.graph.input.shape);
      network.forward(images, {
        ...options,
        training: true,
        // The mean of the first k + 1 batches from that of the first k; the first batch replaces what was there.
        onBatchStatistics: (node, mean, variance) => {
          const running = entry(network.norms, node);
          const move = (variable: tf.Variable, value: tf.Tensor): void => {
            const mixed = tf.add(tf.mul(variable, index / (index + 1)), tf.div(value, index + 1));
            variable.assign(index === 0 ? value : mixed);
          };
          move(running.mean, mean);
          move(running.variance, variance);
        },
      });
    });
  }
}
