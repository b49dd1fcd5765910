/** Depthwise convolutions, NHWC, channel multiplier 1 (others are the cpu backend's). See ../assembly/depthwise.ts. */
import * as tf from '@tensorflow/tfjs-core';

import {defineKernel, type WasmBackend} from '../backend.ts';
import {convInfo, type ConvAttributes, type ConvInfo} from './conv-geometry.ts';
import {fusedConvolution, noClip, type Clip} from './fused-activation.ts';

/** Whether the kernels of this file take these tensors. */
function covered(filterShape: readonly number[], ...tensors: readonly tf.TensorInfo[]): boolean {
  return filterShape[3] === 1 && tensors.every(({dtype}) => dtype === 'float32');
}

/** In one direction: source pixel = (pixel · step + tap · tapStep + start) / divisor. */
interface Walk {
  readonly step: number;
  readonly tapStep: number;
  readonly start: number;
  readonly divisor: number;
}

interface Image {
  readonly height: number;
  readonly width: number;
}

function sumTaps(
  backend: WasmBackend,
  addresses: {readonly source: number; readonly target: number; readonly filter: number; readonly bias: number},
  info: ConvInfo,
  source: Image,
  target: Image,
  [down, across]: readonly [Walk, Walk],
  range: Clip,
): void {
  const {batchSize, inChannels, filterHeight, filterWidth} = info;
  const taps = filterHeight * filterWidth;
  const threads = backend.threadsFor(batchSize * target.height * target.width * inChannels * taps);
  const scratch = backend.allocate(8 * taps * threads);
  backend.run(
    'depthwise',
    [
      ...[addresses.source, addresses.target, addresses.filter, addresses.bias, scratch],
      ...[batchSize, source.height, source.width, inChannels, target.height, target.width, filterHeight, filterWidth],
      ...[down.step, across.step, down.tapStep, across.tapStep, down.start, across.start, down.divisor, across.divisor],
    ],
    [range.min, range.max],
    threads,
  );
  backend.release(scratch);
}

function forward(
  backend: WasmBackend,
  x: tf.TensorInfo,
  filter: tf.TensorInfo,
  bias: number,
  range: Clip,
  attributes: ConvAttributes,
): tf.TensorInfo {
  const info = convInfo(x.shape, filter.shape, attributes, true);
  const y = backend.output(info.outShape);
  sumTaps(
    backend,
    {source: backend.pointer(x), target: backend.pointer(y), filter: backend.pointer(filter), bias},
    info,
    {height: info.inHeight, width: info.inWidth},
    {height: info.outHeight, width: info.outWidth},
    [
      {step: info.strideHeight, tapStep: info.dilationHeight, start: -info.padInfo.top, divisor: 1},
      {step: info.strideWidth, tapStep: info.dilationWidth, start: -info.padInfo.left, divisor: 1},
    ],
    range,
  );
  return y;
}

function filterGradient(backend: WasmBackend, x: tf.TensorInfo, dy: tf.TensorInfo, info: ConvInfo): tf.TensorInfo {
  const dw = backend.output(info.filterShape);
  const size = info.filterHeight * info.filterWidth * info.inChannels;
  const threads = backend.threadsFor(info.batchSize * info.outHeight * info.outWidth * size);
  const sums = backend.allocate(4 * size * threads);
  backend.run(
    'depthwiseFilterGradient',
    [
      ...[backend.pointer(x), backend.pointer(dy), sums, info.batchSize, info.inHeight, info.inWidth, info.inChannels],
      ...[info.outHeight, info.outWidth, info.filterHeight, info.filterWidth, info.strideHeight, info.strideWidth],
      ...[info.padInfo.top, info.padInfo.left, info.dilationHeight, info.dilationWidth],
    ],
    [],
    threads,
  );
  backend.run('sumParts', [sums, backend.pointer(dw), threads, size], [], backend.threadsFor(size * threads));
  backend.release(sums);
  return dw;
}

export const depthwiseKernels: readonly tf.KernelConfig[] = [
  defineKernel<{x: tf.TensorInfo; filter: tf.TensorInfo}, tf.DepthwiseConv2dNativeAttrs>(
    tf.DepthwiseConv2dNative,
    ({backend, inputs: {x, filter}, attrs, cpu}) =>
      covered(filter.shape, x, filter) ? forward(backend, x, filter, 0, noClip, attrs) : cpu(),
  ),

  fusedConvolution<tf.FusedDepthwiseConv2DAttrs>(
    tf.FusedDepthwiseConv2D,
    2,
    (_, x, filter) => covered(filter.shape, x, filter),
    forward,
  ),

  defineKernel<{dy: tf.TensorInfo; filter: tf.TensorInfo}, tf.DepthwiseConv2dNativeBackpropInputAttrs>(
    tf.DepthwiseConv2dNativeBackpropInput,
    ({backend, inputs: {dy, filter}, attrs, cpu}) => {
      if (!covered(filter.shape, dy, filter)) return cpu();
      const info = convInfo(attrs.inputShape, filter.shape, attrs, true);
      const dx = backend.output(info.inShape);
      sumTaps(
        backend,
        {source: backend.pointer(dy), target: backend.pointer(dx), filter: backend.pointer(filter), bias: 0},
        info,
        {height: info.outHeight, width: info.outWidth},
        {height: info.inHeight, width: info.inWidth},
        [
          {step: 1, tapStep: -info.dilationHeight, start: info.padInfo.top, divisor: info.strideHeight},
          {step: 1, tapStep: -info.dilationWidth, start: info.padInfo.left, divisor: info.strideWidth},
        ],
        noClip,
      );
      return dx;
    },
  ),

  defineKernel<{x: tf.TensorInfo; dy: tf.TensorInfo}, tf.DepthwiseConv2dNativeBackpropFilterAttrs>(
    tf.DepthwiseConv2dNativeBackpropFilter,
    ({backend, inputs: {x, dy}, attrs, cpu}) =>
      covered(attrs.filterShape, x, dy)
        ? filterGradient(backend, x, dy, convInfo(x.shape, attrs.filterShape, attrs, true))
        : cpu(),
  ),
];
