/**
 * Convolutions, NHWC with HWIO filters: Conv2D, its two gradients, and Conv2D fused with bias and activation.
 * How they are computed: ../assembly/conv.ts, bands.ts and tiles.ts.
 */
import * as tf from '@tensorflow/tfjs-core';

import {defineKernel, type WasmBackend} from '../backend.ts';
import {fusedConvolution, noClip, type Clip} from './fused-activation.ts';
import {packPanels, panelColumns, panelCount, type Weights} from './panels.ts';

/** One convolution as the kernels see it; `padTop` and `padLeft` may be negative: the window then starts inside the image. */
interface Geometry {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly outChannels: number;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly strideHeight: number;
  readonly strideWidth: number;
  readonly dilationHeight: number;
  readonly dilationWidth: number;
  readonly padTop: number;
  readonly padLeft: number;
}

/** Distances in the output, in floats, and where its first pixel lies. */
interface Target {
  readonly offset: number;
  readonly image: number;
  readonly row: number;
  readonly column: number;
}

type ConvInfo = tf.backend_util.Conv2DInfo;

function geometryOf(info: ConvInfo): Geometry {
  const geometry = {
    batch: info.batchSize,
    height: info.inHeight,
    width: info.inWidth,
    channels: info.inChannels,
    outHeight: info.outHeight,
    outWidth: info.outWidth,
    outChannels: info.outChannels,
    kernelHeight: info.filterHeight,
    kernelWidth: info.filterWidth,
    strideHeight: info.strideHeight,
    strideWidth: info.strideWidth,
    dilationHeight: info.dilationHeight,
    dilationWidth: info.dilationWidth,
    padTop: info.padInfo.top,
    padLeft: info.padInfo.left,
  };
  return isPointwise(info) ? asRows(geometry) : geometry;
}

/** A 1×1 convolution of stride 1 without padding is a product of matrices: all pixels in one column. */
function isPointwise({
  filterHeight,
  filterWidth,
  strideHeight,
  strideWidth,
  inHeight,
  inWidth,
  ...info
}: ConvInfo): boolean {
  const single = filterHeight === 1 && filterWidth === 1 && strideHeight === 1 && strideWidth === 1;
  return single && inHeight === info.outHeight && inWidth === info.outWidth && info.padInfo.top === 0;
}

function asRows(geometry: Geometry): Geometry {
  const {batch, height, width} = geometry;
  const rows = batch * height * width;
  return {...geometry, batch: 1, height: rows, width: 1, outHeight: rows, outWidth: 1};
}

/** The geometry of rows [rows, length] times a matrix [length, columns]. */
export function rowsGeometry(rows: number, length: number, columns: number): Geometry {
  return {
    ...{batch: 1, height: rows, width: 1, channels: length, outHeight: rows, outWidth: 1, outChannels: columns},
    ...{kernelHeight: 1, kernelWidth: 1, strideHeight: 1, strideWidth: 1, dilationHeight: 1, dilationWidth: 1},
    ...{padTop: 0, padLeft: 0},
  };
}

/** Bytes of input under a band that stay in the second-level cache next to its output and the panels. */
const bandBytes = 48 * 1024;
/** Pixels of a band below which the leftovers of tiles cost too much. */
const bandPixels = 96;

/** How a convolution is cut into bands, and the scratch memory of a thread. */
interface Plan {
  readonly ints: readonly number[];
  readonly pixels: number;
  readonly padded: boolean;
  readonly entriesOffset: number;
  readonly bandOffset: number;
  /** Bytes up to the end of the band. */
  readonly end: number;
}

/** Rows of the register tiles in ../assembly/tiles.ts. */
const tileRows = 4;

const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;

function planned(g: Geometry, threads: number): Plan {
  const spanHeight = (g.kernelHeight - 1) * g.dilationHeight + 1;
  const columns = (g.outWidth - 1) * g.strideWidth + (g.kernelWidth - 1) * g.dilationWidth + 1;
  const padded =
    g.padTop > 0 ||
    g.padLeft > 0 ||
    (g.outHeight - 1) * g.strideHeight + spanHeight - g.padTop > g.height ||
    columns - g.padLeft > g.width;
  const rowBytes = 4 * columns * g.channels;
  const most = Math.max(
    Math.floor((bandBytes / rowBytes - spanHeight) / g.strideHeight) + 1,
    Math.ceil(bandPixels / g.outWidth / 2),
  );
  const wantedBands = Math.max(Math.ceil(g.outHeight / most), Math.ceil((2 * threads) / g.batch));
  const rows = Math.max(1, Math.ceil(g.outHeight / wantedBands));
  const images =
    rows < g.outHeight
      ? 1
      : Math.max(1, Math.min(Math.ceil(bandPixels / (g.outHeight * g.outWidth)), Math.floor(g.batch / (2 * threads))));
  const bandHeight = (rows - 1) * g.strideHeight + spanHeight;
  const pixels = images * rows * g.outWidth;
  const entriesOffset = align(8 * g.kernelHeight * g.kernelWidth);
  const bandOffset = entriesOffset + align(8 * pixels);
  return {
    ints: [
      ...[
        g.batch,
        g.height,
        g.width,
        g.channels,
        g.outHeight,
        g.outWidth,
        g.outChannels,
        g.kernelHeight,
        g.kernelWidth,
      ],
      ...[g.strideHeight, g.strideWidth, g.dilationHeight, g.dilationWidth, g.padTop, g.padLeft],
      ...[rows, images, padded ? 1 : 0],
    ],
    pixels,
    padded,
    entriesOffset,
    bandOffset,
    end: bandOffset + (padded ? align(images * bandHeight * rowBytes) : 0),
  };
}

function multiplyAdds(g: Geometry): number {
  return g.batch * g.outHeight * g.outWidth * g.outChannels * g.kernelHeight * g.kernelWidth * g.channels;
}

/** Bytes of transformed tiles that stay in the second-level cache next to the weights. */
const groupBytes = 384 * 1024;
const positions = 36;

/** Tiles of 4 × 4 outputs, and how many of them a group has. */
function tiled(g: Geometry, threads: number): {readonly tiles: number; readonly group: number} {
  const tiles = g.batch * Math.ceil(g.outHeight / 4) * Math.ceil(g.outWidth / 4);
  const fit = Math.floor(groupBytes / (4 * positions * (g.channels + g.outChannels)));
  // Where the weights are too large for the cache, enough tiles that each group reads about as much of them as of its own.
  const balanced = (g.channels * g.outChannels) / (2 * (g.channels + g.outChannels));
  const most = Math.max(16, Math.min(64, Math.max(fit, balanced)));
  return {tiles, group: 4 * Math.ceil(Math.min(most, tiles / (2 * threads)) / 4)};
}

/** Whether F(4×4, 3×3) takes this convolution, and saves at least a third of the multiplications. */
function suitsWinograd(g: Geometry): boolean {
  return (
    [g.kernelHeight, g.kernelWidth].every((size) => size === 3) &&
    [g.strideHeight, g.strideWidth, g.dilationHeight, g.dilationWidth].every((step) => step === 1) &&
    g.channels % panelColumns === 0 &&
    g.outChannels % panelColumns === 0 &&
    9 * g.outHeight * g.outWidth >= 1.5 * positions * Math.ceil(g.outHeight / 4) * Math.ceil(g.outWidth / 4)
  );
}

/** An integer in scratch memory that kernels set to 1 when they meet a NaN or an infinity. */
function withFlag(backend: WasmBackend, use: (address: number) => void): boolean {
  const flag = backend.makeTensorInfo([1], 'int32', new Int32Array(1));
  use(backend.pointer(flag));
  const set = backend.values(flag)[0] !== 0;
  backend.disposeData(flag.dataId);
  return set;
}

/** `convolve` by Winograd; false where an output is not finite: the direct kernels keep NaN to the pixels it belongs to. */
function convolveWinograd(
  backend: WasmBackend,
  {source, target, panels, bias}: {source: number; target: number; panels: number; bias: number},
  g: Geometry,
  range: Clip,
  threads: number,
): boolean {
  const {group} = tiled(g, threads);
  const threadBytes = align(768 + 4 * g.channels + positions * (4 * group * (g.channels + g.outChannels) + 128));
  const size = positions * g.channels * g.outChannels;
  const weights = backend.allocate(4 * size);
  const scratch = backend.allocate(threads * threadBytes);
  const weightThreads = Math.min(threads, backend.threadsFor(size));
  backend.run('winogradWeights', [panels, weights, g.channels, panelCount(g.outChannels)], [], weightThreads);
  const spoilt = withFlag(backend, (flag) =>
    backend.run(
      'winograd',
      [source, target, weights, scratch, ...planned(g, threads).ints, threadBytes, group, bias, flag],
      [range.min, range.max],
      threads,
    ),
  );
  backend.release(scratch);
  backend.release(weights);
  return !spoilt;
}

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
  const done = panels.finite && suitsWinograd(g) && convolveWinograd(backend, addresses, g, range, threads);
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
const partFloats = 65_536;

/** Filters up to this size are summed as transformed tiles by each thread. */
const winogradFilterFloats = 256 * 256;

/** `convolveFilterGradient` by Winograd; false where an element is not finite. */
function winogradFilterGradient(
  backend: WasmBackend,
  source: number,
  dy: number,
  target: number,
  g: Geometry,
): boolean {
  const threads = backend.threadsFor(multiplyAdds(g));
  const {group} = tiled(g, threads);
  const widest = Math.max(g.channels, g.outChannels);
  const threadBytes = align(768 + 4 * widest + positions * (4 * group * (g.channels + g.outChannels) + 128));
  const size = g.channels * g.outChannels;
  const scratch = backend.allocate(threads * threadBytes);
  const sums = backend.allocate(4 * positions * size * threads);
  const head = [source, dy, sums, scratch, ...planned(g, threads).ints];
  backend.run('winogradFilterGradient', [...head, threadBytes, group], [], threads);
  const spoilt = withFlag(backend, (flag) =>
    backend.run(
      'winogradFilterResult',
      [sums, target, threads, g.channels, g.outChannels, flag],
      [],
      Math.min(threads, backend.threadsFor(positions * size * threads)),
    ),
  );
  backend.release(sums);
  backend.release(scratch);
  return !spoilt;
}

/** target [kernelHeight, kernelWidth, channels, outChannels] = gradient of the filter. */
export function convolveFilterGradient(
  backend: WasmBackend,
  source: number,
  dy: number,
  target: number,
  g: Geometry,
): void {
  const length = g.kernelWidth * g.channels;
  const filter = g.kernelHeight * length * g.outChannels;
  if (filter === 0) return;
  const small = g.channels * g.outChannels <= winogradFilterFloats;
  if (small && suitsWinograd(g) && winogradFilterGradient(backend, source, dy, target, g)) return;

  const threads = backend.threadsFor(multiplyAdds(g));
  const plan = planned(g, threads);
  const parts = filter > partFloats && g.outChannels >= panelColumns * threads ? 1 : threads;
  const rowsOfRun = length < tileRows ? length : tileRows * Math.ceil(length / tileRows);
  const partBytes = 4 * panelCount(g.outChannels) * panelColumns * g.kernelHeight * rowsOfRun;
  const threadBytes = plan.end + align(4 * panelColumns * plan.pixels);
  const scratch = backend.allocate(threads * threadBytes);
  const sums = backend.allocate(parts * partBytes);
  backend.run(
    'convolveFilterGradient',
    [
      ...[source, dy, sums, scratch, ...plan.ints],
      ...[threadBytes, plan.entriesOffset, plan.bandOffset, plan.end, partBytes, parts],
    ],
    [],
    threads,
  );
  const spoilt = withFlag(backend, (flag) =>
    backend.run(
      'reduceFilterGradient',
      [sums, target, parts, partBytes, g.kernelHeight, length, g.outChannels, flag],
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

/** The filter as it is: taps row by row, a step an input channel. */
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

/** In one direction: the pixels i = stride · (u + first) + phase − pad of the input, u = 0 … count − 1, and the taps that reach them. */
interface Phase {
  readonly phase: number;
  readonly taps: number;
  readonly start: number;
  readonly count: number;
  readonly pad: number;
}

/**
 * With i + pad = stride · q + phase, input pixel i meets output pixel q − j through tap phase + stride · j: for each
 * phase, a convolution of stride 1 over dy with the taps in reverse.
 */
function phases(size: number, kernel: number, stride: number, pad: number): Phase[] {
  return Array.from({length: stride}, (_, phase) => {
    const taps = Math.max(0, Math.ceil((kernel - phase) / stride));
    const first = Math.ceil((pad - phase) / stride);
    const last = Math.floor((size - 1 + pad - phase) / stride);
    return {
      phase,
      taps,
      start: stride * first + phase - pad,
      count: Math.max(0, last - first + 1),
      pad: taps - 1 - first,
    };
  });
}

function inputGradient(backend: WasmBackend, dy: number, filter: number, dx: number, info: ConvInfo): void {
  const {inHeight, inWidth, inChannels, outChannels, filterWidth, strideHeight, strideWidth, padInfo} = info;
  const tap = inChannels * outChannels;
  for (const down of phases(inHeight, info.filterHeight, strideHeight, padInfo.top)) {
    for (const across of phases(inWidth, filterWidth, strideWidth, padInfo.left)) {
      const first = down.phase + strideHeight * (down.taps - 1);
      const firstAcross = across.phase + strideWidth * (across.taps - 1);
      const reached = down.taps > 0 && across.taps > 0;
      const geometry: Geometry = {
        ...{batch: info.batchSize, height: info.outHeight, width: info.outWidth, channels: outChannels},
        ...{outHeight: down.count, outWidth: across.count, outChannels: inChannels},
        ...{kernelHeight: reached ? down.taps : 0, kernelWidth: reached ? across.taps : 0},
        ...{strideHeight: 1, strideWidth: 1, dilationHeight: 1, dilationWidth: 1},
        ...{padTop: down.pad, padLeft: across.pad},
      };
      const weights: Weights = {
        source: filter,
        bias: 0,
        down: geometry.kernelHeight,
        across: geometry.kernelWidth,
        first: (first * filterWidth + firstAcross) * tap,
        downStride: -strideHeight * filterWidth * tap,
        acrossStride: -strideWidth * tap,
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

interface ConvAttributes {
  readonly strides: number | [number, number];
  readonly pad: 'valid' | 'same' | number | tf.backend_util.ExplicitPadding;
  readonly dilations?: number | [number, number];
  readonly dimRoundingMode?: 'floor' | 'round' | 'ceil';
}

function convInfo(shape: readonly number[], filter: readonly number[], attributes: ConvAttributes): ConvInfo {
  const {strides, pad, dilations = 1, dimRoundingMode} = attributes;
  return tf.backend_util.computeConv2DInfo(
    shape as [number, number, number, number],
    filter as [number, number, number, number],
    strides,
    dilations,
    pad,
    dimRoundingMode,
  );
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
