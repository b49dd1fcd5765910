import * as tf from '@tensorflow/tfjs-core';

import type {Batch, BatchSource} from '../data/batches.ts';
import {inputTensor} from '../graph/input-tensor.ts';
import type {ForwardOptions, Network} from '../graph/network.ts';
import type {Evaluation, Meter} from './task.ts';

/** Looks at the outputs of each batch, flat, [N, …], beside the batch. */
export type BatchObserver = (outputs: readonly Float32Array[], batch: Batch) => void;

/**
 * Runs the network once over a source, without gradients and with the running batch-norm statistics.
 * @param task says what is measured
 * @param options how weights and activations are quantized; nothing for full precision
 * @param onProgress batches done, and of how many
 * @param signal ends it before the next batch
 * @param batches how many of the source's batches; left out: all
 * @throws the signal's reason
 */
export async function evaluate(
  network: Network,
  task: {meter(): Pick<Meter, 'result'> & {readonly add: BatchObserver}},
  source: BatchSource,
  options: Pick<ForwardOptions, 'weight' | 'activation'> = {},
  onProgress?: (done: number, total: number) => void,
  signal?: AbortSignal,
  batches = source.batchesPerEpoch,
): Promise<Evaluation> {
  const meter = task.meter();
  let samples = 0;
  for (let index = 0; index < batches; index++) {
    const batch = await source.batch(0, index);
    signal?.throwIfAborted();
    const outputs = tf.tidy(() => {
      const images = inputTensor(batch.images, batch.size, network.graph.input.shape);
      return network.outputs(images, {...options, training: false});
    });
    const values = await Promise.all(outputs.map((output) => output.data<'float32'>()));
    tf.dispose(outputs);
    meter.add(values, batch);
    samples += batch.size;
    onProgress?.(index + 1, batches);
  }
  return {...meter.result(), samples};
}
