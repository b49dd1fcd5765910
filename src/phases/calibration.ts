/**
 * A fixed sample of the training images for the first values of the learned input ranges: the same images and the same places in every
 * tensor whatever `data.batchSize` is. [ours]
 */
import {openBatches, type BatchSource} from '../data/batches.ts';
import {partRange} from '../data/splits.ts';
import type {Graph} from '../graph/graph.ts';
import {inputTensor} from '../graph/input-tensor.ts';
import type {Network} from '../graph/network.ts';
import {elements} from '../graph/ops/operator.ts';
import {inferShapes} from '../graph/shape.ts';
import {entry} from '../lookup.ts';
import {sampleInputs, type InputSample} from '../training/calibration.ts';
import type {Session} from './session.ts';

/**
 * The sample's images in a fixed random order, without augmentation; the caller closes the source.
 * @param atOnce the most images in a batch
 */
export function openSample({config, dataset, normalization}: Session, atOnce = imagesAtOnce): BatchSource {
  const {batchSize, validation} = config.data;
  return openBatches(dataset, {
    part: 'train',
    mode: 'sample',
    validation,
    batchSize: Math.min(batchSize, atOnce),
    augment: false,
    normalization,
    seed: 0,
  });
}

/** Images in the sample, where the train part has so many. */
const calibrationImages = 256;
/** The most images in one forward pass. */
const imagesAtOnce = 32;
/** Bytes for the values that a backward pass of a batch keeps: a quarter of what the wasm engine can address. [ours] */
const keptBytes = 2 ** 30;

/** The most images in one backward pass: as in a forward pass, fewer where all values of the network take more than 1 GiB. */
export function imagesInBackwardPass(graph: Graph): number {
  const shapes = inferShapes(graph);
  const values = graph.nodes.flatMap(({outputs}) => outputs.map((name) => entry(shapes, name).shape));
  const bytes = values.reduce((total, shape) => total + 4 * elements(shape), 0);
  return Math.max(1, Math.min(imagesAtOnce, Math.floor(keptBytes / bytes)));
}

/**
 * Values of layer inputs for the fixed sample of a session's training images, in a fixed random order and without augmentation.
 * @param layers names of the layers
 */
export async function sampleTrainingInputs(
  session: Session,
  network: Network,
  layers: Iterable<string>,
): Promise<InputSample> {
  const names = [...layers];
  if (names.length === 0) return new Map();
  const {config, dataset} = session;
  const {start, end} = partRange(dataset, 'train', config.data.validation);
  const total = Math.min(calibrationImages, end - start);
  const source = openSample(session);
  const parts = new Map<string, Float32Array[]>(names.map((name) => [name, []]));
  try {
    for (let index = 0, first = 0; first < total; index++) {
      const batch = await source.batch(0, index);
      const count = Math.min(batch.size, total - first);
      const images = inputTensor(batch.images, count, network.graph.input.shape);
      for (const [name, values] of await sampleInputs(network, names, images, first)) entry(parts, name).push(values);
      images.dispose();
      first += count;
      session.reporter.update('calibrating input ranges', first, total);
    }
  } finally {
    await source.close();
  }
  return new Map(names.map((name) => [name, joined(entry(parts, name))]));
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
