/**
 * The gradients of the tfjs operators that sdq uses. In Node, `@tensorflow/tfjs-core` 4.22 registers none, and its own
 * gradient modules cannot be imported (they import each other without file extensions).
 *
 * Conv2D and DepthwiseConv2dNative take any padding; dilation where the backend's kernels do (dilations.ts), else a dilated
 * filter is stuffed with zeros upstream.
 */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../lookup.ts';
import {clipGradient} from './add-act.ts';
import {takesDilations} from './dilations.ts';
import {runFused} from './kernels.ts';
import {sumToShape} from './sum-to-shape.ts';

type Shape = readonly number[];

function run(kernel: string, inputs: Record<string, tf.Tensor>, attributes: object): tf.Tensor {
  return tf.engine().runKernel(kernel, inputs, attributes as tf.NamedAttrMap);
}

/** dx = dy · derivative(x). */
function ofInput(kernelName: string, derivative: (x: tf.Tensor) => tf.Tensor): tf.GradConfig {
  return {
    kernelName,
    inputsToSave: ['x'],
    gradFunc: (dy, saved) => ({x: () => tf.mul(dy as tf.Tensor, derivative(item(saved, 0)))}),
  };
}

/** dx = dy · derivative(y), where that is cheaper. */
function ofOutput(kernelName: string, derivative: (y: tf.Tensor) => tf.Tensor): tf.GradConfig {
  return {
    kernelName,
    outputsToSave: [true],
    gradFunc: (dy, saved) => ({x: () => tf.mul(dy as tf.Tensor, derivative(item(saved, 0)))}),
  };
}

/** Each operator has its own of these. */
interface RearrangingAttributes {
  readonly axis: number | number[];
  readonly perm: number[];
  readonly paddings: [number, number][];
  readonly begin: number | number[];
  readonly reps: number[];
}

/** An operator that only rearranges or sums its one input: its gradient depends on the shape of `x` and the attributes. */
function ofShape(
  kernelName: string,
  gradient: (dy: tf.Tensor, shape: Shape, attributes: RearrangingAttributes) => tf.Tensor,
  input = 'x',
): tf.GradConfig {
  return {
    kernelName,
    inputsToSave: [input],
    gradFunc: (dy, saved, attributes) => ({
      [input]: () => gradient(dy as tf.Tensor, item(saved, 0).shape, attributes as unknown as RearrangingAttributes),
    }),
  };
}

/** A broadcasting operator of two inputs: each derivative is summed over the axes its input was repeated along. */
function ofTwo(
  kernelName: string,
  da: (dy: tf.Tensor, a: tf.Tensor, b: tf.Tensor) => tf.Tensor,
  db: (dy: tf.Tensor, a: tf.Tensor, b: tf.Tensor) => tf.Tensor,
): tf.GradConfig {
  return {
    kernelName,
    inputsToSave: ['a', 'b'],
    gradFunc: (dy, saved) => {
      const [a, b] = saved as [tf.Tensor, tf.Tensor];
      return {
        a: () => sumToShape(da(dy as tf.Tensor, a, b), a.shape),
        b: () => sumToShape(db(dy as tf.Tensor, a, b), b.shape),
      };
    },
  };
}

function clipping(kernelName: string, range: (attributes: tf.NamedAttrMap) => [number, number]): tf.GradConfig {
  return {
    kernelName,
    outputsToSave: [true],
    gradFunc: (dy, saved, attributes) => {
      const [min, max] = range(attributes);
      return {x: () => clipGradient(item(saved, 0), dy as tf.Tensor, {min, max})};
    },
  };
}

/** `shape` with the reduced axes kept as 1. */
function keptShape(shape: Shape, axis: number | number[]): number[] {
  const axes = tf.util.parseAxisParam(axis, [...shape]);
  return shape.map((size, i) => (axes.includes(i) ? 1 : size));
}

function repeatTo(reduced: tf.Tensor, shape: Shape, axis: number | number[]): tf.Tensor {
  return tf.broadcastTo(tf.reshape(reduced, keptShape(shape, axis)), [...shape]);
}

interface ConvAttributes {
  readonly strides: number | [number, number];
  readonly pad: tf.backend_util.ExplicitPadding | 'same' | 'valid' | number;
  readonly dataFormat: 'NHWC' | 'NCHW';
  readonly dilations: number | [number, number];
  readonly dimRoundingMode?: 'floor' | 'round' | 'ceil';
}

function ofConvolution(kernelName: string, inputGradient: string, filterGradient: string): tf.GradConfig {
  return {
    kernelName,
    inputsToSave: ['x', 'filter'],
    gradFunc: (dy, saved, attributes) => {
      const [x, filter] = saved as [tf.Tensor, tf.Tensor];
      const convolution = attributes as unknown as ConvAttributes;
      tf.util.assert(
        takesDilations(tf) || tf.backend_util.tupleValuesAreOne(convolution.dilations),
        () => `The gradient of ${kernelName} takes no dilations, got ${String(convolution.dilations)}.`,
      );
      return {
        x: () => run(inputGradient, {dy: dy as tf.Tensor, filter}, {...convolution, inputShape: x.shape}),
        filter: () => run(filterGradient, {x, dy: dy as tf.Tensor}, {...convolution, filterShape: filter.shape}),
      };
    },
  };
}

interface PoolAttributes {
  readonly filterSize: number | [number, number];
  readonly strides: number | [number, number];
  readonly pad: ConvAttributes['pad'];
  readonly dimRoundingMode?: 'floor' | 'round' | 'ceil';
}

/**
 * How many elements of a padded [height, width] input each pooling window covers, over the window's size, inverted:
 * the AvgPoolGrad kernels divide by the whole window, the forward pass by the covered part.
 */
export function windowOverCovered(
  shape: Shape,
  {filterSize, strides, pad, dimRoundingMode}: PoolAttributes,
): tf.Tensor | null {
  const info = tf.backend_util.computePool2DInfo(
    shape as [number, number, number, number],
    filterSize,
    strides,
    1,
    pad,
    dimRoundingMode,
  );
  const covered = (out: number, stride: number, before: number, window: number, size: number): number[] =>
    Array.from({length: out}, (_, i) => {
      const start = i * stride - before;
      return Math.min(start + window, size) - Math.max(start, 0);
    });
  const rows = covered(info.outHeight, info.strideHeight, info.padInfo.top, info.filterHeight, info.inHeight);
  const columns = covered(info.outWidth, info.strideWidth, info.padInfo.left, info.filterWidth, info.inWidth);
  const window = info.filterHeight * info.filterWidth;
  if (rows.every((count) => count === info.filterHeight) && columns.every((count) => count === info.filterWidth)) {
    return null;
  }
  const factors = rows.flatMap((row) => columns.map((column) => window / (row * column)));
  return tf.tensor4d(factors, [1, info.outHeight, info.outWidth, 1]);
}

/** y · (dy − Σ y · dy) along `dim`. */
function softmaxGradient(dy: tf.Tensor, y: tf.Tensor, dim: number): tf.Tensor {
  const weighted = tf.mul(dy, y);
  return tf.sub(weighted, tf.mul(tf.sum(weighted, dim, true), y));
}

const gradients: readonly tf.GradConfig[] = [
  ofConvolution(tf.Conv2D, tf.Conv2DBackpropInput, tf.Conv2DBackpropFilter),
  ofConvolution(
    tf.DepthwiseConv2dNative,
    tf.DepthwiseConv2dNativeBackpropInput,
    tf.DepthwiseConv2dNativeBackpropFilter,
  ),
  {
    kernelName: tf.Conv2DBackpropInput,
    inputsToSave: ['dy', 'filter'],
    gradFunc: (gradient, saved, attributes) => {
      const [dy, filter] = saved as [tf.Tensor, tf.Tensor];
      const x = gradient as tf.Tensor;
      const {inputShape: _, ...convolution} = attributes;
      return {
        dy: () => run(tf.Conv2D, {x, filter}, {dilations: 1, ...convolution}),
        filter: () => run(tf.Conv2DBackpropFilter, {x, dy}, {...convolution, filterShape: filter.shape}),
      };
    },
  },
  {
    kernelName: tf.BatchMatMul,
    inputsToSave: ['a', 'b'],
    gradFunc: (dy, saved, attributes) => {
      const d = dy as tf.Tensor;
      const [a, b] = saved as [tf.Tensor, tf.Tensor];
      const {transposeA, transposeB} = attributes as unknown as {transposeA: boolean; transposeB: boolean};
      return {
        a: () =>
          sumToShape(transposeA ? tf.matMul(b, d, transposeB, true) : tf.matMul(d, b, false, !transposeB), a.shape),
        b: () =>
          sumToShape(transposeB ? tf.matMul(d, a, true, transposeA) : tf.matMul(a, d, !transposeA, false), b.shape),
      };
    },
  },
  {
    kernelName: tf.MaxPool,
    inputsToSave: ['x'],
    outputsToSave: [true],
    gradFunc: (dy, saved, attributes) => {
      const [input, output] = saved as [tf.Tensor, tf.Tensor];
      return {x: () => run(tf.MaxPoolGrad, {dy: dy as tf.Tensor, input, output}, attributes)};
    },
  },
  {
    kernelName: tf.AvgPool,
    inputsToSave: ['x'],
    gradFunc: (dy, saved, attributes) => {
      const [input] = saved as [tf.Tensor];
      return {
        x: () => {
          const factor = windowOverCovered(input.shape, attributes as unknown as PoolAttributes);
          const scaled = factor === null ? (dy as tf.Tensor) : tf.mul(dy as tf.Tensor, factor);
          return run(tf.AvgPoolGrad, {dy: scaled, input}, attributes);
        },
      };
    },
  },

  ofTwo(
    tf.Add,
    (dy) => dy,
    (dy) => dy,
  ),
  ofTwo(
    tf.Sub,
    (dy) => dy,
    (dy) => tf.neg(dy),
  ),
  ofTwo(
    tf.Multiply,
    (dy, _, b) => tf.mul(dy, b),
    (dy, a) => tf.mul(dy, a),
  ),
  ofTwo(
    tf.RealDiv,
    (dy, _, b) => tf.div(dy, b),
    (dy, a, b) => tf.neg(tf.div(tf.mul(dy, a), tf.square(b))),
  ),
  // Where both are equal the first takes the gradient.
  ofTwo(
    tf.Maximum,
    (dy, a, b) => tf.mul(dy, tf.cast(tf.greaterEqual(a, b), 'float32')),
    (dy, a, b) => tf.mul(dy, tf.cast(tf.less(a, b), 'float32')),
  ),
  ofTwo(
    tf.Minimum,
    (dy, a, b) => tf.mul(dy, tf.cast(tf.lessEqual(a, b), 'float32')),
    (dy, a, b) => tf.mul(dy, tf.cast(tf.greater(a, b), 'float32')),
  ),
  {
    kernelName: tf.AddN,
    saveAllInputs: true,
    gradFunc: (dy, saved) => Object.fromEntries(saved.map((_, i) => [i, () => tf.clone(dy as tf.Tensor)])),
  },

  ofTwo(
    tf.Pow,
    (dy, a, b) => tf.mul(dy, tf.mul(b, tf.pow(a, tf.sub(b, 1)))),
    (dy, a, b) => {
      const positive = tf.greater(a, 0);
      const logarithm = tf.log(tf.where(positive, a, tf.onesLike(a)));
      return tf.mul(dy, tf.mul(tf.pow(a, b), logarithm));
    },
  ),

  clipping(tf.Relu, () => [0, Infinity]),
  clipping(tf.Relu6, () => [0, 6]),
  clipping(tf.ClipByValue, ({clipValueMin, clipValueMax}) => [clipValueMin as number, clipValueMax as number]),
  ofInput(tf.Abs, (x) => tf.sign(x)),
  ofInput(tf.Square, (x) => tf.mul(x, 2)),
  ofInput(tf.Log, (x) => tf.reciprocal(x)),
  ofInput(tf.Erf, (x) => tf.mul(tf.exp(tf.neg(tf.square(x))), 2 / Math.sqrt(Math.PI))),
  ofInput(tf.Atan, (x) => tf.reciprocal(tf.add(tf.square(x), 1))),
  ofInput(tf.Sin, (x) => tf.cos(x)),
  ofInput(tf.Cos, (x) => tf.neg(tf.sin(x))),
  ofInput(tf.Neg, (x) => tf.fill(x.shape, -1)),
  ofOutput(tf.Exp, (y) => y),
  ofOutput(tf.Sigmoid, (y) => tf.mul(y, tf.sub(1, y))),
  ofOutput(tf.Tanh, (y) => tf.sub(1, tf.square(y))),
  ofOutput(tf.Sqrt, (y) => tf.div(0.5, y)),
  ofOutput(tf.Rsqrt, (y) => tf.mul(tf.mul(tf.square(y), y), -0.5)),
  {
    kernelName: tf.Softmax,
    outputsToSave: [true],
    gradFunc: (dy, saved, attributes) => {
      const [y] = saved as [tf.Tensor];
      const {dim} = attributes as unknown as {dim: number};
      return {
        logits: () => {
          if (dim === y.rank - 1 || dim === -1) {
            const gradient = dy as tf.Tensor;
            return item(
              runFused('SdqSoftmaxGrad', {y, dy: gradient}, {}, () => [softmaxGradient(gradient, y, dim)]),
              0,
            );
          }
          return softmaxGradient(dy as tf.Tensor, y, dim);
        },
      };
    },
  },

  ofShape(tf.Sum, (dy, shape, {axis}) => repeatTo(dy, shape, axis)),
  ofShape(tf.Mean, (dy, shape, {axis}) => {
    const count = tf.util.sizeFromShape([...shape]) / Math.max(1, tf.util.sizeFromShape(keptShape(shape, axis)));
    return repeatTo(tf.div(dy, count), shape, axis);
  }),
  {
    // Equal maxima share the gradient in equal parts.
    kernelName: tf.Max,
    inputsToSave: ['x'],
    outputsToSave: [true],
    gradFunc: (dy, saved, attributes) => {
      const [x, y] = saved as [tf.Tensor, tf.Tensor];
      const axis = attributes['reductionIndices'] as number | number[];
      return {
        x: () => {
          const isMax = tf.cast(tf.equal(x, tf.reshape(y, keptShape(x.shape, axis))), 'float32');
          const share = tf.div(isMax, tf.sum(isMax, axis, true));
          return tf.mul(share, tf.reshape(dy as tf.Tensor, keptShape(x.shape, axis)));
        },
      };
    },
  },

  ofShape(tf.Reshape, (dy, shape) => tf.reshape(dy, [...shape])),
  ofShape(tf.ExpandDims, (dy, shape) => tf.reshape(dy, [...shape]), 'input'),
  ofShape(tf.Transpose, (dy, _, {perm}) => tf.transpose(dy, tf.backend_util.getUndoAxesPermutation(perm))),
  ofShape(tf.PadV2, (dy, shape, {paddings}) =>
    tf.slice(
      dy,
      paddings.map(([before]) => before),
      [...shape],
    ),
  ),
  ofShape(tf.Slice, (dy, shape, {begin}) => {
    const starts = typeof begin === 'number' ? [begin] : begin;
    const paddings = shape.map((size, i): [number, number] => {
      const before = starts[i] ?? 0;
      return [before, size - before - item(dy.shape, i)];
    });
    return tf.pad(dy, paddings);
  }),
  {
    kernelName: tf.Concat,
    saveAllInputs: true,
    gradFunc: (dy, saved, attributes) => {
      const axis = item(tf.util.parseAxisParam(attributes['axis'] as number, item(saved, 0).shape), 0);
      let start = 0;
      return Object.fromEntries(
        saved.map((x, i) => {
          const begin = item(saved, 0).shape.map((_, dimension) => (dimension === axis ? start : 0));
          start += item(x.shape, axis);
          return [i, () => tf.slice(dy as tf.Tensor, begin, x.shape)];
        }),
      );
    },
  },
  {
    kernelName: tf.SplitV,
    gradFunc: (dy, _, attributes) => ({
      x: () => tf.concat(Array.isArray(dy) ? dy : [dy], attributes['axis'] as number),
    }),
  },
  ofShape(tf.Tile, (dy, shape, {reps}) => {
    // [n · d] is [n, d]: every axis is split in two, and the repeats are summed.
    const split = shape.flatMap((size, i) => [item(reps, i), size]);
    const repeats = shape.map((_, i) => 2 * i);
    return tf.sum(tf.reshape(dy, split), repeats);
  }),
  {
    // The gradients of an entry that was taken several times are added.
    kernelName: tf.GatherV2,
    inputsToSave: ['x', 'indices'],
    gradFunc: (dy, saved, attributes) => {
      const [x, indices] = saved as [tf.Tensor, tf.Tensor1D];
      const axis = item(tf.util.parseAxisParam(attributes['axis'] as number, x.shape), 0);
      const toFront = [axis, ...x.shape.map((_, i) => i).filter((i) => i !== axis)];
      return {
        x: () => {
          const rows = tf.transpose(dy as tf.Tensor, toFront);
          const sums = tf.unsortedSegmentSum(rows, indices, item(x.shape, axis));
          return tf.transpose(sums, tf.backend_util.getUndoAxesPermutation(toFront));
        },
      };
    },
  },
  {
    kernelName: tf.Select,
    inputsToSave: ['condition'],
    gradFunc: (dy, saved) => {
      const condition = item(saved, 0);
      const d = dy as tf.Tensor;
      const none = tf.zerosLike(d);
      return {
        t: () => tf.where(condition, d, none),
        e: () => tf.where(condition, none, d),
      };
    },
  },
  {kernelName: tf.Cast, gradFunc: (dy) => ({x: () => tf.cast(dy as tf.Tensor, 'float32')})},
  {kernelName: tf.Identity, gradFunc: (dy) => ({x: () => tf.clone(dy as tf.Tensor)})},
];

/** Registers the gradients. Idempotent; called before the first backward pass. */
export function registerGradients(): void {
  for (const gradient of gradients) tf.registerGradient(gradient);
}
