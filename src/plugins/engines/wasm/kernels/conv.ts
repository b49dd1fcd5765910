/**
 * Convolutions, NHWC with HWIO filters: Conv2D, its two gradients, and Conv2D fused with bias and activation.
 * How they are computed: ../assembly/conv.ts, bands.ts and tiles.ts.
 */
import * as tf from '@tensorflow/tfjs-core';

import {tileColumns, tileRows} from '../assembly/shared.ts';
import {defineKernel, type WasmBackend} from '../backend.ts';
import {
  align,
  asRows,
  convInfo,
  geometryOf,
  gradientBand,
  isPointwise,
  multiplyAdds,
  planned,
  type ConvAttributes,
  type ConvInfo,
  type Geometry,
  type Target,
} from './conv-geometry.ts';
import {convolveWinograd, suitsWinograd, winogradFilterGradient} from './conv-winograd.ts';
import {fusedConvolution, noClip, type Clip} from './fused-activation.ts';
import {integerProduct} from './integer-products.ts';
import {packPanels, panelCount, withFlag, type Weights} from './panels.ts';
import {greatestCommonDivisor} from './rows.ts';

/** target = clip(conv(source, weights) + bias); the weights' taps and steps are in the order of the geometry's. */
export function convolve(
  backend: WasmBackend,
  source: number,
  target: number,
  weights: Weights,
  g: Geometry,
  to: Target,
  range: Clip,
): void {
  if (g.batch * g.outHeight * g.outWidth * g.outChannels === 0) return;
  const threads = backend.threadsFor(multiplyAdds(g));
  const panels = packPanels(backend, weights, threads);
  const addresses = {source, target, panels: panels.address, bias: weights.bias};
  const byWinograd = panels.finite && suitsWinograd(g) && isDense(to, g);
  const done = byWinograd && convolveWinograd(backend, addresses, g, range, threads);
  if (!done) {
    const plan = planned(g, threads);
    const scratch = backend.allocate(threads * plan.end);
    backend.run(
      plan.padded && !panels.finite ? 'convolveClipped' : 'convolve',
      [
        ...[source, target + 4 * to.offset, panels.address, scratch],
        ...plan.ints,
        ...[plan.end, plan.entriesOffset, plan.bandOffset, to.image, to.row, to.column],
      ],
      [range.min, range.max],
      threads,
    );
    backend.release(scratch);
  }
  backend.release(panels.address);
}

/** Filters up to this size are summed by each thread apart; of larger ones each thread sums its own output channels. */
const partFloats = 262_144;

/** target [kernelHeight, kernelWidth, channels, outChannels] = gradient of the filter. */
export function convolveFilterGradient(
  backend: WasmBackend,
  source: number,
  dy: number,
  target: number,
  g: Geometry,
): void {
  const across = g.dilationWidth === 1 ? 1 : g.kernelWidth;
  const runs = g.kernelHeight * across;
  const length = (g.kernelWidth / across) * g.channels;
  const filter = runs * length * g.outChannels;
  if (filter === 0) return;
  if (g.batch > 0 && suitsWinograd(g) && winogradFilterGradient(backend, source, dy, target, g)) return;

  const threads = backend.threadsFor(multiplyAdds(g));
  const plan = planned(g, threads, gradientBand);
  const parts = filter > partFloats && g.outChannels >= tileColumns * threads ? 1 : threads;
  const rowsOfRun = length < tileRows ? length : tileRows * Math.ceil(length / tileRows);
  const partBytes = 4 * panelCount(g.outChannels) * tileColumns * runs * rowsOfRun;
  const gradients = plan.end + align(16 * tileRows * plan.pixels);
  const threadBytes = gradients + align(4 * tileColumns * panelCount(g.outChannels) * plan.pixels);
  const scratch = backend.allocate(threads * threadBytes);
  const sums = backend.allocate(parts * partBytes);
  backend.run(
    'convolveFilterGradient',
    [
      ...[source, dy, sums, scratch, ...plan.ints],
      ...[threadBytes, plan.entriesOffset, plan.bandOffset, plan.end, partBytes, parts, gradients],
    ],
    [],
    threads,
  );
  const spoilt = withFlag(backend, (flag) =>
    backend.run(
      'reduceFilterGradient',
      [sums, target, parts, partBytes, runs, length, g.outChannels, flag],
      [],
      backend.threadsFor(filter * parts),
    ),
  );
  if (plan.padded && spoilt) {
    backend.run('clippedFilterGradient', [source, dy, target, 0, ...plan.ints], [], threads);
  }
  backend.release(sums);
  backend.release(scratch);
}

/** The filter in its own order: taps row by row, one step for each input channel. */
function forwardWeights(filter: number, g: Geometry, bias: number): Weights {
  const tap = g.channels * g.outChannels;
  return {
    source: filter,
    bias,
    down: g.kernelHeight,
    across: g.kernelWidth,
    first: 0,
    downStride: g.kernelWidth * tap,
    acrossStride: tap,
    length: g.channels,
    stepStride: g.outChannels,
    columnStride: 1,
    columns: g.outChannels,
  };
}

/** Output pixels next to each other, images one after the other. */
function dense(g: Geometry): Target {
  const row = g.outWidth * g.outChannels;
  return {offset: 0, image: g.outHeight * row, row, column: g.outChannels};
}

/** Winograd writes its output pixels next to each other. */
function isDense(to: Target, g: Geometry): boolean {
  const {offset, image, row, column} = dense(g);
  return to.offset === offset && to.image === image && to.row === row && to.column === column;
}

/**
 * In one direction: the pixels i = stride · (u + first) + phase − pad of the input, u = 0 … count − 1, and the taps that reach
 * them: `firstTap`, and `taps` − 1 more, each `tapStep` behind the one before.
 */
interface Phase {
  readonly firstTap: number;
  readonly tapStep: number;
  readonly taps: number;
  /** Pixels of dy from one of these taps to the next. */
  readonly dilation: number;
  readonly start: number;
  readonly count: number;
  readonly pad: number;
}

/**
 * Input pixel i meets output pixel (i + pad − dilation · tap) / stride, where that is whole. With i + pad = stride · q + phase:
 * for each phase, a convolution of stride 1 over dy with every stride / gcd(stride, dilation)-th tap, in reverse.
 */
function phases(size: number, kernel: number, stride: number, dilation: number, pad: number): Phase[] {
  const common = greatestCommonDivisor(stride, dilation);
  const tapStep = stride / common;
  return Array.from({length: stride}, (_, phase) => {
    const candidates = Array.from({length: Math.min(tapStep, kernel)}, (_none, tap) => tap);
    const firstTap = candidates.find((tap) => (phase - dilation * tap) % stride === 0) ?? kernel;
    const taps = Math.ceil((kernel - firstTap) / tapStep);
    const first = Math.ceil((pad - phase) / stride);
    const last = Math.floor((size - 1 + pad - phase) / stride);
    const step = taps > 1 ? dilation / common : 1;
    return {
      ...{firstTap, tapStep, taps, dilation: step},
      start: stride * first + phase - pad,
      count: Math.max(0, last - first + 1),
      pad: taps === 0 ? 0 : step * (taps - 1) - first - (phase - dilation * firstTap) / stride,
    };
  });
}

function inputGradient(backend: WasmBackend, dy: number, filter: number, dx: number, info: ConvInfo): void {
  const {inHeight, inWidth, inChannels, outChannels, filterWidth, strideHeight, strideWidth, padInfo} = info;
  const tap = inChannels * outChannels;
  for (const down of phases(inHeight, info.filterHeight, strideHeight, info.dilationHeight, padInfo.top)) {
    for (const across of phases(inWidth, filterWidth, strideWidth, info.dilationWidth, padInfo.left)) {
      const lastDown = down.firstTap + down.tapStep * (down.taps - 1);
      const lastAcross = across.firstTap + across.tapStep * (across.taps - 1);
      const reached = down.taps > 0 && across.taps > 0;
      const geometry: Geometry = {
        ...{batch: info.batchSize, height: info.outHeight, width: info.outWidth, channels: outChannels},
        ...{outHeight: down.count, outWidth: across.count, outChannels: inChannels},
        ...{kernelHeight: reached ? down.taps : 0, kernelWidth: reached ? across.taps : 0},
        ...{strideHeight: 1, strideWidth: 1},
        ...{dilationHeight: reached ? down.dilation : 1, dilationWidth: reached ? across.dilation : 1},
        ...{padTop: down.pad, padLeft: across.pad},
      };
      const weights: Weights = {
        source: filter,
        bias: 0,
        down: geometry.kernelHeight,
        across: geometry.kernelWidth,
        first: (lastDown * filterWidth + lastAcross) * tap,
        downStride: -down.tapStep * filterWidth * tap,
        acrossStride: -across.tapStep * tap,
        length: outChannels,
        stepStride: 1,
        columnStride: outChannels,
        columns: inChannels,
      };
      const target = {
        offset: (down.start * inWidth + across.start) * inChannels,
        image: inHeight * inWidth * inChannels,
        row: strideHeight * inWidth * inChannels,
        column: strideWidth * inChannels,
      };
      const pointwise = isPointwise(info);
      const g = pointwise ? asRows(geometry) : geometry;
      convolve(backend, dy, dx, weights, g, pointwise ? dense(g) : target, noClip);
    }
  }
}

/** Whether the kernels of this file take these tensors. */
function covered(dataFormat: string | undefined, ...tensors: readonly tf.TensorInfo[]): boolean {
  return dataFormat !== 'NCHW' && tensors.every(({dtype}) => dtype === 'float32');
}

function forward(
  backend: WasmBackend,
  x: tf.TensorInfo,
  filter: tf.TensorInfo,
  bias: number,
  range: Clip,
  attributes: ConvAttributes,
): tf.TensorInfo {
  const info = convInfo(x.shape, filter.shape, attributes);
  const g = geometryOf(info);
  const y = backend.output(info.outShape);
  if (isPointwise(info)) {
    const sizes = {rows: g.outHeight, length: g.channels, columns: g.outChannels};
    if (integerProduct(backend, {x, w: filter, target: backend.pointer(y), bias, range, ...sizes})) return y;
  }
  const weights = forwardWeights(backend.pointer(filter), g, bias);
  convolve(backend, backend.pointer(x), backend.pointer(y), weights, g, dense(g), range);
  return y;
}

export const convKernels: readonly tf.KernelConfig[] = [
  defineKernel<{x: tf.TensorInfo; filter: tf.TensorInfo}, tf.Conv2DAttrs>(
    tf.Conv2D,
    ({backend, inputs: {x, filter}, attrs, cpu}) =>
      covered(attrs.dataFormat, x, filter) ? forward(backend, x, filter, 0, noClip, attrs) : cpu(),
  ),

  fusedConvolution<tf.FusedConv2DAttrs>(
    tf.FusedConv2D,
    3,
    ({dataFormat}, x, filter) => covered(dataFormat, x, filter),
    forward,
  ),

  defineKernel<{dy: tf.TensorInfo; filter: tf.TensorInfo}, tf.Conv2DBackpropInputAttrs>(
    tf.Conv2DBackpropInput,
    ({backend, inputs: {dy, filter}, attrs, cpu}) => {
      if (!covered(attrs.dataFormat, dy, filter)) return cpu();
      const info = convInfo(attrs.inputShape, filter.shape, attrs);
      const dx = backend.output(info.inShape);
      inputGradient(backend, backend.pointer(dy), backend.pointer(filter), backend.pointer(dx), info);
      return dx;
    },
  ),

  defineKernel<{x: tf.TensorInfo; dy: tf.TensorInfo}, tf.Conv2DBackpropFilterAttrs>(
    tf.Conv2DBackpropFilter,
    ({backend, inputs: {x, dy}, attrs, cpu}) => {
      if (!covered(attrs.dataFormat, x, dy)) return cpu();
      const info = convInfo(x.shape, attrs.filterShape, attrs);
      const dw = backend.output(info.filterShape);
      convolveFilterGradient(backend, backend.pointer(x), backend.pointer(dy), backend.pointer(dw), geometryOf(info));
      return dw;
    },
  ),
];
