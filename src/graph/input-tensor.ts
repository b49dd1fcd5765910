/** The tensor that a network reads, from values as batches have them. */
import * as tf from '@tensorflow/tfjs-core';

import type {Shape} from './graph.ts';
import {conversionAxes, inputLayout, memoryShape} from './layout.ts';

/**
 * The first `count` inputs of a batch.
 * @param values [N, height, width, channels] of images, [N, features] of rows
 * @param shape the graph's: [channels, height, width] or [features]
 */
export function inputTensor(values: Float32Array, count: number, shape: Shape): tf.Tensor {
  const sizes = memoryShape(shape, inputLayout(shape));
  const length = sizes.reduce((product, size) => product * size, count);
  return tf.tensor(values.length === length ? values : values.slice(0, length), [count, ...sizes]);
}

/** The same input as ONNX lays it out: [N, channels, height, width] or [N, features]. */
export function onnxInput(x: tf.Tensor, shape: Shape): tf.Tensor {
  const layout = inputLayout(shape);
  return layout === 'plain' ? tf.clone(x) : tf.transpose(x, conversionAxes(shape.length + 1, layout, 'plain'));
}
