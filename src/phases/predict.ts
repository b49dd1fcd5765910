/** The likeliest classes of images, or the boxes of their objects, by a checkpoint in sdq or by an exported file in ONNX Runtime. */
import path from 'node:path';

import * as tf from '@tensorflow/tfjs-core';

import {isEncoded} from '../data/dataset.ts';
import {letterboxedImage} from '../data/detection-image.ts';
import {drawBoxes, readPicture} from '../data/draw-boxes.ts';
import {normalizedByte, type Normalization} from '../data/normalization.ts';
import {predictionImage} from '../data/prediction-image.ts';
import {mostDetections} from '../detection/average-precision.ts';
import {decode} from '../detection/decode.ts';
import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {readFileBounded, writeFileAtomic} from '../files.ts';
import {inputTensor} from '../graph/input-tensor.ts';
import {decodeOnnx, metadataOf} from '../graph/onnx/proto.ts';
import {item} from '../lookup.ts';
import {metadataKeys} from './export.ts';
import {exportedDetector, readDetector, type ExportedDetector} from './exported-detector.ts';
import {loadOnnxRuntime} from './onnx-runtime.ts';
import {openCheckpoint} from './open-checkpoint.ts';
import type {Session} from './session.ts';

export interface Classified {
  readonly file: string;
  /** The likeliest first; probabilities are the softmax of the outputs. */
  readonly classes: readonly {readonly name: string; readonly probability: number}[];
}

export interface Detected {
  readonly file: string;
  /** Size of the photograph in pixels. */
  readonly width: number;
  readonly height: number;
  /** Those of the highest score first; left, top, right and bottom edge in pixels of the photograph. */
  readonly boxes: readonly {
    readonly name: string;
    readonly score: number;
    readonly box: readonly [left: number, top: number, right: number, bottom: number];
  }[];
  /** The picture that was drawn. */
  readonly picture?: string;
}

export type Prediction = Classified | Detected;

interface Predictor {
  /** [channels, height, width] */
  readonly shape: readonly number[];
  readonly normalization: Normalization;
  /** Names of the outputs; empty where nobody knows them. */
  readonly classes: readonly string[];
  /** Whether an image is taken as a whole, not its centre. */
  readonly isWhole: boolean;
  /** Of a detector: how a photograph becomes its input, and its outputs become boxes. */
  readonly heads: ExportedDetector | undefined;
  /** @param image [height, width, channels], normalised @returns the outputs that the task uses, flat */
  readonly run: (image: Float32Array) => Promise<readonly Float32Array[]>;
  readonly close: () => Promise<void> | void;
}

/**
 * @param strategy as for `openCheckpoint`
 * @throws SdqError (exit 3) for a task other than classification, and for files that are broken or not of this network
 */
export async function checkpointPredictor(
  session: Session,
  checkpoint: string,
  strategy: string | undefined,
): Promise<Predictor> {
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
    heads: session.task.heads && exportedDetector(session.task.heads),
    async run(image) {
      const outputs = tf.tidy(() =>
        network.outputs(inputTensor(image, 1, shape), {...quantization?.forward, training: false}),
      );
      const values = await Promise.all(outputs.map((output) => output.data<'float32'>()));
      tf.dispose(outputs);
      return values;
    },
    close: dispose,
  };
}

/** @throws SdqError (exit 3) for a file that is no ONNX model or takes no image, (exit 6) without onnxruntime-web */
export async function onnxPredictor(file: string): Promise<Predictor> {
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
    try {
      return text === undefined ? fallback : (JSON.parse(text) as T);
    } catch (error) {
      throw invalidInput('metadata-broken', `${file}: the metadata ${key} is not JSON: ${(error as Error).message}.`);
    }
  };
  const heads = parsed<Partial<ExportedDetector> | undefined>(metadataKeys.heads, undefined);
  const channels = item(shape, 0);
  const plain = {mean: Array<number>(channels).fill(0), std: Array<number>(channels).fill(1)};
  const runtime = await loadOnnxRuntime();
  const network = await runtime.open(bytes, file, 'disabled');
  return {
    shape,
    normalization: parsed(metadataKeys.normalization, plain),
    classes: parsed(metadataKeys.classes, []),
    isWhole: item(shape, 1) < 64,
    heads: heads && readDetector(heads, file),
    run: (image) => network.run(planar(image, channels), [1, ...shape]),
    close: () => network.release(),
  };
}

/** [height, width, channels] as [channels, height, width]. */
function planar(image: Float32Array, channels: number): Float32Array {
  const pixels = image.length / channels;
  return image.map((_, i) => item(image, (i % pixels) * channels + Math.floor(i / pixels)));
}

interface PredictOptions {
  /** Classes of each image. */
  readonly top: number;
  /** Boxes of a lower score are left out. */
  readonly minScore: number;
  /** Folder in which each photograph is drawn with its boxes; undefined: none is. */
  readonly pictures: string | undefined;
}

/** @throws SdqError (exit 3) for a file that cannot be decoded, (exit 6) for a picture that cannot be written */
export async function predict(
  predictor: Predictor,
  files: readonly string[],
  options: PredictOptions,
): Promise<readonly Prediction[]> {
  const {heads} = predictor;
  if (heads === undefined && options.pictures !== undefined) {
    throw new SdqError('--pictures draws boxes; this network tells classes.', {
      code: 'invalid-flag',
      exit: ExitCode.usage,
    });
  }
  const drawn = new Set<string>();
  const twice = files.find((file) => {
    const isTaken = drawn.has(pictureName(file));
    drawn.add(pictureName(file));
    return isTaken;
  });
  if (options.pictures !== undefined && twice !== undefined) {
    throw new SdqError(`Two images would be drawn in ${pictureName(twice)}: ${twice} has the name of another one.`, {
      code: 'invalid-flag',
      exit: ExitCode.usage,
    });
  }
  const predictions: Prediction[] = [];
  for (const file of files) {
    predictions.push(
      heads === undefined ? await classify(predictor, file, options) : await detect(predictor, heads, file, options),
    );
  }
  return predictions;
}

/** Never that of a photograph in the same folder. */
const pictureName = (file: string): string => `${path.parse(file).name}.boxes.png`;

async function classify(
  {classes, isWhole, normalization, run, shape}: Predictor,
  file: string,
  {top}: PredictOptions,
): Promise<Classified> {
  const outputs = item(await run(await predictionImage(file, shape, normalization, isWhole)), 0);
  const largest = outputs.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = Array.from(outputs, (value) => Math.exp(value - largest));
  const sum = weights.reduce((a, b) => a + b, 0);
  const ranked = weights
    .map((weight, i) => ({name: classes[i] ?? String(i), probability: weight / sum}))
    .toSorted((a, b) => b.probability - a.probability);
  return {file, classes: ranked.slice(0, top)};
}

async function detect(
  {classes, normalization, run}: Predictor,
  heads: ExportedDetector,
  file: string,
  {minScore, pictures}: PredictOptions,
): Promise<Detected> {
  const {image, pixels, toPhotograph} = await letterboxedImage(
    file,
    {width: heads.width, height: heads.height},
    heads.letterbox.grey,
  );
  const found = decode(await run(normalized(pixels, normalization)), heads, {
    ...{minScore, nmsIou: heads.nmsIou, maxPerClass: mostDetections},
  });
  const named = found.map(({box, class: index, score}) => ({
    ...{index, name: classes[index] ?? String(index), score, box: toPhotograph(box)},
  }));
  const boxes = named.map(({box, name, score}) => ({name, score, box}));
  if (pictures === undefined) return {file, ...image, boxes};
  const picture = path.join(pictures, pictureName(file));
  const shapes = named.map(({box: [left, top, right, bottom], index, name, score}) => ({
    ...{left, top, right, bottom, index, label: `${name} ${score.toFixed(2)}`},
  }));
  const textSize = Math.max(10, Math.round(Math.max(image.width, image.height) / 45));
  writeFileAtomic(picture, await drawBoxes(await readPicture(file), shapes, textSize));
  return {file, ...image, boxes, picture};
}

/** @param pixels [height, width, 3] bytes */
const normalized = (pixels: Uint8Array, normalization: Normalization): Float32Array =>
  Float32Array.from(pixels, (byte, i) => normalizedByte(byte, i % 3, normalization));
