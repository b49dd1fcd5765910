import * as tf from '@tensorflow/tfjs-core';

import type {BatchSource} from '../data/batches.ts';
import type {ForwardOptions, Network} from '../graph/network.ts';

export interface Evaluation {
  /** Top-1, 0 to 1. */
  readonly accuracy: number;
  /** Whether the label is among the five highest outputs, 0 to 1. */
  readonly top5: number;
  /** Mean cross-entropy with the labels, in nats. */
  readonly loss: number;
  readonly samples: number;
}

/**
 * Runs the network once over a source, without gradients and with the running batch-norm statistics.
 * Of equal outputs the one with the lower index ranks higher; a label whose output is NaN is wrong.
 * @param options how weights and activations are quantized; nothing for full precision
 * @param onProgress batches done, and of how many
 * @param signal ends it before the next batch
 * @param batches how many of the source's batches; left out: all
 * @throws the signal's reason
 */
export async function evaluate(
  network: Network,
  source: BatchSource,
  options: Pick<ForwardOptions, 'weight' | 'activation'> = {},
  onProgress?: (done: number, total: number) => void,
  signal?: AbortSignal,
  batches = source.batchesPerEpoch,
): Promise<Evaluation> {
  const [channels, height, width] = network.graph.input.shape as [number, number, number];
  let [top1, top5, loss, samples] = [0, 0, 0, 0];
  for (let index = 0; index < batches; index++) {
    const batch = await source.batch(0, index);
    signal?.throwIfAborted();
    const logits = tf.tidy(() => {
      const images = tf.tensor4d(batch.images, [batch.size, height, width, channels]);
      return network.forward(images, {...options, training: false});
    });
    const values = await logits.data<'float32'>();
    logits.dispose();
    const classes = values.length / batch.size;
    for (let i = 0; i < batch.size; i++) {
      const {rank, crossEntropy} = judge(values.subarray(i * classes, (i + 1) * classes), batch.labels[i]!);
      if (rank < 1) top1++;
      if (rank < 5) top5++;
      loss += crossEntropy;
    }
    samples += batch.size;
    onProgress?.(index + 1, batches);
  }
  return {accuracy: top1 / samples, top5: top5 / samples, loss: loss / samples, samples};
}

/** How many classes rank above the label (infinitely many when its logit is NaN), and −log softmax(logits)[label]. */
function judge(logits: Float32Array, label: number): {rank: number; crossEntropy: number} {
  const own = logits[label]!;
  let rank = Number.isNaN(own) ? Infinity : 0;
  let highest = -Infinity;
  for (const [c, logit] of logits.entries()) {
    if (logit > own || (logit === own && c < label) || (Number.isNaN(logit) && c !== label)) rank++;
    highest = Math.max(highest, logit);
  }
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - highest);
  return {rank, crossEntropy: highest + Math.log(sum) - own};
}
