/** Element-wise arithmetic of float tensors; other types and other broadcasts are the cpu backend's. */
import * as tf from '@tensorflow/tfjs-core';

import {defineKernel, type WasmBackend} from '../backend.ts';
import {rowLayout, sizeOf, withRow} from './rows.ts';

/** Numbers of the operations in ../assembly/elementwise.ts. */
const binaryOperation = {
  [tf.Add]: 0,
  [tf.Sub]: 1,
  [tf.Multiply]: 2,
  [tf.RealDiv]: 3,
  [tf.Maximum]: 4,
  [tf.Minimum]: 5,
} as const;

const unaryOperation = {
  [tf.Relu]: 0,
  [tf.Relu6]: 1,
  [tf.Sqrt]: 3,
  [tf.Rsqrt]: 4,
  [tf.Square]: 5,
  [tf.Neg]: 6,
  [tf.Abs]: 7,
  [tf.Round]: 8,
} as const;
const clipOperation = 2;

const transcendentalOperation = {[tf.Exp]: 0, [tf.Log]: 1, [tf.Sigmoid]: 2, [tf.Tanh]: 3} as const;
/** Cost of a transcendental function in elements moved, for `threadsFor`. */
const transcendentalCost = 8;

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

function binaryKernel(kernelName: keyof typeof binaryOperation): tf.KernelConfig {
  return defineKernel<{a: tf.TensorInfo; b: tf.TensorInfo}>(kernelName, ({backend, inputs: {a, b}, cpu}) => {
    if (!isFloat(a) || !isFloat(b)) return cpu();
    const operation = binaryOperation[kernelName];
    if (tf.util.arraysEqual(a.shape, b.shape)) {
      return runBinary(backend, operation, a, b, 'none', backend.output(a.shape));
    }
    if (repeatsInside(b, a)) return runBinary(backend, operation, a, b, 'b', backend.output(a.shape));
    if (repeatsInside(a, b)) return runBinary(backend, operation, a, b, 'a', backend.output(b.shape));
    return cpu();
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
      [backend.pointer(x), backend.pointer(y), size, clipOperation],
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
