/**
 * Arrays of a file while it is read, and the arithmetic of ONNX on them. An element of a computed shape may depend on the batch
 * size N; it is then `data + batch · N`, exact for every N ≥ 1, and arithmetic that would depend on N in another way is refused.
 */
import {item} from '../../lookup.ts';
import type {Shape} from '../graph.ts';
import {elements} from '../ops/operator.ts';

export interface HostArray {
  /** ONNX's name of the element type: `float32`, `int64`, `bool`, … */
  readonly type: string;
  readonly shape: Shape;
  /** float32 is a Float32Array, so that every result is rounded to float32. */
  readonly data: Float32Array | Float64Array;
  /** What each element gains with every image of the batch; left out: nothing. */
  readonly batch?: Float64Array;
  /** The first axis stands for the batch: every image has these entries of it. */
  readonly perImage?: true;
}

/** The values of these inputs do not make a constant; the message says why. */
export class NotConstant extends Error {}

/** Elements of one array, and bytes of all that a file's constants are computed to. */
export const arrayLimit = 2 ** 26;
export const computedLimit = 2 ** 30;

export function isFloat(type: string): boolean {
  return type === 'float32' || type === 'float64';
}

/** Zeros of a type. @throws NotConstant above the limit */
export function zeros(type: string, shape: Shape): HostArray {
  const count = elements(shape);
  if (!(count <= arrayLimit))
    throw new NotConstant(`it would have ${count} values; at most ${arrayLimit} are computed`);
  return {type, shape, data: type === 'float32' ? new Float32Array(count) : new Float64Array(count)};
}

export function hostArray(type: string, shape: Shape, values: ArrayLike<number>): HostArray {
  const array = zeros(type, shape);
  array.data.set(values);
  return array;
}

/** Without dependence on the batch. @throws NotConstant where there is one */
export function fixed(array: HostArray): HostArray {
  if (array.batch !== undefined) throw new NotConstant('it depends on the size of the batch');
  if (array.perImage === true) throw new NotConstant('it has a value for every image of the batch');
  return array;
}

export const numbers = (array: HostArray): readonly number[] => [...fixed(array).data];

/** Row-major strides of a shape. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = item(strides, axis + 1) * item(shape, axis + 1);
  return strides;
}

/* eslint-disable @typescript-eslint/no-non-null-assertion -- a loop over every element; `from` gives indices of the array */
/**
 * The elements at `from(i)` for every flat index i of the result, in row-major order: all of ONNX that only moves elements.
 * @param from is called with increasing i; -1 stands for `filler`
 */
export function moved(array: HostArray, shape: Shape, from: (index: number) => number, filler = 0): HostArray {
  const out = zeros(array.type, shape);
  const batch = array.batch === undefined ? undefined : new Float64Array(out.data.length);
  for (let i = 0; i < out.data.length; i++) {
    const index = from(i);
    out.data[i] = index < 0 ? filler : array.data[index]!;
    if (batch !== undefined && index >= 0) batch[i] = array.batch![index]!;
  }
  return withBatch(out, batch);
}
/* eslint-enable @typescript-eslint/no-non-null-assertion */

/** @param batch left out of the result where nothing depends on the batch */
export function withBatch(array: HostArray, batch: Float64Array | undefined): HostArray {
  return batch?.some((slope) => slope !== 0) === true ? {...array, batch} : array;
}

/** The same elements under another shape. */
export function reshaped(array: HostArray, shape: Shape): HostArray {
  if (elements(shape) !== array.data.length) {
    throw new NotConstant(`[${array.shape.join(', ')}] cannot become [${shape.join(', ')}]`);
  }
  return {...array, shape};
}

/* eslint-disable @typescript-eslint/no-non-null-assertion -- a loop over every element; all axes are of the shape */
/** Flat index in an array of `shape` with these strides, of the flat index of the result: counted on, without a division. */
export function walk(shape: Shape, strides: readonly number[], start = 0): () => number {
  const position = new Array<number>(shape.length).fill(0);
  let next = start;
  return () => {
    const index = next;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      next += strides[axis]!;
      if (++position[axis]! < shape[axis]!) break;
      next -= strides[axis]! * shape[axis]!;
      position[axis] = 0;
    }
    return index;
  };
}
/* eslint-enable @typescript-eslint/no-non-null-assertion */

/** The shape that arrays broadcast to. @throws NotConstant where they do not */
export function broadcast(shapes: readonly Shape[]): Shape {
  const rank = Math.max(0, ...shapes.map(({length}) => length));
  return Array.from({length: rank}, (_, axis) => {
    const sizes = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
    const size = sizes.find((each) => each !== 1) ?? 1;
    if (sizes.some((each) => each !== 1 && each !== size)) {
      throw new NotConstant(
        `the shapes ${shapes.map((shape) => `[${shape.join(', ')}]`).join(' and ')} do not broadcast`,
      );
    }
    return size;
  });
}

/** Strides with which an array is read where it is broadcast to `shape`. */
export function broadcastStrides(array: HostArray, shape: Shape): number[] {
  const strides = stridesOf(array.shape);
  const missing = shape.length - array.shape.length;
  return shape.map((_, axis) =>
    axis < missing || array.shape[axis - missing] === 1 ? 0 : item(strides, axis - missing),
  );
}

/** A number that may depend on the batch: `value + slope · N`. */
interface Linear {
  readonly value: number;
  readonly slope: number;
}

/* eslint-disable @typescript-eslint/no-non-null-assertion -- a loop over every element; all indices are of `arrays` */
/**
 * Element by element, of arrays that broadcast.
 * @param type of the result
 * @param run on elements that do not depend on the batch
 * @param linear on elements of which one does at least; left out: refused
 */
export function elementwise(
  arrays: readonly HostArray[],
  type: string,
  run: (...values: number[]) => number,
  linear?: (...values: Linear[]) => Linear,
): HostArray {
  if (arrays.some(({perImage}) => perImage))
    return {...elementwise(eachImage(arrays), type, run, linear), perImage: true};
  const shape = broadcast(arrays.map((array) => array.shape));
  const out = zeros(type, shape);
  const next = arrays.map((array) => walk(shape, broadcastStrides(array, shape)));
  const depends = arrays.some(({batch}) => batch !== undefined);
  const batch = depends ? new Float64Array(out.data.length) : undefined;
  const values = arrays.map(() => 0);
  const indices = arrays.map(() => 0);
  for (let i = 0; i < out.data.length; i++) {
    for (let k = 0; k < indices.length; k++) indices[k] = next[k]!();
    const slopes = depends ? arrays.map((array, k) => array.batch?.[indices[k]!] ?? 0) : [];
    if (slopes.some((slope) => slope !== 0)) {
      if (linear === undefined) throw new NotConstant('it depends on the size of the batch');
      const result = linear(...arrays.map((array, k) => ({value: array.data[indices[k]!]!, slope: slopes[k]!})));
      out.data[i] = result.value;
      batch![i] = result.slope;
    } else {
      for (let k = 0; k < indices.length; k++) values[k] = arrays[k]!.data[indices[k]!]!;
      out.data[i] = run(...values);
    }
  }
  return withBatch(out, batch);
}
/* eslint-enable @typescript-eslint/no-non-null-assertion */

/** Of arrays that broadcast, the entries of one image. @throws NotConstant where the first axis is that of the batch in some only */
function eachImage(arrays: readonly HostArray[]): readonly HostArray[] {
  const {length, 0: entries} = broadcast(arrays.map(({shape}) => shape));
  return arrays.map(({perImage, ...array}) => {
    const {length: rank, 0: first} = array.shape;
    const isSame = perImage === true ? rank === length && first === entries : rank < length || first === 1;
    if (!isSame) throw new NotConstant('it has a value for every image of the batch');
    return array;
  });
}

/** The sign of a difference for every N ≥ 1. @throws NotConstant where it depends on N */
function signOf({value, slope}: Linear): number {
  if (slope === 0) return Math.sign(value);
  if (slope > 0 && value + slope > 0) return 1;
  if (slope < 0 && value + slope < 0) return -1;
  throw new NotConstant('it depends on the size of the batch');
}

const constant = (value: number): Linear => ({value, slope: 0});

export const linear = {
  add: (a: Linear, b: Linear): Linear => ({value: a.value + b.value, slope: a.slope + b.slope}),
  subtract: (a: Linear, b: Linear): Linear => ({value: a.value - b.value, slope: a.slope - b.slope}),
  multiply: (a: Linear, b: Linear): Linear => {
    const [changing, factor] = a.slope === 0 ? [b, a] : [a, b];
    if (factor.slope !== 0) throw new NotConstant('it depends on the square of the size of the batch');
    return {value: changing.value * factor.value, slope: changing.slope * factor.value};
  },
  /** Only where nothing is left over, whatever N is. */
  divide: (a: Linear, b: Linear): Linear => {
    const result = {value: a.value / b.value, slope: a.slope / b.value};
    if (b.slope !== 0 || !Number.isInteger(result.value) || !Number.isInteger(result.slope)) {
      throw new NotConstant('it depends on the size of the batch');
    }
    return result;
  },
  same: (a: Linear): Linear => a,
  negate: (a: Linear): Linear => ({value: -a.value, slope: -a.slope}),
  least: (a: Linear, b: Linear): Linear => (signOf(linear.subtract(a, b)) <= 0 ? a : b),
  greatest: (a: Linear, b: Linear): Linear => (signOf(linear.subtract(a, b)) >= 0 ? a : b),
  compare:
    (accepts: (sign: number) => boolean) =>
    (a: Linear, b: Linear): Linear =>
      constant(accepts(signOf(linear.subtract(a, b))) ? 1 : 0),
  select: (condition: Linear, a: Linear, b: Linear): Linear => {
    if (condition.slope !== 0) throw new NotConstant('it depends on the size of the batch');
    return condition.value === 0 ? b : a;
  },
};
