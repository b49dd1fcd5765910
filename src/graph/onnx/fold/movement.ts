/** Operators that select, join and reorder elements. */
import {item} from '../../../lookup.ts';
import type {Shape} from '../../graph.ts';
import {elements} from '../../ops/operator.ts';
import {
  NotConstant,
  fixed,
  hostArray,
  moved,
  numbers,
  reshaped,
  stridesOf,
  walk,
  withBatch,
  zeros,
  type HostArray,
} from '../host-array.ts';
import {listOf, need, positive, withoutImages, type Attributes, type Evaluator, type Inputs} from './evaluator.ts';

function gather([data, indices]: Inputs, attributes: Attributes): readonly HostArray[] {
  const [x, chosen] = [need([data], 0), fixed(need([indices], 0))];
  const axis = positive(attributes.int('axis', 0), x.shape.length);
  const size = item(x.shape, axis);
  const inner = elements(x.shape.slice(axis + 1));
  const picked = [...chosen.data].map((index) => positive(index, size));
  const shape = [...x.shape.slice(0, axis), ...chosen.shape, ...x.shape.slice(axis + 1)];
  return [
    moved(withoutImages(x), shape, (i) => {
      const outer = Math.floor(i / (picked.length * inner));
      return (outer * size + item(picked, Math.floor(i / inner) % picked.length)) * inner + (i % inner);
    }),
  ];
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
    listOf(inputs, attributes, {name, index});
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
      const index = bound < 0 ? bound + size : bound;
      return step > 0 ? Math.min(Math.max(index, 0), size) : Math.min(Math.max(index, -1), size - 1);
    };
    const from = clamp(item(starts, k));
    shape[axis] = Math.max(0, Math.ceil((clamp(item(ends, k)) - from) / step));
    start += from * item(strides, axis);
    strides[axis] = item(strides, axis) * step;
  });
  return [moved(x, shape, walk(shape, strides, start))];
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

function split(inputs: Inputs, attributes: Attributes, outputs: number): readonly HostArray[] {
  const x = withoutImages(need(inputs, 0));
  const axis = positive(attributes.int('axis', 0), x.shape.length);
  const size = item(x.shape, axis);
  const even = Math.ceil(size / outputs);
  const lengths =
    listOf(inputs, attributes, {name: 'split', index: 1}) ??
    Array.from({length: outputs}, (_, k) => Math.min(even, size - k * even));
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

/** Where each row of `indices` [..., depth] points in an array of this shape: the first element of a block. */
function starts(indices: HostArray, shape: Shape): readonly number[] {
  const depth = indices.shape.at(-1) ?? 0;
  if (depth > shape.length) throw new NotConstant('its indices have more axes than its input');
  const strides = stridesOf(shape);
  return Array.from({length: depth === 0 ? 0 : indices.data.length / depth}, (_, k) => {
    let start = 0;
    for (let axis = 0; axis < depth; axis++) {
      start += positive(item(indices.data, k * depth + axis), item(shape, axis)) * item(strides, axis);
    }
    return start;
  });
}

function gatherNd(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const [x, indices] = [withoutImages(need(inputs, 0)), fixed(need(inputs, 1))];
  if (attributes.int('batch_dims', 0) !== 0) throw new NotConstant('its "batch_dims" is not 0');
  const blocks = starts(indices, x.shape);
  const inside = x.shape.slice(indices.shape.at(-1));
  const inner = elements(inside);
  return [
    moved(x, [...indices.shape.slice(0, -1), ...inside], (i) => item(blocks, Math.floor(i / inner)) + (i % inner)),
  ];
}

function scatterNd(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const [x, indices, updates] = [0, 1, 2].map((index) => fixed(need(inputs, index))) as [
    HostArray,
    HostArray,
    HostArray,
  ];
  const reduction = attributes.string('reduction', 'none');
  if (reduction !== 'none') throw new NotConstant(`its "reduction" is ${reduction}`);
  const inner = elements(x.shape.slice(indices.shape.at(-1)));
  const blocks = starts(indices, x.shape);
  if (updates.data.length !== blocks.length * inner) throw new NotConstant('its updates do not fit its indices');
  const out = hostArray(x.type, x.shape, x.data);
  blocks.forEach((start, k) => out.data.set(updates.data.subarray(k * inner, (k + 1) * inner), start));
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

export const movement: readonly (readonly [string, Evaluator])[] = [
  ['Gather', gather],
  ['Concat', concat],
  ['Slice', slice],
  ['Transpose', transpose],
  ['Tile', tile],
  ['Split', split],
  ['GatherND', gatherNd],
  ['ScatterND', scatterNd],
  ['Trilu', trilu],
];
