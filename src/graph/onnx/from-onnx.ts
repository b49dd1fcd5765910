/** A float network of an ONNX file, of any exporter, as a graph with its weights. */
import {invalidInput, SdqError} from '../../errors.ts';
import {item} from '../../lookup.ts';
import type {Array32, Graph, Initializer, Node, Parameter, Weights} from '../graph.ts';
import {isCondition as isConditionOperator} from '../ops/conditions.ts';
import {outputAxisOf} from '../layer-table.ts';
import {elements, nodeError} from '../ops/operator.ts';
import {inferShapes} from '../shape.ts';
import {externalFiles, toNumber, typeHint, typeName, type ReadBeside, type Refuse} from './constants.ts';
import {lowered, type Constant, type Lowered} from './lower.ts';
import {decodeOnnx, type DimensionMessage, type ModelMessage, type ValueMessage} from './proto.ts';

const refusal = 'onnx-import';

/** Operator sets of ONNX itself whose operators are known here. */
const newestOpset = 28;

/**
 * @param file where the bytes are from, for messages
 * @param readBeside for constants in files beside it; left out: such a file is refused
 * @throws SdqError (exit 3) naming the node and what of it sdq does not run, or the file of constants that is missing
 */
export function fromOnnx(
  bytes: Uint8Array,
  file: string,
  readBeside?: ReadBeside,
): {readonly graph: Graph; readonly weights: Weights} {
  const refuse: Refuse = (what) => invalidInput(refusal, `${file} cannot be imported: ${what}.`);
  const model = decodeOnnx(bytes);
  if (model === undefined) throw refuse('it is not an ONNX model');
  try {
    const opset = opsetOf(model, refuse);
    const initializers = new Set(model.graph.initializer.map(({name}) => name));
    const [input, ...more] = model.graph.input.filter(({name}) => !initializers.has(name));
    if (input === undefined || more.length > 0) {
      const names = model.graph.input.filter(({name}) => !initializers.has(name)).map(({name}) => `"${name}"`);
      const listed = names.length === 0 ? '' : ` (${names.join(', ')})`;
      throw refuse(`it has ${names.length} inputs${listed}; sdq takes networks with 1`);
    }
    const outputs = model.graph.output.map(({name}) => name);
    if (outputs.length === 0) throw refuse('it has 0 outputs; sdq takes networks with 1 or more');
    const shape = imageShape(input, refuse);
    const body = lowered({
      graph: model.graph,
      input: {name: input.name, shape},
      outputs,
      batch: Math.max(1, toNumber(input.type?.tensorType?.shape?.dim[0]?.dimValue ?? 1)),
      opset,
      external: externalFiles(readBeside, refuse),
      refuse,
    });
    checkOrders(body);
    const graphName = model.graph.name === '' ? 'onnx' : model.graph.name;
    const result = named(body, {name: input.name, shape}, graphName, outputs.length > 1);
    inferShapes(result.graph);
    return result;
  } catch (error) {
    if (!(error instanceof SdqError) || error.code === refusal) throw error;
    throw refuse(error.message.replace(/\.$/, ''));
  }
}

function opsetOf({opsetImport}: ModelMessage, refuse: Refuse): number {
  const opset = opsetImport.find(({domain}) => domain === '' || domain === 'ai.onnx');
  if (opset === undefined) throw refuse("it does not name the version of ONNX's operators (opset_import)");
  const version = toNumber(opset.version);
  if (version < 1 || version > newestOpset) {
    throw refuse(`it is of version ${version} of ONNX's operators; 1 to ${newestOpset} are read`);
  }
  return version;
}

/** The shape of the network's input, without the batch. */
function imageShape({name, type}: ValueMessage, refuse: Refuse): readonly number[] {
  const tensor = type?.tensorType;
  if (!tensor) throw refuse(`the input "${name}" is no tensor, or has no type`);
  const element = typeName(tensor.elemType);
  if (element !== 'float32') {
    const hint = /^int(32|64)$/.test(element)
      ? '; a network of token ids is taken from behind its embedding, with the vectors of the tokens as its input'
      : typeHint(element);
    throw refuse(`the input "${name}" has the type ${element}; it must be float32${hint}`);
  }
  if (!tensor.shape) throw refuse(`the input "${name}" has no shape; it must say all sizes but the batch's`);
  const {dim} = tensor.shape;
  const shown = (batch: string): string =>
    `[${dim.map((each, axis) => (axis === 0 ? batch : (sizeText(each) ?? '?'))).join(', ')}]`;
  if (dim.length < 2) {
    throw refuse(`the input "${name}" has the shape ${shown('N')}; it takes a batch of images or of rows`);
  }
  const [, ...image] = dim;
  if (image.some((each) => sizeText(each) === undefined)) {
    throw refuse(`the input "${name}" has the shape ${shown('N')}; all sizes but the batch's must be fixed`);
  }
  const shape = image.map(({dimValue}) => toNumber(dimValue));
  if (shape.some((size) => size < 1 || size >= 2 ** 31)) {
    throw refuse(`the input "${name}" has the shape ${shown('N')}; sizes are whole numbers from 1 to ${2 ** 31 - 1}`);
  }
  return shape;
}

/** The digits of a size; undefined where it has a name, or nothing, in their place. */
function sizeText(dim: DimensionMessage): string | undefined {
  return Object.hasOwn(dim, 'dimValue') ? dim.dimValue.toString() : undefined;
}

/** `/layer1/layer1.0/conv1/Conv` → `layer1.layer1.0.conv1`. */
function readable(name: string, op: string): string {
  const path = name.split('/').filter((part) => part !== '');
  if (path.length > 1 && path.at(-1)?.startsWith(op) === true) path.pop();
  return path.join('.');
}

/**
 * A name that nothing else has yet: where it is taken, with a number.
 * @param taken the names that there are, each with the last number of those that begin with it: thousands may have no name
 */
function unique(wanted: string, taken: Map<string, number>): string {
  let number = taken.get(wanted) ?? 0;
  let name = wanted;
  while (taken.has(name)) name = `${wanted}_${++number}`;
  taken.set(wanted, Math.max(number, 1));
  if (name !== wanted) taken.set(name, 1);
  return name;
}

const linearLayers: ReadonlySet<string> = new Set(['Gemm', 'MatMul']);
const layers: ReadonlySet<string> = new Set(['Conv', 'ConvTranspose', ...linearLayers]);
const norms: ReadonlySet<string> = new Set([
  'BatchNormalization',
  'GroupNormalization',
  'InstanceNormalization',
  'LayerNormalization',
]);

/** How a parameter would be drawn anew, as PyTorch's networks do, and what the optimizer does with it. */
function roleOf(node: Node, index: number, {array, trained}: Constant): Pick<Parameter, 'role' | 'initializer'> {
  const {op} = node;
  const filled = (value: number): Initializer => ({kind: 'constant', value});
  if (norms.has(op)) {
    return {role: index > 2 ? 'statistic' : 'norm', initializer: filled(index === 1 || index === 4 ? 1 : 0)};
  }
  if (linearLayers.has(op) && index === 1) {
    const inputs = elements(array.shape) / (array.shape[outputAxisOf(node)] ?? 1);
    return {role: 'weight', initializer: {kind: 'uniform', bound: 1 / Math.sqrt(inputs)}};
  }
  if (layers.has(op) && index === 1) {
    const taps = elements(array.shape.slice(2));
    return {role: 'weight', initializer: {kind: 'kaiming-normal', fan: item(array.shape, 0) * taps}};
  }
  const isCondition = isConditionOperator(op) || (op === 'Where' && index === 0);
  if (isCondition || (!trained && !layers.has(op))) {
    return {role: 'constant', initializer: {kind: 'fixed', values: Float32Array.from(array.data)}};
  }
  return {role: 'bias', initializer: filled(op === 'Mul' || op === 'Div' ? 1 : 0)};
}

/** A constant that a node reads, with the index of the input. */
interface Read {
  readonly name: string;
  readonly index: number;
  readonly constant: Constant;
}

function readsOf({inputs}: Node, constants: Lowered['constants']): readonly Read[] {
  return inputs.flatMap((name, index) => {
    const constant = constants.get(name);
    return constant === undefined ? [] : [{name, index, constant}];
  });
}

const isFilled = ({array: {data}}: Constant): boolean => data.every((value) => value === data[0]);

/**
 * What the node is a use of: nodes that read the same tensors are one module, used twice. Where a tensor is there twice, or all
 * are filled with one value, the exporter may have merged tensors of several modules; then each node is one of its own. (The
 * scale and the variance of a batch-norm would be merged too: it is one module where they are not.)
 */
function moduleOf(node: Node, reads: readonly Read[]): string {
  const names = reads.map(({name}) => name);
  const isDistinct = new Set(names).size === names.length;
  const isOne = isDistinct && (node.op === 'BatchNormalization' || !reads.every(({constant}) => isFilled(constant)));
  return isOne ? JSON.stringify([node.op, ...names]) : item(node.outputs, 0);
}

/**
 * The tensors that an exporter has made one of several equal ones (PyTorch does, where nothing has trained them yet): a node
 * reads it twice, or it is filled with one value and read by several modules.
 */
function mergedTensors(nodes: readonly Node[], constants: Lowered['constants']): ReadonlySet<string> {
  const modules = new Map<string, Set<string>>();
  const merged = new Set<string>();
  for (const node of nodes) {
    const reads = readsOf(node, constants).filter(({constant}) => constant.trained);
    for (const {constant, name} of reads) {
      const users = (modules.get(name) ?? new Set()).add(moduleOf(node, reads));
      modules.set(name, users);
      const isTwice = reads.filter((other) => other.name === name).length > 1;
      if (isTwice || (users.size > 1 && isFilled(constant))) merged.add(name);
    }
  }
  return merged;
}

/** @throws SdqError where a weight is read as [in, out] by one Gemm and as [out, in] by another: it is kept in one order */
function checkOrders({constants, nodes}: Lowered): void {
  const orders = new Map<string, unknown>();
  for (const node of nodes.filter(({op}) => op === 'Gemm')) {
    const [, weight = ''] = node.inputs;
    const order = node.attributes['transB'] ?? 0;
    if (constants.has(weight) && (orders.get(weight) ?? order) !== order) {
      throw nodeError(node, `it reads the parameter "${weight}" transposed, and another node does not.`);
    }
    orders.set(weight, order);
  }
}

/**
 * Layers under the names that a user knows: after their weights (`conv1.weight` → `conv1`), other nodes after their ONNX names;
 * every value after the node that computes it. Where a name is taken or empty, with a number. With `keepsOutputs` each output keeps the
 * name that the file has for it: by that a task chooses.
 */
function named(
  {constants, nodes, outputs, refused}: Lowered,
  input: Graph['input'],
  name: string,
  keepsOutputs: boolean,
): {readonly graph: Graph; readonly weights: Weights} {
  const merged = mergedTensors(nodes, constants);
  /** The name that a constant has in the file; undefined where it is to have another. */
  const storedName = ({constant: {array, origin}, name: value}: Read): string | undefined => {
    if (merged.has(value)) return undefined;
    if (origin === undefined || origin === value) return value;
    const original = constants.get(origin)?.array;
    return original?.data === array.data && original.shape.join() === array.shape.join() ? origin : undefined;
  };
  const stored = nodes.flatMap((node) => readsOf(node, constants).flatMap((read) => storedName(read) ?? []));
  const taken = new Map([input.name, ...stored].map((each) => [each, 1]));
  const renamed = new Map<string, string>();
  const outputNames = new Map(keepsOutputs ? [...outputs].map(([value, each]) => [value, unique(each, taken)]) : []);
  const parameters = new Map<string, Parameter>();
  const weights = new Map<string, Array32>();
  /** Names of parameters that are in the file under none: by module and input, or by the value they are computed as. */
  const added = new Map<string, string>();

  const parameterName = (node: Node, module: string, read: Read): string => {
    const nameInFile = storedName(read);
    if (nameInFile !== undefined) return nameInFile;
    const key = merged.has(read.name) ? JSON.stringify([module, read.index]) : read.name;
    const suffixes =
      node.op === 'BatchNormalization' ? ['', 'weight', 'bias', 'running_mean', 'running_var'] : ['', 'weight', 'bias'];
    const wanted = merged.has(read.name)
      ? `${node.name}.${suffixes[read.index] ?? `input${read.index}`}`
      : `${read.constant.origin ?? read.name}.folded`;
    const parameter = added.get(key) ?? unique(wanted, taken);
    added.set(key, parameter);
    return parameter;
  };

  const renamedNodes = nodes.map((node): Node => {
    const reads = readsOf(node, constants);
    const module = moduleOf(
      node,
      reads.filter(({constant}) => constant.trained),
    );
    const outputName = outputNames.get(item(node.outputs, 0));
    // The layer of the output's own name keeps it.
    if (outputName !== undefined) taken.delete(outputName);
    const nodeName = unique(baseName(node, reads[0], taken), taken);
    if (outputName !== undefined) taken.set(outputName, 1);
    const inputs = node.inputs.map((value) => renamed.get(value) ?? value);
    for (const read of reads) {
      const parameter = parameterName({...node, name: nodeName}, module, read);
      inputs[read.index] = parameter;
      if (parameters.has(parameter)) continue;
      const {data, shape} = read.constant.array;
      parameters.set(parameter, {name: parameter, shape, ...roleOf(node, read.index, read.constant)});
      weights.set(parameter, {shape, data: data instanceof Float32Array ? data : Float32Array.from(data)});
    }
    const output = outputName ?? nodeName;
    renamed.set(item(node.outputs, 0), output);
    return {...node, name: nodeName, inputs, outputs: [output]};
  });
  return {
    graph: {
      name,
      input,
      outputs: [...outputs.keys()].map((value) => renamed.get(value) ?? value),
      ...(refused.size === 0 ? {} : {refused}),
      nodes: renamedNodes,
      parameters: [...parameters.values()],
    },
    weights,
  };
}

function baseName(node: Node, first: Read | undefined, taken: ReadonlyMap<string, number>): string {
  const weight = first?.constant.origin ?? first?.name ?? '';
  const layer = weight.endsWith('.weight') ? weight.slice(0, -'.weight'.length) : '';
  if (layer !== '' && !taken.has(layer)) return layer;
  return readable(node.name, node.op) || layer || node.op.toLowerCase();
}
