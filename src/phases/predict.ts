/** The likeliest classes of images, by a checkpoint in sdq or by an exported file in ONNX Runtime. */
import * as tf from '@tensorflow/tfjs-core';

import {isEncoded} from '../data/dataset.ts';
import type {Normalization} from '../data/normalization.ts';
import {predictionImage} from '../data/prediction-image.ts';
import {invalidInput} from '../errors.ts';
import {readFileBounded} from '../files.ts';
import {inputTensor} from '../graph/input-tensor.ts';
import {decodeOnnx, metadataOf} from '../graph/onnx/proto.ts';
import {item} from '../lookup.ts';
import {metadataKeys} from './export.ts';
import {loadOnnxRuntime} from './onnx-runtime.ts';
import {openCheckpoint} from './open-checkpoint.ts';
import type {Session} from './session.ts';

export interface Prediction {
  readonly file: string;
  /** The likeliest first; probabilities are the softmax of the outputs. */
  readonly classes: readonly {readonly name: string; readonly probability: number}[];
}

interface Classifier {
  /** [channels, height, width] */
  readonly shape: readonly number[];
  readonly normalization: Normalization;
  /** Names of the outputs; empty where nobody knows them. */
  readonly classes: readonly string[];
  /** Whether an image is taken as a whole, not its centre. */
  readonly isWhole: boolean;
  /** @param image [height, width, channels], normalised @returns one number a class */
  readonly run: (image: Float32Array) => Promise<Float32Array>;
  readonly close: () => Promise<void> | void;
}

/**
 * @param strategy as for `openCheckpoint`
 * @throws SdqError (exit 3) for a task other than classification, and for files that are broken or not of this network
 */
export async function checkpointClassifier(
  session: Session,
  checkpoint: string,
  strategy: string | undefined,
): Promise<Classifier> {
  const {config, dataset, normalization} = session;
  if (dataset.classes.length === 0) {
    throw invalidInput('no-classes', `${config.data.name} has no classes; predictions are of classes.`);
  }
  const {network, quantization, dispose} = await openCheckpoint(session, checkpoint, strategy);
  const {shape} = network.graph.input;
  return {
    shape,
    normalization,
    classes: dataset.classes,
    isWhole: !isEncoded(dataset.train),
    async run(image) {
      const outputs = tf.tidy(() =>
        network.outputs(inputTensor(image, 1, shape), {...quantization?.forward, training: false}),
      );
      const values = await item(outputs, 0).data<'float32'>();
      tf.dispose(outputs);
      return values;
    },
    close: dispose,
  };
}

/** @throws SdqError (exit 3) for a file that is no ONNX model or takes no image, (exit 6) without onnxruntime-web */
export async function onnxClassifier(file: string): Promise<Classifier> {
  const bytes = readFileBounded(file);
  const model = decodeOnnx(bytes);
  const dims = model?.graph.input[0]?.type?.tensorType?.shape?.dim ?? [];
  const shape = dims.slice(1).map(({dimValue}) => Number(dimValue));
  if (model === undefined || shape.length !== 3 || shape.includes(0)) {
    throw invalidInput('input-not-an-image', `${file} is not an ONNX model of images of a fixed size.`);
  }
  const metadata = metadataOf(model);
  const parsed = <T>(key: string, fallback: T): T => {
    const text = metadata.get(key);
    return text === undefined ? fallback : (JSON.parse(text) as T);
  };
  const channels = item(shape, 0);
  const plain = {mean: Array<number>(channels).fill(0), std: Array<number>(channels).fill(1)};
  const runtime = await loadOnnxRuntime();
  const network = await runtime.open(bytes, file, 'disabled');
  return {
    shape,
    normalization: parsed(metadataKeys.normalization, plain),
    classes: parsed(metadataKeys.classes, []),
    isWhole: item(shape, 1) < 64,
    run: async (image) => item(await network.run(planar(image, channels), [1, ...shape]), 0),
    close: () => network.release(),
  };
}

/** [height, width, channels] as [channels, height, width]. */
function planar(image: Float32Array, channels: number): Float32Array {
  const pixels = image.length / channels;
  return image.map((_, i) => item(image, (i % pixels) * channels + Math.floor(i / pixels)));
}

/** @param top how many classes of each image @throws SdqError (exit 3) for a file that cannot be decoded */
export async function predict(
  {classes, isWhole, normalization, run, shape}: Classifier,
  files: readonly string[],
  top: number,
): Promise<readonly Prediction[]> {
  const predictions: Prediction[] = [];
  for (const file of files) {
    const outputs = await run(await predictionImage(file, shape, normalization, isWhole));
    const largest = outputs.reduce((a, b) => Math.max(a, b), -Infinity);
    const weights = Array.from(outputs, (value) => Math.exp(value - largest));
    const sum = weights.reduce((a, b) => a + b, 0);
    const ranked = weights
      .map((weight, i) => ({name: classes[i] ?? String(i), probability: weight / sum}))
      .toSorted((a, b) => b.probability - a.probability);
    predictions.push({file, classes: ranked.slice(0, top)});
  }
  return predictions;
}
