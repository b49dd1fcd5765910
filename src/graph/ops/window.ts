/** The sliding window that convolution and pooling share. */
import type {Node} from '../graph.ts';
import {integers, nodeError, oneOf} from './operator.ts';

export interface Window {
  readonly kernel: readonly [number, number];
  readonly strides: readonly [number, number];
  readonly dilations: readonly [number, number];
  /** Zeros (pooling: nothing) around the input, as the node says. */
  readonly pads: {readonly top: number; readonly left: number; readonly bottom: number; readonly right: number};
  /** Rows and columns below and right of that which `ceil_mode` adds to complete the last windows. */
  readonly overhang: readonly [number, number];
  readonly output: readonly [number, number];
}

type Pair = readonly [number, number];

/**
 * @param size height and width of the input
 * @throws SdqError where the window does not fit
 */
export function slidingWindow(node: Node, size: Pair, kernel: Pair): Window {
  const strides = integers(node, 'strides', [1, 1], 1, 2) as Pair;
  const dilations = integers(node, 'dilations', [1, 1], 1, 2) as Pair;
  const [top, left, bottom, right] = integers(node, 'pads', [0, 0, 0, 0], 0, 4) as readonly [
    number,
    number,
    number,
    number,
  ];
  const ceil = oneOf(node, 'ceil_mode', 0, [0, 1]) === 1;
  const overhang: [number, number] = [0, 0];
  const output = ([0, 1] as const).map((axis) => {
    const before = axis === 0 ? top : left;
    const padded = size[axis] + before + (axis === 0 ? bottom : right);
    const extent = dilations[axis] * (kernel[axis] - 1) + 1;
    if (padded < extent) {
      const name = axis === 0 ? 'high' : 'wide';
      throw nodeError(node, `the window is ${extent} ${name}, but the padded input only ${padded}.`);
    }
    let count = Math.floor((padded - extent) / strides[axis]) + 1;
    if (ceil) {
      const rounded = Math.ceil((padded - extent) / strides[axis]) + 1;
      // A window that would start behind the input and its leading padding is left out (ONNX, PyTorch).
      if ((rounded - 1) * strides[axis] < size[axis] + before) count = rounded;
      overhang[axis] = Math.max(0, (count - 1) * strides[axis] + extent - padded);
    }
    return count;
  }) as [number, number];
  return {kernel, strides, dilations, pads: {top, left, bottom, right}, overhang, output};
}

/** tfjs' form of explicit padding for NHWC, or 'valid' where there is none. */
export function explicitPadding(
  top: number,
  left: number,
  bottom: number,
  right: number,
): 'valid' | [[0, 0], [number, number], [number, number], [0, 0]] {
  if (top === 0 && left === 0 && bottom === 0 && right === 0) return 'valid';
  return [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ];
}
