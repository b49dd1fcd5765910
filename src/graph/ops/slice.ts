/** A part of a value: a range along some axes, or chosen entries along one. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {memoryAxis} from '../layout.ts';
import {integerTensor} from '../onnx/tensors.ts';
import {
  constantInput,
  expectValue,
  integer,
  integers,
  noCost,
  nodeError,
  type Operand,
  type OperatorOf,
} from './operator.ts';
import {axisIn, showSizes, sizesOf, tensorSizes, valueOf, type Sizes} from './sizes.ts';

interface Range {
  readonly axis: number;
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

/** What is taken along each axis that is sliced, as ONNX clamps it. */
function rangesOf(node: Node, sizes: Sizes): readonly Range[] {
  const starts = integers(node, 'starts', undefined, -Infinity);
  const ends = integers(node, 'ends', undefined, -Infinity, starts.length);
  const axes = integers(
    node,
    'axes',
    starts.map((_, axis) => axis),
    -sizes.length,
    starts.length,
  );
  const steps = integers(
    node,
    'steps',
    starts.map(() => 1),
    -Infinity,
    starts.length,
  );
  return axes.map((given, index) => {
    const axis = axisIn(node, given, sizes.length, 'axes');
    const size = item(sizes, axis);
    const step = item(steps, index);
    if (step === 0) throw nodeError(node, 'attribute "steps" has a 0; it takes whole numbers but 0.');
    const counted = (position: number): number => (position < 0 ? position + size : position);
    const [least, most] = step > 0 ? [0, size] : [-1, size - 1];
    const clamped = (position: number): number => Math.min(Math.max(counted(position), least), most);
    const start =
      step > 0 ? clamped(item(starts, index)) : Math.min(Math.max(counted(item(starts, index)), 0), size - 1);
    const count = Math.max(0, Math.ceil((clamped(item(ends, index)) - start) / step));
    if (size < 0 && !(step === 1 && starts[index] === 0 && item(ends, index) > 2 ** 30)) {
      throw nodeError(node, `it takes a part of the batch, axis ${axis} of ${showSizes(sizes)}.`);
    }
    return {axis, start, step, count};
  });
}

export const slice: OperatorOf<1> = {
  op: 'Slice',
  inputs: [1, 1],
  attributes: ['starts', 'ends', 'axes', 'steps'],
  anyBatch: true,

  infer(node, [x]) {
    expectValue(node, x);
    const sizes = [...sizesOf(x)];
    for (const {axis, count} of rangesOf(node, sizes)) if (item(sizes, axis) > 0) sizes[axis] = count;
    if (sizes.includes(0)) throw nodeError(node, `nothing of "${x.name}" ${showSizes(sizesOf(x))} is left.`);
    return {...valueOf(node, sizes), signed: x.signed};
  },

  cost: noCost,

  run(tf, node, [x], {inputs: [operand], layout}) {
    const begin = x.shape.map(() => 0);
    const size: number[] = [...x.shape];
    const ranges = rangesOf(node, sizesOf(operand)).filter(({axis}) => item(sizesOf(operand), axis) > 0);
    for (const {axis, start, step, count} of ranges) {
      const inMemory = memoryAxis(axis, x.rank, layout);
      begin[inMemory] = step > 0 ? start : start + (count - 1) * step;
      size[inMemory] = (count - 1) * Math.abs(step) + 1;
    }
    let y: tfjs.Tensor = tf.slice(x, begin, size);
    for (const {axis, step, count} of ranges) {
      if (step === 1) continue;
      const indices = Array.from({length: count}, (_, i) => (step > 0 ? i : count - 1 - i) * Math.abs(step));
      y = tf.gather(y, tf.tensor1d(indices, 'int32'), memoryAxis(axis, x.rank, layout));
    }
    return y;
  },

  toOnnx(node) {
    const lists = ['starts', 'ends', 'axes', 'steps'].map((name) => {
      const count = (node.attributes['starts'] as readonly number[]).length;
      const usual = Array.from({length: count}, (_, axis) => (name === 'axes' ? axis : 1));
      const values = (node.attributes[name] as readonly number[] | undefined) ?? usual;
      return integerTensor(`${node.name}.${name}`, 'int64', [values.length], values);
    });
    return {op: 'Slice', attributes: {}, constants: lists};
  },

  fromOnnx(node, constant) {
    const given = ['starts', 'ends', 'axes', 'steps'].flatMap((name, index) => {
      const values = constantInput(node, index + 1, constant);
      return values === undefined ? [] : [[name, values] as const];
    });
    return {...node, inputs: node.inputs.slice(0, 1), attributes: {...node.attributes, ...Object.fromEntries(given)}};
  },
};

function axisOf(node: Node, sizes: Sizes): number {
  const axis = axisIn(node, integer(node, 'axis', 0, -sizes.length), sizes.length);
  if (item(sizes, axis) < 0) throw nodeError(node, `attribute "axis" is ${axis}, the axis of the batch.`);
  return axis;
}

/** Indices of the chosen entries, from the start. */
function indicesOf(node: Node, size: number): readonly number[] {
  return integers(node, 'indices', undefined, -size).map((index) => {
    if (index >= size) throw nodeError(node, `index ${index} is beyond the ${size} entries.`);
    return index < 0 ? index + size : index;
  });
}

/** The shape of the indices: ONNX puts it in the place of the axis. */
const shapeOf = (node: Node): readonly number[] => integers(node, 'indices_shape', undefined, 1);

const gathered = (node: Node, x: Operand): Sizes => {
  const sizes = sizesOf(x);
  return sizes.toSpliced(axisOf(node, sizes), 1, ...shapeOf(node));
};

export const gather: OperatorOf<1> = {
  op: 'Gather',
  inputs: [1, 1],
  attributes: ['axis', 'indices', 'indices_shape'],
  anyBatch: true,

  infer(node, [x]) {
    expectValue(node, x);
    const sizes = sizesOf(x);
    indicesOf(node, item(sizes, axisOf(node, sizes)));
    return {...valueOf(node, gathered(node, x)), signed: x.signed};
  },

  cost: noCost,
  layout: (node, _inputs, [layout]) =>
    shapeOf(node).length === 1 ? {inputs: layout, output: layout} : {inputs: 'plain', output: 'plain'},

  run(tf, node, [x], {images, inputs: [operand], layout}) {
    const sizes = sizesOf(operand);
    const axis = axisOf(node, sizes);
    const inMemory = memoryAxis(axis, x.rank, layout);
    const indices = indicesOf(node, item(sizes, axis));
    if (indices.length === 1) {
      const begin = x.shape.map((_, i) => (i === inMemory ? item(indices, 0) : 0));
      const part = tf.slice(
        x,
        begin,
        x.shape.map((size, i) => (i === inMemory ? 1 : size)),
      );
      if (shapeOf(node).length === 1) return part;
      return tf.reshape(part, tensorSizes(gathered(node, operand), images));
    }
    const entries = tf.gather(x, tf.tensor1d([...indices], 'int32'), inMemory);
    return shapeOf(node).length === 1 ? entries : tf.reshape(entries, tensorSizes(gathered(node, operand), images));
  },

  toOnnx(node) {
    const shape = shapeOf(node);
    const {axis = 0} = node.attributes;
    return {
      op: 'Gather',
      attributes: {axis},
      constants: [
        integerTensor(`${node.name}.indices`, 'int64', [...shape], integers(node, 'indices', undefined, -Infinity)),
      ],
    };
  },

  fromOnnx(node, constant) {
    const indices = constantInput(node, 1, constant);
    const shape = constant(node.inputs[1] ?? '')?.shape;
    if (indices === undefined || shape === undefined) return node;
    return {...node, inputs: node.inputs.slice(0, 1), attributes: {...node.attributes, indices, indices_shape: shape}};
  },
};
