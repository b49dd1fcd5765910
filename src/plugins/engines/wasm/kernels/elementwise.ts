/** Element-wise arithmetic of float tensors; other types are the cpu backend's. */
import * as tf from '@tensorflow/tfjs-core';

import * as kernel from '../assembly/shared.ts';
import {defineKernel, type WasmBackend} from '../backend.ts';
import {rowLayout, sizeOf, withRow} from './rows.ts';

const binaryOperation = {
  [tf.Add]: kernel.addition,
  [tf.Sub]: kernel.subtraction,
  [tf.Multiply]: kernel.multiplication,
  [tf.RealDiv]: kernel.division,
  [tf.Maximum]: kernel.maximum,
  [tf.Minimum]: kernel.minimum,
} as const;

const unaryOperation = {
  [tf.Relu]: kernel.relu,
  [tf.Relu6]: kernel.relu6,
  [tf.Sqrt]: kernel.squareRoot,
  [tf.Rsqrt]: kernel.reciprocalRoot,
  [tf.Square]: kernel.square,
  [tf.Neg]: kernel.negation,
  [tf.Abs]: kernel.absolute,
  [tf.Round]: kernel.roundEven,
} as const;

const transcendentalOperation = {
  [tf.Exp]: kernel.exponential,
  [tf.Log]: kernel.logarithm,
  [tf.Sigmoid]: kernel.sigmoid,
  [tf.Tanh]: kernel.tangent,
  [tf.Erf]: kernel.errorFunction,
} as const;
/** Cost of a transcendental function in elements moved, for `threadsFor`. */
const transcendentalCost = 4;

function isFloat({dtype}: tf.TensorInfo): boolean {
  return dtype === 'float32';
}

/** Whether `small` is a scalar, or a tensor of `large`'s last axes (ones in front do not count). */
function repeatsInside(small: tf.TensorInfo, large: tf.TensorInfo): boolean {
  const trimmed = small.shape.slice(
    Math.max(
      0,
      small.shape.findIndex((size) => size !== 1),
    ),
  );
  return (
    small.shape.length <= large.shape.length &&
    sizeOf(small) > 0 &&
    (sizeOf(small) === 1 || trimmed.every((size, i) => size === large.shape[large.shape.length - trimmed.length + i]))
  );
}

/** y = a ∘ b where `repeated` says which operand is one row for all of the other. */
function runBinary(
  backend: WasmBackend,
  operation: number,
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  repeated: 'a' | 'b' | 'none',
  y: tf.TensorInfo,
): tf.TensorInfo {
  const size = sizeOf(y);
  const threads = backend.threadsFor(size);
  const {rows, width, tail} = rowLayout(size, repeated === 'none' ? 1 : sizeOf(repeated === 'a' ? a : b));
  const run = (aAddress: number, bAddress: number, aStride: number, bStride: number): void => {
    const ints = [aAddress, bAddress, backend.pointer(y), rows, width, tail, aStride, bStride, operation];
    backend.run('binary', ints, [], threads);
  };
  if (repeated === 'a') withRow(backend, a, width, (row) => run(row, backend.pointer(b), 0, width));
  else if (repeated === 'b') withRow(backend, b, width, (row) => run(backend.pointer(a), row, width, 0));
  else run(backend.pointer(a), backend.pointer(b), width, width);
  return y;
}

/** Both operands' strides along the axes of the output, neighbours that both walk alike joined; the last is innermost. */
function broadcastWalk(
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  shape: readonly number[],
): {readonly sizes: number[]; readonly a: number[]; readonly b: number[]} {
  const strides = ({shape: operandShape}: tf.TensorInfo): number[] => {
    const padded = [...new Array<number>(shape.length - operandShape.length).fill(1), ...operandShape];
    return padded.map((size, axis) => (size === 1 ? 0 : padded.slice(axis + 1).reduce((all, next) => all * next, 1)));
  };
  const walk = {sizes: [] as number[], a: [] as number[], b: [] as number[]};
  const [ofA, ofB] = [strides(a), strides(b)];
  for (const [axis, size] of shape.entries()) {
    if (size === 1) continue;
    const [stepA, stepB] = [ofA[axis] ?? 0, ofB[axis] ?? 0];
    const joins = walk.sizes.length > 0 && walk.a.at(-1) === stepA * size && walk.b.at(-1) === stepB * size;
    const last = walk.sizes.length - 1;
    if (joins) walk.sizes.splice(last, 1, (walk.sizes[last] ?? 1) * size);
    else walk.sizes.push(size);
    walk.a.splice(joins ? last : last + 1, 1, stepA);
    walk.b.splice(joins ? last : last + 1, 1, stepB);
  }
  return walk;
}

/** Dimensions of the kernel `broadcast`. */
const broadcastRank = 4;

/** y = a ∘ b where the shapes broadcast; null where they do so in more ways than the kernel has dimensions. */
function runBroadcast(
  backend: WasmBackend,
  operation: number,
  a: tf.TensorInfo,
  b: tf.TensorInfo,
): tf.TensorInfo | null {
  const shape = tf.broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape);
  const walk = broadcastWalk(a, b, shape);
  if (walk.sizes.length > broadcastRank) return null;
  const y = backend.output(shape);
  const filled = (numbers: readonly number[], filler: number): number[] => [
    ...new Array<number>(broadcastRank - numbers.length).fill(filler),
    ...numbers,
  ];
  const addresses = [a, b, y].map((info) => backend.pointer(info));
  const ints = [...addresses, ...filled(walk.sizes, 1), ...filled(walk.a, 0), ...filled(walk.b, 0), operation];
  backend.run('broadcast', ints, [], backend.threadsFor(sizeOf(y)));
  return y;
}

function binaryKernel(kernelName: keyof typeof binaryOperation): tf.KernelConfig {
  return defineKernel<{a: tf.TensorInfo; b: tf.TensorInfo}>(kernelName, ({backend, inputs: {a, b}, cpu}) => {
    if (!isFloat(a) || !isFloat(b)) return cpu();
    const operation = binaryOperation[kernelName];
    if (tf.util.arraysEqual(a.shape, b.shape)) {
      return runBinary(backend, operation, a, b, 'none', backend.output(a.shape));
    }
    if (repeatsInside(b, a)) return runBinary(backend, operation, a, b, 'b', backend.output(a.shape));
    if (repeatsInside(a, b)) return runBinary(backend, operation, a, b, 'a', backend.output(b.shape));
    return runBroadcast(backend, operation, a, b) ?? cpu();
  });
}

function unaryKernel(kernelName: keyof typeof unaryOperation): tf.KernelConfig {
  return defineKernel<{x: tf.TensorInfo}>(kernelName, ({backend, inputs: {x}, cpu}) => {
    if (!isFloat(x)) return cpu();
    const y = backend.output(x.shape);
    const size = sizeOf(x);
    const ints = [backend.pointer(x), backend.pointer(y), size, unaryOperation[kernelName]];
    backend.run('unary', ints, [0, 0], backend.threadsFor(size));
    return y;
  });
}

function transcendentalKernel(kernelName: keyof typeof transcendentalOperation): tf.KernelConfig {
  return defineKernel<{x: tf.TensorInfo}>(kernelName, ({backend, inputs: {x}, cpu}) => {
    if (!isFloat(x)) return cpu();
    const y = backend.output(x.shape);
    const size = sizeOf(x);
    const ints = [backend.pointer(x), backend.pointer(y), size, transcendentalOperation[kernelName]];
    backend.run('transcendental', ints, [], backend.threadsFor(transcendentalCost * size));
    return y;
  });
}

function keysOf<Key extends string>(record: Readonly<Record<Key, number>>): Key[] {
  return Object.keys(record) as Key[];
}

export const elementwiseKernels: readonly tf.KernelConfig[] = [
  ...keysOf(binaryOperation).map(binaryKernel),
  ...keysOf(unaryOperation).map(unaryKernel),
  ...keysOf(transcendentalOperation).map(transcendentalKernel),

  defineKernel<{x: tf.TensorInfo}, tf.ClipByValueAttrs>(tf.ClipByValue, ({backend, inputs: {x}, attrs, cpu}) => {
    if (!isFloat(x)) return cpu();
    const y = backend.output(x.shape);
    const size = sizeOf(x);
    backend.run(
      'unary',
      [backend.pointer(x), backend.pointer(y), size, kernel.clipping],
      [attrs.clipValueMin, attrs.clipValueMax],
      backend.threadsFor(size),
    );
    return y;
  }),

  defineKernel<tf.TensorInfo[]>(tf.AddN, ({backend, inputs, cpu}) => {
    const [first, second, ...others] = inputs;
    if (first === undefined || second === undefined || !inputs.every(isFloat)) return cpu();
    const y = runBinary(backend, binaryOperation.Add, first, second, 'none', backend.output(first.shape));
    for (const other of others) runBinary(backend, binaryOperation.Add, y, other, 'none', y);
    return y;
  }),
];
