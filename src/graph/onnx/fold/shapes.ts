/** Shapes: reading, making and changing them. */
import {item} from '../../../lookup.ts';
import {elements} from '../../ops/operator.ts';
import type {Sizes} from '../../ops/sizes.ts';
import {
  NotConstant,
  broadcast,
  broadcastStrides,
  hostArray,
  moved,
  numbers,
  reshaped,
  walk,
  withBatch,
  zeros,
  type HostArray,
} from '../host-array.ts';
import {listOf, need, positive, withoutImages, type Attributes, type Evaluator, type Inputs} from './evaluator.ts';

function unsqueeze(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = withoutImages(need(inputs, 0));
  const axes = listOf(inputs, attributes, {name: 'axes', index: 1}) ?? [];
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
  const axes = listOf(inputs, attributes, {name: 'axes', index: 1})?.map((axis) => positive(axis, x.shape.length));
  return [
    reshaped(
      x,
      x.shape.filter((size, axis) => (axes === undefined ? size !== 1 : !axes.includes(axis))),
    ),
  ];
}

function reshape(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = need(inputs, 0);
  if (x.perImage === true) return [reshapedPerImage(x, need(inputs, 1))];
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

/** The first axis stays that of the batch: 0 keeps the entries of each image, k · N are k, −1 what remains. */
function reshapedPerImage({perImage: _, ...x}: HostArray, shape: HostArray): HostArray {
  const [first = 0, ...others] = shape.data;
  if (shape.batch?.subarray(1).some((slope) => slope !== 0) === true || others.some((size) => size < 1)) {
    throw new NotConstant('its batch is not the first axis');
  }
  const entries = shape.batch?.[0] ?? (first === -1 ? x.data.length / elements(others) : (x.shape[0] ?? 1));
  if (first > 0) throw new NotConstant('it has a value for every image of the batch');
  return {...reshaped(x, [entries, ...others]), perImage: true};
}

function flatten(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = withoutImages(need(inputs, 0));
  const axis = attributes.int('axis', 1);
  const split = axis < 0 ? axis + x.shape.length : axis;
  return [reshaped(x, [elements(x.shape.slice(0, split)), elements(x.shape.slice(split))])];
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
  shape.map((size, axis) => (axis === 0 && perImage === true ? -size : size));

export const shapes: readonly (readonly [string, Evaluator])[] = [
  ['Identity', (inputs) => [need(inputs, 0)]],
  ['Shape', (inputs, attributes) => [shapeArray(ofShape(need(inputs, 0)), attributes)]],
  ['Size', (inputs) => [hostArray('int64', [], [withoutImages(need(inputs, 0)).data.length])]],
  ['ConstantOfShape', constantOfShape],
  ['Unsqueeze', unsqueeze],
  ['Squeeze', squeeze],
  ['Reshape', reshape],
  ['Flatten', flatten],
  ['Expand', expand],
  ['Range', range],
];
