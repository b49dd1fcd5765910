/** Depthwise convolutions, NHWC, channel multiplier 1 (others are the cpu backend's). See ../assembly/depthwise.ts. */
import * as tf from '@tensorflow/tfjs-core';

import {defineKernel, type WasmBackend} from '../backend.ts';
import {align, convInfo, type ConvAttributes, type ConvInfo} from './conv-geometry.ts';
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
  readonly address: number;
  readonly height: number;
  readonly width: number;
}

/** The input of a convolution, or the gradient of it. */
const inputImage = (address: number, {inHeight, inWidth}: ConvInfo): Image => ({
  address,
  height: inHeight,
  width: inWidth,
});
const outputImage = (address: number, {outHeight, outWidth}: ConvInfo): Image => ({
  address,
  height: outHeight,
  width: outWidth,
});

/** From output pixels to those of the input, down and across. */
const forwardWalks = (info: ConvInfo): readonly [Walk, Walk] => [
  {step: info.strideHeight, tapStep: info.dilationHeight, start: -info.padInfo.top, divisor: 1},
  {step: info.strideWidth, tapStep: info.dilationWidth, start: -info.padInfo.left, divisor: 1},
];
/** From input pixels to those of the output. */
const backwardWalks = (info: ConvInfo): readonly [Walk, Walk] => [
  {step: 1, tapStep: -info.dilationHeight, start: info.padInfo.top, divisor: info.strideHeight},
  {step: 1, tapStep: -info.dilationWidth, start: info.padInfo.left, divisor: info.strideWidth},
];

function sumTaps(
  backend: WasmBackend,
  {batchSize, inChannels, filterHeight, filterWidth}: ConvInfo,
  source: Image,
  target: Image,
  [filter, bias]: readonly [filter: number, bias: number],
  [down, across]: readonly [Walk, Walk],
  range: Clip,
): void {
  const taps = filterHeight * filterWidth;
  const threads = backend.threadsFor(batchSize * target.height * target.width * inChannels * taps);
  const bytes = align(8 * filterHeight + 4 * (across.divisor + 1) + 12 * filterWidth + 20 * taps);
  const scratch = backend.allocate(bytes * threads);
  backend.run(
    'depthwise',
    [
      ...[source.address, target.address, filter, bias, scratch, batchSize, source.height, source.width, inChannels],
      ...[target.height, target.width, filterHeight, filterWidth, down.step, across.step, down.tapStep, across.tapStep],
      ...[down.start, across.start, down.divisor, across.divisor, bytes],
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
  const [source, target] = [inputImage(backend.pointer(x), info), outputImage(backend.pointer(y), info)];
  sumTaps(backend, info, source, target, [backend.pointer(filter), bias], forwardWalks(info), range);
  return y;
}

function inputGradient(backend: WasmBackend, dy: tf.TensorInfo, filter: tf.TensorInfo, info: ConvInfo): tf.TensorInfo {
  const dx = backend.output(info.inShape);
  const [source, target] = [outputImage(backend.pointer(dy), info), inputImage(backend.pointer(dx), info)];
  sumTaps(backend, info, source, target, [backend.pointer(filter), 0], backwardWalks(info), noClip);
  return dx;
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
      return inputGradient(backend, dy, filter, convInfo(attrs.inputShape, filter.shape, attrs, true));
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
