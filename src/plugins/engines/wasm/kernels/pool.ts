/** Maximum and average pooling of NHWC float tensors, with gradients. */
import * as tf from '@tensorflow/tfjs-core';

import {defineKernel, type WasmBackend} from '../backend.ts';
import {sizeOf} from './rows.ts';

function poolInfo(x: tf.TensorInfo, attrs: tf.MaxPoolAttrs | tf.MaxPoolGradAttrs): tf.backend_util.Conv2DInfo {
  const {filterSize, strides, pad, dimRoundingMode} = attrs;
  return tf.backend_util.computePool2DInfo(
    x.shape as [number, number, number, number],
    filterSize,
    strides,
    1,
    pad,
    dimRoundingMode,
  );
}

/** `dy` null: forward, x to y; else the gradient, x and dy to dx. */
function runPool(
  backend: WasmBackend,
  kernel: 'maxPool' | 'avgPool' | 'maxPoolGrad' | 'avgPoolGrad',
  info: tf.backend_util.Conv2DInfo,
  x: tf.TensorInfo,
  dy: tf.TensorInfo | null,
): tf.TensorInfo {
  const out = backend.output(dy === null ? info.outShape : info.inShape);
  const window = info.filterHeight * info.filterWidth;
  const outputs = info.batchSize * info.outHeight * info.outWidth * info.inChannels;
  backend.run(
    kernel,
    [
      backend.pointer(x),
      dy === null ? 0 : backend.pointer(dy),
      backend.pointer(out),
      info.batchSize,
      info.inHeight,
      info.inWidth,
      info.inChannels,
      info.outHeight,
      info.outWidth,
      info.filterHeight,
      info.filterWidth,
      info.strideHeight,
      info.strideWidth,
      info.padInfo.top,
      info.padInfo.left,
    ],
    [],
    backend.threadsFor(Math.max(window * outputs, sizeOf(x))),
  );
  return out;
}

export const poolKernels: readonly tf.KernelConfig[] = [
  defineKernel<{x: tf.TensorInfo}, tf.MaxPoolAttrs>(tf.MaxPool, ({backend, inputs: {x}, attrs, cpu}) =>
    x.dtype === 'float32' ? runPool(backend, 'maxPool', poolInfo(x, attrs), x, null) : cpu(),
  ),

  defineKernel<{x: tf.TensorInfo}, tf.AvgPoolAttrs>(tf.AvgPool, ({backend, inputs: {x}, attrs, cpu}) =>
    x.dtype === 'float32' ? runPool(backend, 'avgPool', poolInfo(x, attrs), x, null) : cpu(),
  ),

  defineKernel<{dy: tf.TensorInfo; input: tf.TensorInfo}, tf.MaxPoolGradAttrs>(
    tf.MaxPoolGrad,
    ({backend, inputs: {dy, input}, attrs}) => runPool(backend, 'maxPoolGrad', poolInfo(input, attrs), input, dy),
  ),

  defineKernel<{dy: tf.TensorInfo; input: tf.TensorInfo}, tf.AvgPoolGradAttrs>(
    tf.AvgPoolGrad,
    ({backend, inputs: {dy, input}, attrs}) => runPool(backend, 'avgPoolGrad', poolInfo(input, attrs), input, dy),
  ),
];
