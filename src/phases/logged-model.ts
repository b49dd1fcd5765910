/** The trained network as trackers log a model: an ONNX file, its inputs and outputs, and an example of an input. */
import * as tf from '@tensorflow/tfjs-core';

import {sampleShape} from '../data/dataset.ts';
import {writeFileAtomic} from '../files.ts';
import {inputTensor, onnxInput} from '../graph/input-tensor.ts';
import {property} from '../lookup.ts';
import {logModelFile} from '../runs/artifacts.ts';
import type {Run} from '../runs/run-directory.ts';
import {trackersOf} from '../tracking/sync.ts';
import {exportOnnx} from './export.ts';
import {openPart, type Session} from './session.ts';

const exampleFile = 'model-example.json';

/** Whether a tracker of the run wants the artifact `model`. */
export function wantsModel(session: Pick<Session, 'config'>): boolean {
  return trackersOf(session).some(({artifacts}) => Array.isArray(artifacts) && artifacts.includes('model'));
}

/**
 * Writes `model.onnx` and `model-example.json` of the checkpoint to the run's folder, and journals them.
 * @throws SdqError (exit 3) for a network that ONNX has no form of, (exit 6) when they cannot be written
 */
export async function logModel(session: Session, run: Run, checkpoint: string): Promise<void> {
  const output = run.path('model.onnx');
  const {inputs, outputs} = await exportOnnx(session, {
    format: 'onnx-qdq',
    checkpoint,
    strategy: undefined,
    target: undefined,
    output,
    sdqVersion: property(run.record().versions, 'sdq'),
  });
  writeFileAtomic(run.path(exampleFile), JSON.stringify(await exampleInput(session)));
  logModelFile(run, output, {example: exampleFile, inputs, outputs});
}

/** The first test sample as the file reads it: [1, channels, height, width] of images, [1, features] of rows. */
async function exampleInput(session: Session): Promise<unknown> {
  const source = openPart(session, 'test', 'evaluation', session.config.seed);
  try {
    const {images} = await source.batch(0, 0);
    const shape = sampleShape(session.dataset);
    const planar = tf.tidy(() => onnxInput(inputTensor(images, 1, shape), shape));
    const values = await planar.array();
    planar.dispose();
    return values;
  } finally {
    await source.close();
  }
}
