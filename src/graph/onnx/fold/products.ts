/** Operators that sum over elements: products of matrices, normalization, Softmax, cumulative sums. */
import {item} from '../../../lookup.ts';
import {elements} from '../../ops/operator.ts';
import {
  NotConstant,
  arrayLimit,
  broadcast,
  broadcastStrides,
  elementwise,
  fixed,
  hostArray,
  moved,
  numbers,
  reshaped,
  stridesOf,
  walk,
  zeros,
  type HostArray,
} from '../host-array.ts';
import {need, positive, type Attributes, type Evaluator, type Inputs} from './evaluator.ts';

/** [..., m, k] · [..., k, n]. */
function matMul(inputs: Inputs): readonly HostArray[] {
  const [a, b] = [fixed(need(inputs, 0)), fixed(need(inputs, 1))];
  if (a.shape.length < 2 || b.shape.length < 2) throw new NotConstant('it multiplies vectors');
  const [rows, inner] = a.shape.slice(-2) as [number, number];
  const [depth, columns] = b.shape.slice(-2) as [number, number];
  if (inner !== depth) throw new NotConstant(`it multiplies ${inner} columns with ${depth} rows`);
  const outer = broadcast([a.shape.slice(0, -2), b.shape.slice(0, -2)]);
  const shape = [...outer, rows, columns];
  if (elements(shape) * inner > 32 * arrayLimit) throw new NotConstant('it is a product of large matrices');
  const out = zeros(a.type, shape);
  const matrices = ({shape: stack}: HostArray): (() => number) => {
    const size = elements(stack.slice(-2));
    const index = {type: '', shape: stack.slice(0, -2), data: new Float64Array()};
    const next = walk(outer, broadcastStrides(index, outer));
    return () => next() * size;
  };
  const [nextA, nextB] = [matrices(a), matrices(b)];
  for (let to = 0; to < out.data.length; to += rows * columns) {
    const [fromA, fromB] = [nextA(), nextB()];
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        let sum = 0;
        // eslint-disable-next-line @typescript-eslint/no-non-null-assertion -- the innermost loop, within both shapes
        for (let k = 0; k < inner; k++) sum += a.data[fromA + i * inner + k]! * b.data[fromB + k * columns + j]!;
        out.data[to + i * columns + j] = sum;
      }
    }
  }
  return [out];
}

/** Adds a bias with one value for each entry of an axis. @param axis of a matrix or a stack of matrices */
function withBias(product: HostArray, bias: HostArray | undefined, axis: number): HostArray {
  if (bias === undefined) return product;
  const {shape, type} = product;
  const sizes = shape.map((_, index) => (index === axis ? bias.data.length : 1));
  return elementwise([product, reshaped(fixed(bias), sizes)], type, (value, shift) => value + shift);
}

/** x · W, or x · Wᵀ, with a bias. */
function gemm(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const [alpha, beta] = [attributes.float('alpha', 1), attributes.float('beta', 1)];
  if (alpha !== 1 || beta !== 1 || attributes.int('transA', 0) === 1) {
    throw new NotConstant('it has an alpha, a beta or a transposed first matrix');
  }
  const weight = fixed(need(inputs, 1));
  const [rows = 0, columns = 0] = weight.shape;
  const isTransposed = attributes.int('transB', 0) === 1;
  const next = walk([columns, rows], [1, columns]);
  const factor = isTransposed ? moved(weight, [columns, rows], next) : weight;
  const product = item(matMul([need(inputs, 0), factor]), 0);
  return [withBias(product, inputs[2], 1)];
}

/** A convolution of single pixels: a product of matrices. */
function conv(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const [x, weight] = [fixed(need(inputs, 0)), fixed(need(inputs, 1))];
  const [outputs = 0, channels = 0, ...kernel] = weight.shape;
  const isPlain = [...kernel, ...(attributes.ints('strides') ?? [])].every((size) => size === 1);
  const isPadded = attributes.ints('pads')?.some((pad) => pad !== 0) === true;
  if (!isPlain || isPadded || attributes.int('group', 1) !== 1) {
    throw new NotConstant('it convolves more than single pixels');
  }
  const [batch = 0, , ...image] = x.shape;
  const pixels = reshaped(x, [batch, channels, elements(image)]);
  const product = item(matMul([reshaped(weight, [outputs, channels]), pixels]), 0);
  return [reshaped(withBias(product, inputs[2], 1), [batch, outputs, ...image])];
}

/** Over the last axis. Older opsets count other axes differently. */
function softmax(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = fixed(need(inputs, 0));
  const axis = positive(attributes.int('axis', x.shape.length === 2 ? 1 : NaN), x.shape.length);
  if (axis !== x.shape.length - 1) throw new NotConstant('it is over an axis that is not the last');
  const size = item(x.shape, axis);
  const out = zeros(x.type, x.shape);
  for (let start = 0; start < out.data.length; start += size) {
    const row: readonly number[] = [...x.data.subarray(start, start + size)];
    const greatest = row.reduce((most, value) => Math.max(most, value), -Infinity);
    const sum = row.reduce((total, value) => total + Math.exp(value - greatest), 0);
    row.forEach((value, index) => (out.data[start + index] = Math.exp(value - greatest) / sum));
  }
  return [out];
}

/** Of weights that a network standardizes itself: by their own mean and variance in training mode, else by those given. */
function batchNormalization(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const [x, scale, bias, mean, variance] = [0, 1, 2, 3, 4].map((index) => fixed(need(inputs, index))) as [
    HostArray,
    HostArray,
    HostArray,
    HostArray,
    HostArray,
  ];
  const [batch = 1, channels = 1, ...image] = x.shape;
  const size = elements(image);
  const count = batch * size;
  const epsilon = attributes.float('epsilon', 1e-5);
  const out = zeros(x.type, x.shape);
  for (let channel = 0; channel < channels; channel++) {
    const each = (run: (index: number) => void): void => {
      for (let n = 0; n < batch; n++) {
        const start = (n * channels + channel) * size;
        for (let i = start; i < start + size; i++) run(i);
      }
    };
    let [centre, spread] = [item(mean.data, channel), item(variance.data, channel)];
    if (attributes.int('training_mode', 0) === 1) {
      [centre, spread] = [0, 0];
      each((i) => (centre += item(x.data, i) / count));
      each((i) => (spread += (item(x.data, i) - centre) ** 2 / count));
    }
    const factor = item(scale.data, channel) / Math.sqrt(spread + epsilon);
    each((i) => (out.data[i] = (item(x.data, i) - centre) * factor + item(bias.data, channel)));
  }
  return [out];
}

function cumSum(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = fixed(need(inputs, 0));
  if (attributes.int('exclusive', 0) + attributes.int('reverse', 0) > 0)
    throw new NotConstant('it is exclusive or reverse');
  const axis = positive(item(numbers(need(inputs, 1)), 0), x.shape.length);
  const stride = item(stridesOf(x.shape), axis);
  const out = hostArray(x.type, x.shape, x.data);
  for (let i = 0; i < out.data.length; i++) {
    if (Math.floor(i / stride) % item(x.shape, axis) > 0) out.data[i] = item(out.data, i) + item(out.data, i - stride);
  }
  return [out];
}

export const products: readonly (readonly [string, Evaluator])[] = [
  ['BatchNormalization', batchNormalization],
  ['Conv', conv],
  ['CumSum', cumSum],
  ['Gemm', gemm],
  ['MatMul', matMul],
  ['Softmax', softmax],
];
