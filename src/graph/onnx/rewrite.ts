/** Nodes as files have them, in the form that the operators of sdq take. */
import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {isCondition} from '../ops/conditions.ts';
import {elements, integer, nodeError, type Operand} from '../ops/operator.ts';
import {lowestFloat} from '../ops/pad.ts';
import {axisIn, showSizes, sizesOf} from '../ops/sizes.ts';
import {typeName} from './constants.ts';
import {einsum} from './einsum.ts';
import {hostArray, type HostArray} from './host-array.ts';
import type {Constant} from './lower.ts';

export interface RewriteContext {
  /** The number of images that the shapes in the file are for. */
  readonly batch: number;
  /** What is known of an input. @throws SdqError where there is none of the name */
  readonly operand: (name: string) => Operand;
  readonly constant: (name: string) => Constant | undefined;
  /** The operators of the nodes that read a value. */
  readonly readers: (name: string) => readonly string[];
  /** The node that computes a value; undefined for the input and for constants. */
  readonly producer: (name: string) => Node | undefined;
  /** A new constant. */
  readonly define: (name: string, constant: Constant) => void;
}

type Rewrite = (node: Node, context: RewriteContext) => readonly Node[];

/** Copies of an axis that a Tile makes: each is an input of a node. */
const mostCopies = 1024;

const trainingMode = 'it was exported in training mode; call model.eval() before the export';

/** @returns one node or several, the last with the outputs of the node */
export function rewritten(node: Node, context: RewriteContext): readonly Node[] {
  return rewrites.get(node.op)?.(node, context) ?? [node];
}

/** The mean over height and width, as PyTorch's `x.mean([2, 3])` writes it, is one of the pools that have a kernel. */
function reduceMean(node: Node, {constant, operand}: RewriteContext): readonly Node[] {
  const {attributes, inputs, name, outputs} = node;
  const sizes = sizesOf(operand(item(inputs, 0)));
  const named = attributes['axes'] ?? [...(constant(inputs[1] ?? '')?.array.data ?? [])];
  const axes = Array.isArray(named) ? named.map((axis: number) => (axis < 0 ? axis + sizes.length : axis)) : [];
  if (axes.length === 0 && attributes['noop_with_empty_axes'] === 1) {
    return [{...node, op: 'Identity', inputs: inputs.slice(0, 1), attributes: {}}];
  }
  if (sizes.length !== 4 || sizes[0] !== -1 || axes.toSorted((a, b) => a - b).join() !== '2,3') return [node];
  const pool: Node = {name, op: 'GlobalAveragePool', inputs: inputs.slice(0, 1), outputs, attributes: {}};
  if (attributes['keepdims'] !== 0) return [pool];
  const pooled = `${item(outputs, 0)}.pooled`;
  return [
    {...pool, name: '', outputs: [pooled]},
    {name, op: 'Flatten', inputs: [pooled], outputs, attributes: {axis: 1}},
  ];
}

/**
 * The shape of a Reshape with −1 for the batch and numbers for all others. Where the file has numbers for the batch too, it is the
 * axis before which there are as many elements as before the input's batch. Where the batch is merged with another axis for a fully
 * connected layer alone, as PyTorch's attention does, it stays an axis of its own: the layer works on the last axis of any value.
 */
function reshape(node: Node, {batch, constant, operand, readers}: RewriteContext): readonly Node[] {
  const [x = '', shape = ''] = node.inputs;
  const array = constant(shape)?.array;
  if (array === undefined) return [node];
  const {allowzero, ...attributes} = node.attributes;
  const from = sizesOf(operand(x));
  const whole = from.map((size) => (size < 0 ? -size * batch : size));
  const slopes = array.batch ?? new Float64Array(array.data.length);
  const sizes = Array.from(array.data, (size, axis) => {
    const wanted = size + item(slopes, axis) * batch;
    return wanted === 0 && allowzero === undefined ? (whole[axis] ?? 0) : wanted;
  });
  const known = elements(sizes.filter((size) => size !== -1));
  const to = sizes.map((size) => (size === -1 ? elements(whole) / known : size));
  const before = (axis: number, own: readonly number[]): number => elements(own.slice(0, axis));
  const images = before(
    from.findIndex((size) => size < 0),
    whole,
  );
  const isWhole = elements(to) === elements(whole) && to.every((size) => Number.isInteger(size) && size >= 1);
  const isForLayers = readers(item(node.outputs, 0)).every((op) => op === 'Gemm');
  const merged = isWhole && isForLayers && to.length === 2 ? item(to, 0) / batch : 0;
  if (merged > 1 && merged === images) {
    return [{...node, inputs: [x], attributes: {...attributes, shape: [merged, -1, item(to, 1)]}}];
  }
  const axis = to.findIndex((size, i) => size % batch === 0 && before(i, to) === images);
  if (!isWhole || axis < 0) {
    throw nodeError(node, `${showSizes(from)} cannot become [${array.data.join(', ')}] for every size of the batch.`);
  }
  return [{...node, inputs: [x], attributes: {...attributes, shape: to.with(axis, -1)}}];
}

/**
 * A Gather along the one axis of a value that was made flat, with the images of the batch behind each other: PyTorch's `as_strided`. Each
 * image is gathered for itself; all its entries in their order are the same value under another shape.
 */
function gather(node: Node, {batch, constant, define, operand}: RewriteContext): readonly Node[] {
  const [x = '', indices = ''] = node.inputs;
  const array = constant(indices)?.array;
  const sizes = constant(x) === undefined ? sizesOf(operand(x)) : [];
  const [size = 0] = sizes;
  if (array === undefined || sizes.length !== 1 || size >= 0 || array.shape[0] !== batch) return [node];
  const shape = array.shape.slice(1);
  const count = elements(shape);
  const first = [...array.data.subarray(0, count)];
  const isEachImage = array.data.every((index, i) => index === item(first, i % count) + Math.floor(i / count) * -size);
  if (!isEachImage || first.some((index) => index < 0 || index >= -size)) return [node];
  const {name, outputs} = node;
  const reshaped = (input: string, output: readonly string[], to: readonly number[]): Node => ({
    ...{name, op: 'Reshape', inputs: [input], outputs: output},
    attributes: {shape: [-1, ...to]},
  });
  if (count === -size && first.every((index, i) => index === i)) return [reshaped(x, outputs, shape)];
  const [rows, chosen] = [`${item(outputs, 0)}.rows`, `${item(outputs, 0)}.indices`];
  define(chosen, {array: hostArray(array.type, shape, first), origin: undefined, trained: false});
  return [
    {...reshaped(x, [rows], [-size]), name: ''},
    {name, op: 'Gather', inputs: [rows, chosen], outputs, attributes: {axis: 1}},
  ];
}

/** The number of images that an Expand's shape has in the place of the batch becomes 1, which stands for any. */
function expand(node: Node, {batch, constant, define, operand}: RewriteContext): readonly Node[] {
  const [x = '', shape = ''] = node.inputs;
  const array = constant(shape)?.array;
  if (array === undefined || array.batch !== undefined || constant(x) !== undefined) return [node];
  const sizes = sizesOf(operand(x));
  const axis = sizes.findIndex((size) => size < 0);
  const place = array.data.length - sizes.length + axis;
  if (place < 0 || array.data[place] !== -item(sizes, axis) * batch) return [node];
  const name = `${item(node.outputs, 0)}.shape`;
  define(name, {array: {...array, data: array.data.with(place, 1)}, origin: undefined, trained: false});
  return [{...node, inputs: [x, name]}];
}

/** A Tile of axes of size 1 is an Expand; the copies of other axes stand side by side. */
function tile(node: Node, context: RewriteContext): readonly Node[] {
  const [x = '', repeats = ''] = node.inputs;
  const [output = ''] = node.outputs;
  const array = context.constant(repeats)?.array;
  const sizes = sizesOf(context.operand(x));
  const copied = sizes.flatMap((_, axis) => (array?.data[axis] === 1 ? [] : [axis]));
  const counts = copied.map((axis) => array?.data[axis] ?? 0);
  if (array?.data.length !== sizes.length || copied.some((axis) => item(sizes, axis) < 0)) {
    throw nodeError(node, `it repeats ${showSizes(sizes)} by "${repeats}"; it takes constants, with 1 for the batch.`);
  }
  if (copied.every((axis) => sizes[axis] === 1)) return expand({...node, op: 'Expand'}, context);
  const wrong = counts.find((count) => !(count >= 1 && count <= mostCopies));
  if (wrong !== undefined) throw nodeError(node, `it repeats an axis ${wrong} times; it takes 1 to ${mostCopies}.`);
  return copied.map((axis, k): Node => {
    const isLast = k === copied.length - 1;
    return {
      name: isLast ? node.name : '',
      op: 'Concat',
      inputs: new Array<string>(item(counts, k)).fill(k === 0 ? x : `${output}.copied${k - 1}`),
      outputs: [isLast ? output : `${output}.copied${k}`],
      attributes: {axis},
    };
  });
}

/** An exponent of whole numbers, as the exporters write `x ** 3`, becomes one of float32. */
function pow(node: Node, {constant, define}: RewriteContext): readonly Node[] {
  const [x = '', exponent = ''] = node.inputs;
  const {array, ...origin} = constant(exponent) ?? {};
  if (array === undefined || array.type === 'float32' || array.batch !== undefined) return [node];
  const name = `${item(node.outputs, 0)}.exponent`;
  define(name, {trained: false, origin: undefined, ...origin, array: hostArray('float32', array.shape, array.data)});
  return [{...node, inputs: [x, name]}];
}

/** A parameter with 1 in the place of the batch, as a network saved for one image has it, becomes a value of every image. */
function concat(node: Node, {operand}: RewriteContext): readonly Node[] {
  const operands = node.inputs.map(operand);
  const value = operands.find(({parameter}) => !parameter);
  if (value === undefined) return [node];
  const sizes = sizesOf(value);
  const batchAxis = sizes.findIndex((size) => size < 0);
  const expanded: Node[] = [];
  const inputs = operands.map(({name, parameter, shape}, index) => {
    if (!parameter || shape.length !== sizes.length || shape[batchAxis] !== 1) return name;
    const output = `${item(node.outputs, 0)}.part${index + 1}`;
    const attributes = {shape: shape.with(batchAxis, item(sizes, batchAxis))};
    expanded.push({name: '', op: 'Expand', inputs: [name], outputs: [output], attributes});
    return output;
  });
  return [...expanded, {...node, inputs}];
}

/** Each part of a Split as a slice of its own. */
function split(node: Node, {constant, operand}: RewriteContext): readonly Node[] {
  const {attributes, inputs, name, outputs} = node;
  const sizes = sizesOf(operand(item(inputs, 0)));
  const axis = axisIn(node, integer(node, 'axis', 0, -sizes.length), sizes.length);
  const lengths = attributes['split'] ?? (inputs[1] === undefined ? undefined : constant(inputs[1])?.array.data);
  const even = Math.ceil(item(sizes, axis) / outputs.length);
  let start = 0;
  return outputs.flatMap((output, index) => {
    const length = typeof lengths === 'object' ? lengths[index] : Math.min(even, item(sizes, axis) - start);
    if (length === undefined || !(length > 0)) throw nodeError(node, `part ${index + 1} has no size.`);
    const bounds = {starts: [start], ends: [start + length], axes: [axis], steps: [1]};
    start += length;
    return output === ''
      ? []
      : [{name, op: 'Slice', inputs: inputs.slice(0, 1), outputs: [output], attributes: bounds}];
  });
}

/** A sum of several as additions, from the left. */
function sum(node: Node): readonly Node[] {
  const {inputs, name, outputs} = node;
  const [first = '', ...others] = inputs;
  if (others.length === 0) return [{...node, op: 'Identity'}];
  let left = first;
  return others.map((right, index) => {
    const last = index === others.length - 1;
    const output = last ? outputs : [`${item(outputs, 0)}.sum${index + 1}`];
    const add: Node = {name: last ? name : '', op: 'Add', inputs: [left, right], outputs: output, attributes: {}};
    left = item(output, 0);
    return add;
  });
}

/** A Gemm on a value of more axes than [N, features]: a product on the last axis, and an addition. */
function layerOnLastAxis(node: Node, {constant, define}: RewriteContext): readonly Node[] {
  const [x = '', w = '', bias] = node.inputs;
  const weights = constant(w);
  if (weights === undefined || node.attributes['transA'] === 1) return [node];
  const [rows, columns] = weights.array.shape as readonly [number, number];
  let right = w;
  if (node.attributes['transB'] === 1) {
    right = `${w}.of.${item(node.outputs, 0)}`;
    const {data, type} = weights.array;
    const turned = Float64Array.from({length: data.length}, (_, i) =>
      item(data, (i % rows) * columns + Math.floor(i / rows)),
    );
    define(right, {...weights, array: hostArray(type, [columns, rows], turned)});
  }
  const {name, outputs} = node;
  if (bias === undefined) return [{name, op: 'MatMul', inputs: [x, right], outputs, attributes: {}}];
  const product = `${item(outputs, 0)}.product`;
  return [
    {name, op: 'MatMul', inputs: [x, right], outputs: [product], attributes: {}},
    {name: '', op: 'Add', inputs: [product, bias], outputs, attributes: {}},
  ];
}

/** `alpha` and `beta` become part of weights and bias, and a bias that is broadcast gets a value for every feature. */
function gemm(node: Node, context: RewriteContext): readonly Node[] {
  const layer = scaledGemm(node, context);
  const [x = ''] = node.inputs;
  const sizes = context.constant(x) === undefined ? sizesOf(context.operand(x)) : [];
  return sizes.length > 2 ? layer.flatMap((each) => layerOnLastAxis(each, context)) : layer;
}

function scaledGemm(node: Node, {constant, define}: RewriteContext): readonly Node[] {
  const {alpha = 1, beta = 1, ...attributes} = node.attributes;
  if (typeof alpha !== 'number' || typeof beta !== 'number') return [node];
  const [x = '', w = '', b = ''] = node.inputs;
  const [weights, bias] = [constant(w), constant(b)];
  if (weights === undefined) return [node];
  const scaled = (name: string, own: Constant, factor: number, shape: readonly number[]): string => {
    const {data, type} = own.array;
    if (factor === 1 && shape.join() === own.array.shape.join()) return name;
    const size = shape.reduce((product, each) => product * each, 1);
    const values = Float64Array.from({length: size}, (_, i) => factor * item(data, i % data.length));
    const scaledName = `${name}.of.${item(node.outputs, 0)}`;
    define(scaledName, {...own, array: hostArray(type, shape, values)});
    return scaledName;
  };
  const inputs = [x, scaled(w, weights, alpha, weights.array.shape)];
  const features = weights.array.shape[attributes['transB'] === 1 ? 0 : 1] ?? 0;
  if (bias === undefined) return [{...node, inputs: b === '' ? inputs : [...inputs, b], attributes}];
  const broadcasts = bias.array.shape.every(
    (size, axis, {length}) => size === 1 || (axis === length - 1 && size === features),
  );
  const shape = broadcasts ? [features] : bias.array.shape;
  return [{...node, inputs: [...inputs, scaled(b, bias, beta, shape)], attributes}];
}

/** `auto_pad` as the pads that it means for an input of this size. */
function explicitPads(node: Node, {constant, operand}: RewriteContext): readonly Node[] {
  const {auto_pad: rule, ...attributes} = node.attributes;
  if (rule === undefined) return [node];
  const [, ...sizes] = operand(item(node.inputs, 0)).shape;
  const kernel = attributes['kernel_shape'] ?? constant(node.inputs[1] ?? '')?.array.shape.slice(2);
  if (rule === 'VALID') return [{...node, attributes}];
  if ((rule !== 'SAME_UPPER' && rule !== 'SAME_LOWER') || !Array.isArray(kernel)) return [node];
  const list = (name: string): readonly number[] => {
    const value = attributes[name];
    return Array.isArray(value) ? (value as readonly number[]) : sizes.map(() => 1);
  };
  const [strides, dilations] = [list('strides'), list('dilations')];
  const totals = sizes.map((size, axis) => {
    const extent = item(dilations, axis) * (item(kernel as readonly number[], axis) - 1) + 1;
    return Math.max(0, (Math.ceil(size / item(strides, axis)) - 1) * item(strides, axis) + extent - size);
  });
  const less = totals.map((total) => Math.floor(total / 2));
  const more = totals.map((total) => Math.ceil(total / 2));
  const pads = rule === 'SAME_UPPER' ? [...less, ...more] : [...more, ...less];
  return [{...node, attributes: {...attributes, pads}}];
}

function conv(node: Node, context: RewriteContext): readonly Node[] {
  const {constant, operand} = context;
  const [, weights] = node.inputs;
  if (weights !== undefined && constant(weights) === undefined && !operand(weights).parameter) {
    throw nodeError(
      node,
      `its weights "${weights}" are computed from the image; sdq takes layers with weights of the file.`,
    );
  }
  return explicitPads(node, context);
}

/** A border that never wins a maximum, as `F.pad(x, …, value=-inf)` writes it, becomes padding of the pool. */
function maxPool(node: Node, context: RewriteContext): readonly Node[] {
  const pool = item(explicitPads(node, context), 0);
  const border = context.producer(item(pool.inputs, 0));
  const {mode = 'constant', pads: around, value} = border?.attributes ?? {};
  const {ceil_mode: isRoundedUp = 0, kernel_shape: kernel, pads} = pool.attributes;
  if (border?.op !== 'Pad' || mode !== 'constant' || value !== lowestFloat || isRoundedUp !== 0) return [pool];
  if (!Array.isArray(around) || !Array.isArray(kernel)) return [pool];
  const rank = kernel.length;
  const sides = (all: readonly number[]): readonly number[] => [
    ...all.slice(2, rank + 2),
    ...all.slice(rank + 4, 2 * rank + 4),
  ];
  const isSpatial = around.length === 2 * rank + 4 && around[1] === 0 && around[rank + 3] === 0;
  if (!isSpatial) return [pool];
  const inside: readonly number[] = Array.isArray(pads) ? pads : Array.from({length: 2 * rank}, () => 0);
  const merged = sides(around).map((size, side) => size + item(inside, side));
  if (merged.some((size, side) => size < 0 || size >= item(kernel, side % rank))) return [pool];
  return [{...pool, inputs: border.inputs.slice(0, 1), attributes: {...pool.attributes, pads: merged}}];
}

/** They give every element of their first input on as it is. */
const movements: ReadonlySet<string> = new Set([
  ...['Expand', 'Flatten', 'Gather', 'Identity', 'Reshape', 'Slice', 'Squeeze', 'Transpose', 'Unsqueeze'],
]);

/** Whether a value is one of conditions: bool in the file, 0 or 1 here. */
function holdsConditions(value: string, producer: RewriteContext['producer']): boolean {
  const node = producer(value);
  if (node === undefined) return false;
  return isCondition(node.op) || (movements.has(node.op) && holdsConditions(item(node.inputs, 0), producer));
}

/** Values are float32 here. What becomes bool is a condition: whether it is not 0. */
function cast(node: Node, {define, producer}: RewriteContext): readonly Node[] {
  const {inputs, name, outputs} = node;
  const [x = ''] = inputs;
  const type = typeName(Number(node.attributes['to']));
  const isTruth = holdsConditions(x, producer);
  if (isTruth && type === 'bool') return [{...node, op: 'Identity', attributes: {}}];
  if (isTruth || /^(float|double|bfloat)/.test(type)) return [{...node, attributes: {to: 1}}];
  if (type !== 'bool') {
    throw nodeError(
      node,
      `it makes ${type} of computed values; sdq computes in float32: export the network without it.`,
    );
  }
  const [zero, equal] = [`${item(outputs, 0)}.zero`, `${item(outputs, 0)}.equal`];
  define(zero, {array: hostArray('float32', [], [0]), origin: undefined, trained: false});
  return [
    {name: '', op: 'Equal', inputs: [x, zero], outputs: [equal], attributes: {}},
    {name, op: 'Not', inputs: [equal], outputs, attributes: {}},
  ];
}

/**
 * A value with several entries for each image (the windows of Swin), and a constant with as many: the entries get an axis of their own
 * behind the batch, so that the constant is the same for each image.
 */
function entriesOfImages(node: Node, {constant, define, operand}: RewriteContext): readonly Node[] {
  const index = node.inputs.findIndex((name) => constant(name) !== undefined);
  const found = constant(node.inputs[index] ?? '');
  if (found === undefined || node.inputs.every((name) => constant(name) !== undefined)) return [node];
  const value = item(node.inputs, 1 - index);
  const [batch = 0, ...sizes] = sizesOf(operand(value));
  const [entries = 1] = found.array.shape;
  // A network that was saved for one image has its entries without a word of the batch.
  const isSaved = found.array.shape.length === sizes.length + 1 && batch === -entries;
  if (entries === 1 || (found.array.perImage !== true && !isSaved)) return [node];
  const {type, shape, data} = found.array;
  if (!isSaved) {
    throw nodeError(
      node,
      `the constant "${item(node.inputs, index)}" has ${entries} entries for each image; "${value}" is ${showSizes([batch, ...sizes])}.`,
    );
  }
  const [output = ''] = node.outputs;
  const fix = (name: string, array: HostArray): string => {
    define(`${output}.${name}`, {array, origin: undefined, trained: found.trained});
    return `${output}.${name}`;
  };
  const ofShape = (name: string, to: readonly number[]): string => fix(name, hostArray('int64', [to.length], to));
  const [split, combined] = [`${output}.split`, `${output}.combined`];
  const inputs = [split, split].with(index, fix('entries', {type, shape: [1, ...shape], data}));
  return [
    {
      name: '',
      op: 'Reshape',
      inputs: [value, ofShape('to', [-1, entries, ...sizes])],
      outputs: [split],
      attributes: {},
    },
    {...node, name: '', inputs, outputs: [combined]},
    {
      name: node.name,
      op: 'Reshape',
      inputs: [combined, ofShape('back', [-1, ...sizes])],
      outputs: [output],
      attributes: {},
    },
  ];
}

function batchNormalization(node: Node): readonly Node[] {
  if (node.attributes['training_mode'] !== undefined) throw nodeError(node, `${trainingMode}.`);
  return [node];
}

function dropout(node: Node, {constant}: RewriteContext): readonly Node[] {
  const mode: HostArray | undefined = constant(node.inputs[2] ?? '')?.array;
  if (mode !== undefined && mode.data[0] !== 0) throw nodeError(node, `${trainingMode}.`);
  return [node];
}

const rewrites: ReadonlyMap<string, Rewrite> = new Map<string, Rewrite>([
  ['ReduceMean', reduceMean],
  ['Reshape', reshape],
  ['Split', split],
  ['Sum', sum],
  ['Gemm', gemm],
  ['Gather', gather],
  ['Expand', expand],
  ['Tile', tile],
  ['Pow', pow],
  ['Einsum', einsum],
  ['Concat', concat],
  ['BatchNormalization', batchNormalization],
  ['Cast', cast],
  ['Dropout', dropout],
  ['MaxPool', maxPool],
  ['Conv', conv],
  ['AveragePool', explicitPads],
  ...['Add', 'Sub', 'Mul', 'Div'].map((op) => [op, entriesOfImages] as const),
]);
