/** Dilated convolutions: only the taps that reach the image are computed, and no engine multiplies the zeros between them if it can help it. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {takesDilations} from '../../tensor/dilations.ts';
import type {Tf} from './operator.ts';
import type {Window} from './window.ts';

type Pair = readonly [number, number];
type Size4 = [number, number, number, number];

/**
 * The filter with d − 1 zeros between its taps: the same convolution without dilation, which every engine has gradients for.
 * @param w [height, width, in, out]
 */
export function stuffed(tf: Tf, w: tfjs.Tensor4D, [down, across]: Pair): tfjs.Tensor4D {
  const [height, width, inputs, outputs] = w.shape;
  const spread = tf.pad(tf.reshape(w, [height, 1, width, 1, inputs * outputs]), [
    [0, 0],
    [0, down - 1],
    [0, 0],
    [0, across - 1],
    [0, 0],
  ]);
  const rows = height * down;
  const columns = width * across;
  return tf.slice4d(
    tf.reshape(spread, [rows, columns, inputs, outputs]),
    [0, 0, 0, 0],
    [rows - down + 1, columns - across + 1, inputs, outputs],
  );
}

/** One axis of a convolution's input and filter, and the parts of them that meet. */
interface Reach {
  readonly firstTap: number;
  readonly taps: number;
  /** Pixels of the image that no tap reads, at its start and its end. */
  readonly cut: Pair;
  readonly pads: Pair;
}

function reach(size: number, kernel: number, stride: number, dilation: number, pads: Pair, outputs: number): Reach {
  const [before, after] = pads;
  const first = Math.max(0, Math.ceil((before - (outputs - 1) * stride) / dilation));
  const last = Math.min(kernel - 1, Math.ceil((size + before) / dilation) - 1);
  if (last < first) return {firstTap: 0, taps: kernel, cut: [0, 0], pads};
  const start = before - first * dilation;
  const end = after - (kernel - 1 - last) * dilation;
  return {
    firstTap: first,
    taps: last - first + 1,
    cut: [Math.max(0, -start), Math.max(0, -end)],
    pads: [Math.max(0, start), Math.max(0, end)],
  };
}

/** A slice; where it is all of `x`, `x` itself. */
function part(tf: Tf, x: tfjs.Tensor4D, begin: Size4, size: Size4): tfjs.Tensor4D {
  return size.every((length, axis) => length === x.shape[axis]) ? x : tf.slice4d(x, begin, size);
}

export interface DilatedConvolution {
  readonly x: tfjs.Tensor4D;
  readonly filter: tfjs.Tensor4D;
  readonly dilations: Pair;
  readonly pads: Window['pads'];
}

/**
 * The same convolution without the taps that lie outside the image for every output pixel: at a rate larger than the image, the
 * outer ones. Where the current engine's gradients take no dilation, the filter is stuffed with zeros.
 * @param native whether the engine's kernel for this convolution takes dilations where the engine does
 */
export function dilatedConvolution(
  tf: Tf,
  x: tfjs.Tensor4D,
  filter: tfjs.Tensor4D,
  {strides, dilations, pads, output}: Window,
  native: boolean,
): DilatedConvolution {
  if (dilations.every((step) => step === 1)) return {x, filter, dilations, pads};
  const [batch, height, width, channels] = x.shape;
  const [kernelHeight, kernelWidth, inputs, outputs] = filter.shape;
  const down = reach(height, kernelHeight, strides[0], dilations[0], [pads.top, pads.bottom], output[0]);
  const across = reach(width, kernelWidth, strides[1], dilations[1], [pads.left, pads.right], output[1]);
  const image = part(
    tf,
    x,
    [0, down.cut[0], across.cut[0], 0],
    [batch, height - down.cut[0] - down.cut[1], width - across.cut[0] - across.cut[1], channels],
  );
  const taps = part(tf, filter, [down.firstTap, across.firstTap, 0, 0], [down.taps, across.taps, inputs, outputs]);
  const steps: Pair = [down.taps > 1 ? dilations[0] : 1, across.taps > 1 ? dilations[1] : 1];
  const around = {top: down.pads[0], bottom: down.pads[1], left: across.pads[0], right: across.pads[1]};
  if (native && takesDilations(tf)) return {x: image, filter: taps, dilations: steps, pads: around};
  const whole = steps.every((step) => step === 1) ? taps : stuffed(tf, taps, steps);
  return {x: image, filter: whole, dilations: [1, 1], pads: around};
}
