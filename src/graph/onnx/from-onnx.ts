/** A float network of an ONNX file, of any exporter, as a graph with its weights. */
import path from 'node:path';

import {ExitCode, SdqError} from '../../errors.ts';
import {readFileBounded} from '../../files.ts';
import type {Array32, Attribute, Graph, Initializer, Node, Parameter, Shape, Weights} from '../graph.ts';
import {operators} from '../ops/index.ts';
import {elements} from '../ops/operator.ts';
import {leadingTo} from '../reachable.ts';
import {inferShapes} from '../shape.ts';
import {
  attributeTypes,
  decodeOnnx,
  type AttributeMessage,
  type Long,
  type ModelMessage,
  type NodeMessage,
  type TensorMessage,
} from './proto.ts';

const toNumber = (value: Long): number => (typeof value === 'number' ? value : value.toNumber());

const refusal = 'onnx-import';
/** Bytes of a model's other files and of the constants in them. */
const externalLimit = 2 ** 32;

/** A message for the file, `what` without a full stop. */
type Refuse = (what: string) => SdqError;

/** `TensorProto.DataType` → bytes an element and how they are read. */
const readers: Readonly<Record<number, {readonly size: number; read(buffer: ArrayBuffer): ArrayLike<number>}>> = {
  1: {size: 4, read: (buffer) => new Float32Array(buffer)},
  6: {size: 4, read: (buffer) => new Int32Array(buffer)},
  7: {size: 8, read: (buffer) => Array.from(new BigInt64Array(buffer), Number)},
  11: {size: 8, read: (buffer) => new Float64Array(buffer)},
};

/** The bytes of a constant that is kept outside of the model's file. */
type External = (tensor: TensorMessage) => Uint8Array;

/** Reads the files beside a model, each once, and none outside of its folder. */
function externalFiles(model: string, refuse: Refuse): External {
  const files = new Map<string, Uint8Array>();
  let left = externalLimit;
  return ({externalData, name}) => {
    const {location = '', ...range} = Object.fromEntries(externalData.map(({key, value}) => [key, value]));
    if (location === '' || path.isAbsolute(location) || location.split(/[\\/]/).includes('..')) {
      throw refuse(`the constant "${name}" is kept in "${location}", which is no file in the folder of the model`);
    }
    let bytes = files.get(location);
    if (bytes === undefined) {
      bytes = readFileBounded(path.join(path.dirname(model), location), left);
      files.set(location, bytes);
      left -= bytes.length;
    }
    const offset = Number(range['offset'] ?? 0);
    const length = Number(range['length'] ?? bytes.length - offset);
    if (![offset, length].every((n) => Number.isSafeInteger(n) && n >= 0) || offset + length > bytes.length) {
      throw refuse(
        `the constant "${name}" has ${length} bytes from byte ${offset} of ${location}, which has ${bytes.length}`,
      );
    }
    // Constants may share their bytes, but each is a copy.
    left -= length;
    if (left < 0) throw refuse(`its constants have more than ${externalLimit} bytes with their files`);
    return bytes.subarray(offset, offset + length);
  };
}

function constantOf(tensor: TensorMessage, external: External, refuse: Refuse): Array32 {
  const {dataLocation, dataType, dims, doubleData, floatData, int32Data, int64Data, name} = tensor;
  const shape = dims.map(toNumber);
  const reader = readers[dataType];
  if (reader === undefined) {
    throw refuse(`the constant "${name}" has the data type ${dataType}; float, double, int32 and int64 are read`);
  }
  const rawData = dataLocation === 1 ? external(tensor) : tensor.rawData;
  const listed: readonly Long[] = [floatData, doubleData, int32Data, int64Data].find(({length}) => length > 0) ?? [];
  const count = elements(shape);
  const found = rawData.length > 0 ? rawData.length / reader.size : listed.length;
  if (found !== count) throw refuse(`the constant "${name}" of shape [${shape.join(', ')}] holds ${found} values`);
  const values = rawData.length > 0 ? reader.read(new Uint8Array(rawData).buffer) : listed.map(toNumber);
  return {shape, data: Float32Array.from(values)};
}

function attributeOf({f, floats, i, ints, name, s, type}: AttributeMessage, refuse: Refuse): Attribute {
  switch (type) {
    case attributeTypes.float:
      return f;
    case attributeTypes.int:
      return toNumber(i);
    case attributeTypes.string:
      return Buffer.from(s).toString('utf8');
    case attributeTypes.floats:
      return [...floats];
    case attributeTypes.ints:
      return ints.map(toNumber);
    default:
      throw refuse(`its attribute "${name}" is neither a number nor a string nor a list of numbers`);
  }
}

/** Attributes that say, with this value, what sdq does anyway. */
const usual: Readonly<Record<string, Attribute>> = {auto_pad: 'NOTSET', training_mode: 0, spatial: 1, allowzero: 0};

/** `/layer1/layer1.0/conv1/Conv` → `layer1.layer1.0.conv1`. */
function readable(name: string, op: string): string {
  const path = name.split('/').filter((part) => part !== '');
  if (path.length > 1 && path.at(-1)!.startsWith(op)) path.pop();
  return path.join('.');
}

/**
 * Names as a user knows them: layers after their weights (`conv1.weight` → `conv1`), other nodes after their ONNX names; where
 * that is taken or empty, with a number.
 */
function nodeName(
  {inputs, name, op}: Node,
  constants: ReadonlyMap<string, Array32>,
  taken: Map<string, number>,
): string {
  const weight = inputs.find((input) => constants.has(input));
  const own = weight?.endsWith('.weight') === true ? weight.slice(0, -'.weight'.length) : readable(name, op);
  const base = own === '' ? op.toLowerCase() : own;
  // Counted on from the last node of this base: thousands of nodes may have no name.
  let number = taken.get(base) ?? 0;
  let unique = base;
  while (taken.has(unique)) unique = `${base}_${++number}`;
  taken.set(base, Math.max(number, 1));
  if (unique !== base) taken.set(unique, 1);
  return unique;
}

/** How a parameter would be drawn anew, and what the optimizer does with it. */
function roleOf(op: string, index: number, shape: Shape): {role: Parameter['role']; initializer: Initializer} {
  const fixed = (value: number): Initializer => ({kind: 'constant', value});
  if (op === 'BatchNormalization') {
    return {role: index > 2 ? 'statistic' : 'norm', initializer: fixed(index === 1 || index === 4 ? 1 : 0)};
  }
  if (index !== 1 || !['Conv', 'Gemm', 'MatMul'].includes(op)) return {role: 'bias', initializer: fixed(0)};
  const taps = elements(shape.slice(2));
  return {role: 'weight', initializer: {kind: 'kaiming-normal', fan: shape[0]! * taps}};
}

/** The one value at an edge of the graph that is no constant, without the batch axis. */
function edge(
  values: ModelMessage['graph']['input'],
  side: 'input' | 'output',
  constants: ReadonlyMap<string, Array32>,
  refuse: Refuse,
): {readonly name: string; /** 0 where it is not fixed. */ readonly shape: Shape} {
  const own = values.filter(({name}) => !constants.has(name));
  const [value] = own;
  if (value === undefined || own.length > 1) throw refuse(`it has ${own.length} ${side}s; sdq takes networks with 1`);
  const dim = value.type?.tensorType?.shape?.dim ?? [];
  const [, ...shape] = dim.map(({dimValue}) => toNumber(dimValue));
  return {name: value.name, shape};
}

/**
 * @param file where the bytes are from: constants may be in files beside it
 * @throws SdqError (exit 3) naming the node and what of it sdq does not run, or the file of constants that is missing
 */
export function fromOnnx(bytes: Uint8Array, file: string): {readonly graph: Graph; readonly weights: Weights} {
  const refuse: Refuse = (what) =>
    new SdqError(`${file} cannot be imported: ${what}.`, {code: refusal, exit: ExitCode.invalidInput});
  const model = decodeOnnx(bytes);
  if (model === undefined) throw refuse('it is not an ONNX model');
  try {
    const {graph, constants} = graphOf(model, externalFiles(file, refuse), refuse);
    inferShapes(graph);
    return {graph, weights: new Map(graph.parameters.map(({name}) => [name, constants.get(name)!]))};
  } catch (error) {
    if (!(error instanceof SdqError) || error.code === refusal) throw error;
    throw refuse(error.message.replace(/\.$/, ''));
  }
}

function graphOf(
  model: ModelMessage,
  external: External,
  refuse: Refuse,
): {readonly graph: Graph; readonly constants: ReadonlyMap<string, Array32>} {
  const constants = new Map(
    model.graph.initializer.map((tensor) => [tensor.name, constantOf(tensor, external, refuse)]),
  );
  const messages: NodeMessage[] = [];
  for (const message of model.graph.node) {
    const [output = ''] = message.output;
    // PyTorch writes one of several equal parameters, and an Identity for each other one.
    const same = message.opType === 'Identity' ? constants.get(message.input[0] ?? '') : undefined;
    if (message.opType === 'Constant') constants.set(output, constantValue(message, external, refuse));
    else if (same !== undefined) constants.set(output, same);
    else messages.push(message);
  }
  const input = edge(model.graph.input, 'input', constants, refuse);
  const output = edge(model.graph.output, 'output', constants, refuse);
  // What does not lead to the output, e.g. an auxiliary head, would be computed, priced and exported for nothing.
  const wired = messages.map((message) => ({message, inputs: message.input, outputs: message.output}));
  const computed = leadingTo(wired, output.name)
    .map(({message}) => nodeOf(message, refuse))
    .flatMap((node) => (node.op === 'ReduceMean' ? meanOverImage(node, constants) : [node]))
    .map((node) => (node.op === 'Sum' && node.inputs.length === 2 ? {...node, op: 'Add'} : node));
  const read = new Set([output.name, ...computed.flatMap(({inputs}) => inputs)]);
  if (input.shape.length === 0 || input.shape.some((size) => size < 1)) {
    const shown = ['N', ...input.shape.map((size) => (size === 0 ? '?' : size))].join(', ');
    throw refuse(`the input "${input.name}" has the shape [${shown}]; all sizes but the batch's must be fixed`);
  }

  const taken = new Map<string, number>();
  const renamed = new Map<string, string>();
  const parameters = new Map<string, Parameter>();
  const nodes: Node[] = [];
  // Losses and teachers want logits, and the first class is the same.
  const softmax = computed.find(
    ({op, outputs}) => ['Softmax', 'LogSoftmax'].includes(op) && outputs[0] === output.name,
  );
  for (const node of computed) {
    if (node === softmax) continue;
    const own = operators.get(node.op)?.fromOnnx?.(node, (name) => constants.get(name)) ?? node;
    const name = nodeName(node, constants, taken);
    const inputs = own.inputs.map((value) => renamed.get(value) ?? value);
    inputs.forEach((value, index) => {
      const constant = constants.get(value);
      if (constant === undefined || parameters.has(value)) return;
      parameters.set(value, {name: value, shape: constant.shape, ...roleOf(own.op, index, constant.shape)});
    });
    node.outputs.slice(0, 1).forEach((value) => renamed.set(value, name));
    // The mask of a Dropout and the like, which nothing reads.
    const others = own.outputs.slice(1).filter((value) => read.has(value));
    nodes.push({...own, name, inputs, outputs: [name, ...others]});
  }
  const last = softmax?.inputs[0] ?? output.name;
  const graph: Graph = {
    name: model.graph.name === '' ? 'onnx' : model.graph.name,
    input: {name: input.name, shape: input.shape},
    output: renamed.get(last) ?? last,
    nodes,
    parameters: [...parameters.values()],
  };
  return {graph, constants};
}

function nodeOf({attribute, domain, input, name, opType: op, output}: NodeMessage, refuse: Refuse): Node {
  const ofNode: Refuse = (what) => refuse(`node "${name}" (${op}): ${what}`);
  if (domain !== '' && domain !== 'ai.onnx')
    throw ofNode(`it is of the domain ${domain}; sdq takes ONNX's own operators`);
  const attributes = attribute
    .map((each) => [each.name, attributeOf(each, ofNode)] as const)
    .filter(([key, value]) => usual[key] !== value);
  return {
    name,
    op,
    inputs: input.at(-1) === '' ? input.slice(0, -1) : input,
    outputs: output,
    attributes: Object.fromEntries(attributes),
  };
}

/** The value of a node `Constant`. */
function constantValue({attribute: [value], name}: NodeMessage, external: External, refuse: Refuse): Array32 {
  const ofNode: Refuse = (what) => refuse(`node "${name}" (Constant): ${what}`);
  if (value === undefined) throw ofNode('it has no value');
  if (value.t !== null) return constantOf(value.t, external, ofNode);
  const found = attributeOf(value, ofNode);
  if (typeof found === 'string') throw ofNode('its value is a string');
  return typeof found === 'number'
    ? {shape: [], data: Float32Array.of(found)}
    : {shape: [found.length], data: Float32Array.from(found)};
}

/**
 * The mean over height and width as PyTorch's `x.mean([2, 3])` writes it.
 * @returns the node itself where it is another mean: no operator of sdq
 */
function meanOverImage(node: Node, constants: ReadonlyMap<string, Array32>): readonly Node[] {
  const {attributes, inputs, name, outputs} = node;
  const axes = attributes['axes'] ?? [...(constants.get(inputs[1] ?? '')?.data ?? [])];
  if (
    !Array.isArray(axes) ||
    ![
      [2, 3],
      [-2, -1],
    ].some((image) => image.join() === axes.toSorted((a, b) => a - b).join())
  )
    return [node];
  const pool: Node = {name, op: 'GlobalAveragePool', inputs: inputs.slice(0, 1), outputs, attributes: {}};
  if (attributes['keepdims'] !== 0) return [pool];
  const pooled = `${outputs[0]!}.pooled`;
  return [
    {...pool, name: '', outputs: [pooled]},
    {name, op: 'Flatten', inputs: [pooled], outputs, attributes: {axis: 1}},
  ];
}
