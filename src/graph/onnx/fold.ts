/** ONNX's operators on arrays that a file fixes: what a network computes of its own shapes and weights, whatever the image. */
import {item} from '../../lookup.ts';
import type {Shape} from '../graph.ts';
import {elements} from '../ops/operator.ts';
import type {Sizes} from '../ops/sizes.ts';
import {typeName} from './constants.ts';
import {
  NotConstant,
  arrayLimit,
  broadcast,
  broadcastStrides,
  elementwise,
  fixed,
  hostArray,
  isFloat,
  linear,
  moved,
  numbers,
  reshaped,
  stridesOf,
  walk,
  withBatch,
  zeros,
  type HostArray,
} from './host-array.ts';

/** A node's attributes, each read when it is asked for. */
export interface Attributes {
  int(name: string, fallback: number): number;
  float(name: string, fallback: number): number;
  /** undefined where it is left out. */
  ints(name: string): readonly number[] | undefined;
  tensor(name: string): HostArray | undefined;
}

type Inputs = readonly (HostArray | undefined)[];

/**
 * @param inputs undefined for one that is left out
 * @param outputs how many the node has
 * @throws NotConstant where the values make no constant
 */
type Evaluator = (inputs: Inputs, attributes: Attributes, outputs: number) => readonly HostArray[];

function need(inputs: Inputs, index: number): HostArray {
  const array = inputs[index];
  if (array === undefined) throw new NotConstant(`its input ${index + 1} is missing`);
  return array;
}

/** An axis counted from the start. */
function positive(axis: number, rank: number): number {
  const found = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || found < 0 || found >= rank)
    throw new NotConstant(`the axis ${axis} is none of ${rank}`);
  return found;
}

/** Axes in an attribute (older opsets) or in an input. */
function axesOf(inputs: Inputs, attributes: Attributes, index: number): readonly number[] | undefined {
  const axes = attributes.ints('axes');
  return axes ?? (inputs[index] === undefined ? undefined : numbers(inputs[index]));
}

/** The result on integers beyond which float64 is not exact is refused; on floats it is rounded when it is stored. */
function exact(type: string, value: number): number {
  if (!isFloat(type) && !Number.isSafeInteger(value)) throw new NotConstant(`${value} is no whole number below 2^53`);
  return value;
}

type Linear = Parameters<typeof linear.same>[0];
type LinearRule = (...values: Linear[]) => Linear;

/** Element-wise of two inputs, or of several from the left. */
function arithmetic(
  run: (a: number, b: number, type: string) => number,
  rule?: (a: Linear, b: Linear) => Linear,
): Evaluator {
  return (inputs) => {
    const [first, ...others] = inputs.map((_, index) => need(inputs, index));
    if (first === undefined) throw new NotConstant('it has no inputs');
    const {type} = first;
    return [
      others.reduce(
        (sum, other) => elementwise([sum, other], type, (a, b) => exact(type, run(a, b, type)), rule as LinearRule),
        first,
      ),
    ];
  };
}

function comparison(accepts: (sign: number) => boolean): Evaluator {
  return (inputs) => [
    elementwise(
      [need(inputs, 0), need(inputs, 1)],
      'bool',
      (a, b) => Number(accepts(Math.sign(a - b) || Number(a > b) - Number(a < b))),
      linear.compare(accepts),
    ),
  ];
}

const logical = (run: (a: boolean, b: boolean) => boolean): Evaluator =>
  arithmetic((a, b) => Number(run(a !== 0, b !== 0)));

function unary(run: (value: number) => number, rule?: (value: Linear) => Linear): Evaluator {
  return (inputs) => {
    const x = need(inputs, 0);
    return [elementwise([x], x.type, (value) => exact(x.type, run(value)), rule)];
  };
}

function cast(x: HostArray, type: string): HostArray {
  if (x.perImage === true) return {...cast({type: x.type, shape: x.shape, data: x.data}, type), perImage: true};
  const convert = (value: number): number => {
    if (isFloat(type)) return value;
    return type === 'bool' ? Number(value !== 0) : Math.trunc(value);
  };
  if (type !== 'bool' && !isFloat(type) && !/^u?int/.test(type))
    throw new NotConstant(`the type ${type} is not computed`);
  return elementwise([x], type, (value) => convert(value), linear.same);
}

/** Half-way cases to the even number, as ONNX has it. */
function roundEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** @param combine an element into what its group has so far */
function reduction(
  initial: number,
  combine: (sum: number, value: number) => number,
  finish: (sum: number, count: number) => number = (sum) => sum,
): Evaluator {
  return (inputs, attributes) => {
    const x = fixed(need(inputs, 0));
    const rank = x.shape.length;
    const named = axesOf(inputs, attributes, 1) ?? [];
    if (named.length === 0 && attributes.int('noop_with_empty_axes', 0) === 1) return [x];
    const axes = new Set(named.length === 0 ? x.shape.keys() : named.map((axis) => positive(axis, rank)));
    const kept = x.shape.map((size, axis) => (axes.has(axis) ? 1 : size));
    const sums = new Float64Array(elements(kept)).fill(initial);
    const next = walk(
      x.shape,
      stridesOf(kept).map((stride, axis) => (axes.has(axis) ? 0 : stride)),
    );
    for (let i = 0; i < x.data.length; i++) {
      const group = next();
      sums[group] = combine(item(sums, group), item(x.data, i));
    }
    const count = x.data.length / sums.length;
    const shape = attributes.int('keepdims', 1) === 1 ? kept : x.shape.filter((_, axis) => !axes.has(axis));
    return [
      hostArray(
        x.type,
        shape,
        sums.map((sum) => exact(x.type, finish(sum, count))),
      ),
    ];
  };
}

function gather([data, indices]: Inputs, attributes: Attributes): readonly HostArray[] {
  const [x, at] = [need([data], 0), fixed(need([indices], 0))];
  const axis = positive(attributes.int('axis', 0), x.shape.length);
  const size = item(x.shape, axis);
  const inner = elements(x.shape.slice(axis + 1));
  const picked = [...at.data].map((index) => positive(index, size));
  const shape = [...x.shape.slice(0, axis), ...at.shape, ...x.shape.slice(axis + 1)];
  return [
    moved(withoutImages(x), shape, (i) => {
      const outer = Math.floor(i / (picked.length * inner));
      return (outer * size + item(picked, Math.floor(i / inner) % picked.length)) * inner + (i % inner);
    }),
  ];
}

function withoutImages(array: HostArray): HostArray {
  if (array.perImage === true) throw new NotConstant('it has a value for every image of the batch');
  return array;
}

function concat(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const arrays = inputs.map((_, index) => withoutImages(need(inputs, index)));
  const [first] = arrays;
  if (first === undefined) throw new NotConstant('it has no inputs');
  const axis = positive(attributes.int('axis', 0), first.shape.length);
  const others = (shape: Shape): string => shape.filter((_, i) => i !== axis).join();
  if (arrays.some(({shape}) => shape.length !== first.shape.length || others(shape) !== others(first.shape))) {
    throw new NotConstant('its inputs do not fit side by side');
  }
  const shape = first.shape.map((size, i) =>
    i === axis ? arrays.reduce((sum, each) => sum + item(each.shape, i), 0) : size,
  );
  const out = zeros(first.type, shape);
  const batch = arrays.some((array) => array.batch) ? new Float64Array(out.data.length) : undefined;
  let to = 0;
  for (let outer = 0; outer < elements(shape.slice(0, axis)); outer++) {
    for (const array of arrays) {
      const length = elements(array.shape.slice(axis));
      out.data.set(array.data.subarray(outer * length, (outer + 1) * length), to);
      if (array.batch !== undefined) batch?.set(array.batch.subarray(outer * length, (outer + 1) * length), to);
      to += length;
    }
  }
  return [withBatch(out, batch)];
}

function slice(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = withoutImages(need(inputs, 0));
  const list = (name: string, index: number): readonly number[] | undefined =>
    attributes.ints(name) ?? (inputs[index] === undefined ? undefined : numbers(inputs[index]));
  const [starts, ends] = [list('starts', 1), list('ends', 2)];
  if (starts === undefined || ends === undefined) throw new NotConstant('it has no bounds');
  const axes = list('axes', 3) ?? starts.map((_, axis) => axis);
  const steps = inputs[4] === undefined ? starts.map(() => 1) : numbers(inputs[4]);
  const strides = stridesOf(x.shape);
  const shape = [...x.shape];
  let start = 0;
  axes.forEach((named, k) => {
    const axis = positive(named, x.shape.length);
    const size = item(x.shape, axis);
    const step = item(steps, k);
    if (step === 0) throw new NotConstant('a step is 0');
    const clamp = (bound: number): number => {
      const at = bound < 0 ? bound + size : bound;
      return step > 0 ? Math.min(Math.max(at, 0), size) : Math.min(Math.max(at, -1), size - 1);
    };
    const from = clamp(item(starts, k));
    shape[axis] = Math.max(0, Math.ceil((clamp(item(ends, k)) - from) / step));
    start += from * item(strides, axis);
    strides[axis] = item(strides, axis) * step;
  });
  return [moved(x, shape, walk(shape, strides, start))];
}

function unsqueeze(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = withoutImages(need(inputs, 0));
  const axes = axesOf(inputs, attributes, 1) ?? [];
  const rank = x.shape.length + axes.length;
  const added = new Set(axes.map((axis) => positive(axis, rank)));
  const sizes = [...x.shape];
  return [
    reshaped(
      x,
      Array.from({length: rank}, (_, axis) => (added.has(axis) ? 1 : (sizes.shift() ?? 1))),
    ),
  ];
}

function squeeze(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = withoutImages(need(inputs, 0));
  const axes = axesOf(inputs, attributes, 1)?.map((axis) => positive(axis, x.shape.length));
  return [
    reshaped(
      x,
      x.shape.filter((size, axis) => (axes === undefined ? size !== 1 : !axes.includes(axis))),
    ),
  ];
}

function reshape(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = withoutImages(need(inputs, 0));
  const copies = attributes.int('allowzero', 0) === 0;
  const wanted = numbers(need(inputs, 1)).map((size, axis) => (size === 0 && copies ? (x.shape[axis] ?? 0) : size));
  const known = elements(wanted.filter((size) => size !== -1));
  return [
    reshaped(
      x,
      wanted.map((size) => (size === -1 ? x.data.length / known : size)),
    ),
  ];
}

function flatten(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = withoutImages(need(inputs, 0));
  const axis = attributes.int('axis', 1);
  const split = axis < 0 ? axis + x.shape.length : axis;
  return [reshaped(x, [elements(x.shape.slice(0, split)), elements(x.shape.slice(split))])];
}

function transpose(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = withoutImages(need(inputs, 0));
  const perm = attributes.ints('perm') ?? x.shape.map((_, axis) => x.shape.length - 1 - axis);
  if (perm.length !== x.shape.length || new Set(perm).size !== perm.length)
    throw new NotConstant('its "perm" is no order');
  const strides = stridesOf(x.shape);
  const axes = perm.map((axis) => positive(axis, x.shape.length));
  const shape = axes.map((axis) => item(x.shape, axis));
  return [
    moved(
      x,
      shape,
      walk(
        shape,
        axes.map((axis) => item(strides, axis)),
      ),
    ),
  ];
}

/** Whether the shape starts with the batch, and the sizes behind it. */
function imageShape(shape: HostArray): {readonly perImage: boolean; readonly sizes: readonly number[]} {
  const [first = 0, ...others] = shape.data;
  const isBatch = shape.batch !== undefined && first === 0 && shape.batch[0] === 1;
  if (!isBatch) return {perImage: false, sizes: numbers(shape)};
  if (shape.batch.subarray(1).some((slope) => slope !== 0))
    throw new NotConstant('it depends on the size of the batch');
  return {perImage: true, sizes: [1, ...others]};
}

function expand(inputs: Inputs): readonly HostArray[] {
  const x = withoutImages(need(inputs, 0));
  const {perImage, sizes} = imageShape(need(inputs, 1));
  const shape = broadcast([x.shape, sizes]);
  if (perImage && (shape.length > sizes.length || shape[0] !== 1))
    throw new NotConstant('its batch is not the first axis');
  if (!perImage && shape.join() === x.shape.join()) return [x];
  const expanded = moved(x, shape, walk(shape, broadcastStrides(x, shape)));
  return [perImage ? {...expanded, perImage} : expanded];
}

function constantOfShape(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const value = attributes.tensor('value') ?? hostArray('float32', [1], [0]);
  const {perImage, sizes} = imageShape(need(inputs, 0));
  if (sizes.some((size) => size < 0)) throw new NotConstant(`the shape [${sizes.join(', ')}] has a size below 0`);
  const filled = zeros(value.type, sizes);
  filled.data.fill(item(value.data, 0));
  return [perImage ? {...filled, perImage} : filled];
}

function tile(inputs: Inputs): readonly HostArray[] {
  const x = withoutImages(need(inputs, 0));
  const repeats = numbers(need(inputs, 1));
  if (repeats.length !== x.shape.length) throw new NotConstant('it does not repeat every axis');
  // Each axis of size s becomes two, [repeat, s], of which the first is broadcast.
  const shape = x.shape.flatMap((size, axis) => [item(repeats, axis), size]);
  const strides = stridesOf(x.shape).flatMap((stride) => [0, stride]);
  return [
    reshaped(
      moved(x, shape, walk(shape, strides)),
      x.shape.map((size, axis) => size * item(repeats, axis)),
    ),
  ];
}

function range(inputs: Inputs): readonly HostArray[] {
  const [start, limit, step] = [0, 1, 2].map((index) => item(numbers(need(inputs, index)), 0)) as [
    number,
    number,
    number,
  ];
  const count = Math.max(0, Math.ceil((limit - start) / step));
  const out = zeros(need(inputs, 0).type, [count]);
  for (let i = 0; i < count; i++) out.data[i] = start + i * step;
  return [out];
}

function split(inputs: Inputs, attributes: Attributes, outputs: number): readonly HostArray[] {
  const x = withoutImages(need(inputs, 0));
  const axis = positive(attributes.int('axis', 0), x.shape.length);
  const size = item(x.shape, axis);
  const even = Math.ceil(size / outputs);
  const lengths =
    axesOrLengths(inputs, attributes) ?? Array.from({length: outputs}, (_, k) => Math.min(even, size - k * even));
  if (lengths.some((length) => length < 0) || lengths.reduce((sum, length) => sum + length, 0) !== size) {
    throw new NotConstant(`its parts do not make ${size}`);
  }
  const strides = stridesOf(x.shape);
  let start = 0;
  return lengths.map((length) => {
    const shape = x.shape.map((each, i) => (i === axis ? length : each));
    const part = moved(x, shape, walk(shape, strides, start * item(strides, axis)));
    start += length;
    return part;
  });
}

function axesOrLengths(inputs: Inputs, attributes: Attributes): readonly number[] | undefined {
  return attributes.ints('split') ?? (inputs[1] === undefined ? undefined : numbers(inputs[1]));
}

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
  const matrices = ({shape: own}: HostArray): (() => number) => {
    const size = elements(own.slice(-2));
    const index = {type: '', shape: own.slice(0, -2), data: new Float64Array()};
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

function scatterNd(inputs: Inputs): readonly HostArray[] {
  const [x, indices, updates] = [0, 1, 2].map((index) => fixed(need(inputs, index))) as [
    HostArray,
    HostArray,
    HostArray,
  ];
  const depth = indices.shape.at(-1) ?? 0;
  const inner = elements(x.shape.slice(depth));
  const strides = stridesOf(x.shape);
  const out = hostArray(x.type, x.shape, x.data);
  for (let k = 0; k * depth < indices.data.length; k++) {
    let at = 0;
    for (let axis = 0; axis < depth; axis++) {
      at += positive(item(indices.data, k * depth + axis), item(x.shape, axis)) * item(strides, axis);
    }
    out.data.set(updates.data.subarray(k * inner, (k + 1) * inner), at);
  }
  return [out];
}

function trilu(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = fixed(need(inputs, 0));
  const diagonal = inputs[1] === undefined ? 0 : item(numbers(inputs[1]), 0);
  const upper = attributes.int('upper', 1) === 1;
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  return [
    moved(x, x.shape, (i) => {
      const offset = (i % columns) - (Math.floor(i / columns) % rows);
      return (upper ? offset >= diagonal : offset <= diagonal) ? i : -1;
    }),
  ];
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

function clip(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = need(inputs, 0);
  const bound = (index: number, name: string, fallback: number): number =>
    inputs[index] === undefined ? attributes.float(name, fallback) : item(numbers(inputs[index]), 0);
  const [least, greatest] = [bound(1, 'min', -Infinity), bound(2, 'max', Infinity)];
  return [elementwise([x], x.type, (value) => Math.min(Math.max(value, least), greatest))];
}

/** @param sizes of a value; that of the batch axis is −k, where each image has k entries of it */
export function shapeArray(sizes: Sizes, attributes: Attributes): HostArray {
  const rank = sizes.length;
  const bound = (axis: number): number => Math.min(Math.max(axis < 0 ? axis + rank : axis, 0), rank);
  const part = sizes.slice(bound(attributes.int('start', 0)), bound(attributes.int('end', rank)));
  const fixedSizes = part.map((size) => Math.max(size, 0));
  return withBatch(
    hostArray('int64', [part.length], fixedSizes),
    Float64Array.from(part, (size) => Math.max(-size, 0)),
  );
}

const ofShape = ({shape, perImage}: HostArray): Sizes =>
  shape.map((size, axis) => (axis === 0 && perImage === true ? -1 : size));

const divide = (a: number, b: number, type: string): number => {
  if (isFloat(type)) return a / b;
  if (b === 0) throw new NotConstant('it divides by 0');
  return Math.trunc(a / b);
};

const squares = (sum: number, value: number): number => sum + value * value;

export const evaluators: ReadonlyMap<string, Evaluator> = new Map<string, Evaluator>([
  ['Identity', (inputs) => [need(inputs, 0)]],
  ['Cast', (inputs, attributes) => [cast(need(inputs, 0), typeName(attributes.int('to', 0)))]],
  ['CastLike', (inputs) => [cast(need(inputs, 0), need(inputs, 1).type)]],
  ['Shape', (inputs, attributes) => [shapeArray(ofShape(need(inputs, 0)), attributes)]],
  ['Size', (inputs) => [hostArray('int64', [], [withoutImages(need(inputs, 0)).data.length])]],
  ['ConstantOfShape', constantOfShape],
  ['Gather', gather],
  ['Concat', concat],
  ['Slice', slice],
  ['Unsqueeze', unsqueeze],
  ['Squeeze', squeeze],
  ['Reshape', reshape],
  ['Flatten', flatten],
  ['Transpose', transpose],
  ['Expand', expand],
  ['Tile', tile],
  ['Range', range],
  ['Split', split],
  ['BatchNormalization', batchNormalization],
  ['ScatterND', scatterNd],
  ['Trilu', trilu],
  ['CumSum', cumSum],
  ['Clip', clip],
  ['MatMul', matMul],
  [
    'Where',
    (inputs) => {
      const [condition, yes, no] = [0, 1, 2].map((index) => need(inputs, index)) as [HostArray, HostArray, HostArray];
      const select = (c = 0, a = 0, b = 0): number => (c === 0 ? b : a);
      return [elementwise([condition, yes, no], yes.type, select, linear.select)];
    },
  ],
  ['Equal', comparison((sign) => sign === 0)],
  ['Less', comparison((sign) => sign < 0)],
  ['Greater', comparison((sign) => sign > 0)],
  ['LessOrEqual', comparison((sign) => sign <= 0)],
  ['GreaterOrEqual', comparison((sign) => sign >= 0)],
  ['And', logical((a, b) => a && b)],
  ['Or', logical((a, b) => a || b)],
  ['Xor', logical((a, b) => a !== b)],
  ['Not', unary((a) => Number(a === 0))],
  ['Add', arithmetic((a, b) => a + b, linear.add)],
  ['Sum', arithmetic((a, b) => a + b, linear.add)],
  ['Sub', arithmetic((a, b) => a - b, linear.subtract)],
  ['Mul', arithmetic((a, b) => a * b, linear.multiply)],
  ['Div', arithmetic(divide, linear.divide)],
  [
    'Mod',
    (inputs, attributes) =>
      arithmetic((a, b) => (attributes.int('fmod', 0) === 1 ? a % b : a - b * Math.floor(a / b)))(
        inputs,
        attributes,
        1,
      ),
  ],
  ['Pow', arithmetic((a, b, type) => (isFloat(type) ? a ** b : Math.trunc(a ** b)))],
  ['Min', arithmetic((a, b) => Math.min(a, b), linear.least)],
  ['Max', arithmetic((a, b) => Math.max(a, b), linear.greatest)],
  ['Neg', unary((a) => -a, linear.negate)],
  ['Abs', unary(Math.abs)],
  ['Sign', unary(Math.sign)],
  ['Sqrt', unary(Math.sqrt)],
  ['Reciprocal', unary((a) => 1 / a)],
  ['Exp', unary(Math.exp)],
  ['Log', unary(Math.log)],
  ['Sin', unary(Math.sin)],
  ['Cos', unary(Math.cos)],
  ['Tanh', unary(Math.tanh)],
  ['Sigmoid', unary((a) => 1 / (1 + Math.exp(-a)))],
  ['Relu', unary((a) => Math.max(a, 0))],
  ['Floor', unary(Math.floor)],
  ['Ceil', unary(Math.ceil)],
  ['Round', unary(roundEven)],
  ['ReduceSum', reduction(0, (sum, value) => sum + value)],
  ['ReduceMean', reduction(0, (sum, value) => sum + value, (sum, count) => sum / count)], // prettier-ignore
  ['ReduceProd', reduction(1, (product, value) => product * value)],
  ['ReduceMax', reduction(-Infinity, Math.max)],
  ['ReduceMin', reduction(Infinity, Math.min)],
  ['ReduceSumSquare', reduction(0, squares)],
  ['ReduceL2', reduction(0, squares, Math.sqrt)],
]);
