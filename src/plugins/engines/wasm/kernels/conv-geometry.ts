/** The sizes of a convolution, and how its input is cut into bands (../assembly/bands.ts). */
import * as tf from '@tensorflow/tfjs-core';

/** One convolution as the kernels see it; `padTop` and `padLeft` may be negative: the window then starts inside the image. */
export interface Geometry {
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
export interface Target {
  readonly offset: number;
  readonly image: number;
  readonly row: number;
  readonly column: number;
}

export type ConvInfo = tf.backend_util.Conv2DInfo;

export function geometryOf(info: ConvInfo): Geometry {
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
    dilationHeight: info.filterHeight > 1 ? info.dilationHeight : 1,
    dilationWidth: info.filterWidth > 1 ? info.dilationWidth : 1,
    padTop: info.padInfo.top,
    padLeft: info.padInfo.left,
  };
  return isPointwise(info) ? asRows(geometry) : geometry;
}

/** A 1×1 convolution of stride 1 without padding is a product of matrices: all pixels in one column. */
export function isPointwise({
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

export function asRows(geometry: Geometry): Geometry {
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

/** Bytes of input under a band, and its output pixels, that are not exceeded where smaller bands are possible. */
interface BandLimits {
  readonly bytes: number;
  readonly pixels: number;
}

/** The input stays in the second-level cache next to its output and the panels. */
const convolutionBand: BandLimits = {bytes: 48 * 1024, pixels: Infinity};
/** Of the gradient of a filter, which reads a tile of each pixel (64 bytes) and a panel (32) again and again from the first-level cache. */
export const gradientBand: BandLimits = {bytes: 256 * 1024, pixels: 160};
/** Pixels of a band below which the leftovers of tiles cost too much. */
const bandPixels = 96;

/** How a convolution is cut into bands, and the scratch memory of a thread. */
export interface Plan {
  readonly ints: readonly number[];
  readonly pixels: number;
  readonly padded: boolean;
  readonly entriesOffset: number;
  readonly bandOffset: number;
  /** Bytes up to the end of the band. */
  readonly end: number;
}

export const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;

export function planned(g: Geometry, threads: number, band: BandLimits = convolutionBand): Plan {
  const spanHeight = (g.kernelHeight - 1) * g.dilationHeight + 1;
  const gathered = g.dilationHeight > 1;
  const columns = (g.outWidth - 1) * g.strideWidth + (g.kernelWidth - 1) * g.dilationWidth + 1;
  const padded =
    g.padTop > 0 ||
    g.padLeft > 0 ||
    (g.outHeight - 1) * g.strideHeight + spanHeight - g.padTop > g.height ||
    columns - g.padLeft > g.width;
  const rowBytes = 4 * columns * g.channels;
  const most = Math.min(
    Math.max(
      gathered
        ? Math.floor(band.bytes / rowBytes / g.kernelHeight)
        : Math.floor((band.bytes / rowBytes - spanHeight) / g.strideHeight) + 1,
      Math.ceil(bandPixels / g.outWidth / 2),
    ),
    Math.ceil(band.pixels / g.outWidth),
  );
  const wantedBands = Math.max(Math.ceil(g.outHeight / most), Math.ceil((2 * threads) / g.batch));
  const rows = Math.max(1, Math.ceil(g.outHeight / wantedBands));
  const images =
    rows < g.outHeight
      ? 1
      : Math.max(1, Math.min(Math.ceil(bandPixels / (g.outHeight * g.outWidth)), Math.floor(g.batch / (2 * threads))));
  const bandHeight = gathered ? rows * g.kernelHeight : (rows - 1) * g.strideHeight + spanHeight;
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

export function multiplyAdds(g: Geometry): number {
  return g.batch * g.outHeight * g.outWidth * g.outChannels * g.kernelHeight * g.kernelWidth * g.channels;
}

export interface ConvAttributes {
  readonly strides: number | [number, number];
  readonly pad: 'valid' | 'same' | number | tf.backend_util.ExplicitPadding;
  readonly dilations?: number | [number, number];
  readonly dimRoundingMode?: 'floor' | 'round' | 'ceil';
}

/** @param depthwise the filter is [height, width, channels, multiplier] */
export function convInfo(
  shape: readonly number[],
  filter: readonly number[],
  attributes: ConvAttributes,
  depthwise = false,
): ConvInfo {
  const {strides, pad, dilations, dimRoundingMode} = attributes;
  return tf.backend_util.computeConv2DInfo(
    shape as [number, number, number, number],
    filter as [number, number, number, number],
    strides,
    // tfjs' fused form of a depthwise one leaves it out, or null.
    dilations ?? 1,
    pad,
    dimRoundingMode,
    depthwise,
  );
}
