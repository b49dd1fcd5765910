/**
 * A file's nodes as nodes of sdq, still under the file's names: what does not depend on the image is computed, control flow with
 * a fixed condition is resolved, and every other node is checked when it is reached, with the shapes of its inputs known.
 */
import {invalidInput, SdqError} from '../../errors.ts';
import {entry, item} from '../../lookup.ts';
import {didYouMean} from '../../nearest.ts';
import type {Node} from '../graph.ts';
import {conditionInputs} from '../ops/conditions.ts';
import {operators} from '../ops/index.ts';
import {elements, nodeError, show, type Operand} from '../ops/operator.ts';
import {showSizes, sizesOf} from '../ops/sizes.ts';
import {leadingTo} from '../reachable.ts';
import {inferNode, inputOperand, isBatchFirst} from '../shape.ts';
import {attributeReader, constantValue, nodeAttributes} from './attributes.ts';
import {readTensor, typeHint, type External, type Refuse} from './constants.ts';
import {evaluators} from './fold/index.ts';
import {shapeArray} from './fold/shapes.ts';
import {NotConstant, computedLimit, type HostArray} from './host-array.ts';
import type {GraphMessage, NodeMessage, TensorMessage} from './proto.ts';
import {rewritten} from './rewrite.ts';

/** A constant that nodes can read. */
export interface Constant {
  readonly array: HostArray;
  /** The initializer that it is, or is computed from, where that is one alone. */
  readonly origin: string | undefined;
  /** Whether an initializer is part of it: it may be a parameter. A node `Constant` never is. */
  readonly trained: boolean;
}

export interface Lowered {
  /** In the file's order, the node's and values' names the file's; nodes that no output needs are left out. */
  readonly nodes: readonly Node[];
  /** The computed values that are outputs, and the name that the file has for each output. */
  readonly outputs: ReadonlyMap<string, string>;
  /** The file's other outputs, and why they cannot be had. */
  readonly refused: ReadonlyMap<string, string>;
  readonly constants: ReadonlyMap<string, Constant>;
}

export interface Source {
  readonly graph: GraphMessage;
  readonly input: {readonly name: string; readonly shape: readonly number[]};
  /** Names, at least one. */
  readonly outputs: readonly string[];
  /** The number of images that the file fixes; 1 where it is open. */
  readonly batch: number;
  /** Version of ONNX's operators. */
  readonly opset: number;
  readonly external: External;
  readonly refuse: Refuse;
}

/** Operators that only files have: each becomes others. */
const fileOperators: ReadonlySet<string> = new Set(['Einsum', 'Split', 'Sum', 'Tile']);

const recurrent = 'sdq has no recurrent layers: put convolutions or attention in its place';
const loop = 'sdq has no loops: export the network with fixed sizes, so that the exporter unrolls them';
const boxes = 'sdq does not select boxes: export the outputs of the layers before it';

/** What to do about an operator that no other settings of an exporter would make one of sdq's. */
const adviceFor: ReadonlyMap<string, string> = new Map([
  ['RNN', recurrent],
  ['LSTM', recurrent],
  ['GRU', recurrent],
  ['Loop', loop],
  ['Scan', loop],
  ['NonMaxSuppression', boxes],
  ['NonZero', boxes],
  ['TopK', 'sdq does not sort or select values: export the network up to its logits, or to the layers before it'],
  ['ArgMax', 'export the logits, which training needs'],
]);

/** They tell more than an error of what prepares their inputs, as a state of zeros for each image. */
const decisive: ReadonlySet<string> = new Set(['RNN', 'LSTM', 'GRU', 'Loop', 'Scan']);

const quantizedOperator = /^(DynamicQuantize|Quantize|Dequantize|QLinear|QGemm|QAttention)|Integer$/;

const isSoftmax = ({opType}: NodeMessage): boolean => opType === 'Softmax' || opType === 'LogSoftmax';

/** Bounds of slices are the least and the greatest int64 where there is none. */
const safeInteger = (value: number): number =>
  Math.min(Math.max(value, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);

const shownName = ({name, output}: NodeMessage): string => name || (output.find((value) => value !== '') ?? '');

/** The names that a node reads, those in its branches included. */
function readNames({attribute, input}: NodeMessage): readonly string[] {
  return [...input, ...attribute.flatMap(({g}) => g?.node.flatMap(readNames) ?? [])];
}

interface Wired {
  readonly node: NodeMessage;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

class Lowering {
  readonly #source: Source;
  /** Every node of the file with the names that it and its branches read. */
  readonly #wired: readonly Wired[];
  readonly #tensors = new Map<string, TensorMessage>();
  readonly #constants = new Map<string, Constant>();
  /** Values that depend on the image. */
  readonly #known = new Map<string, Operand>();
  /** Values that cannot be had, and why: of no interest where no output needs them. */
  readonly #failed = new Map<string, SdqError>();
  /** Names for one value: of a branch that is taken, of a Softmax that is left out. */
  readonly #aliases = new Map<string, string>();
  /** The nodes that read a value, those left out that no output needs. */
  readonly #readers = new Map<string, NodeMessage[]>();
  readonly #nodes: Node[] = [];
  /** Constants that hold numbers of their own, and the bytes of all of them. */
  readonly #computed = new Set<string>();
  #bytes = 0;

  constructor(source: Source) {
    this.#source = source;
    this.#known.set(source.input.name, inputOperand(source.input.name, source.input.shape));
    this.#add(source.graph.initializer);
    this.#wired = source.graph.node.map((node) => ({node, inputs: readNames(node), outputs: node.output}));
    for (const {node} of leadingTo(this.#wired, source.outputs)) {
      for (const name of new Set(readNames(node))) {
        const readers = this.#readers.get(name);
        if (readers === undefined) this.#readers.set(name, [node]);
        else readers.push(node);
      }
    }
  }

  lower(): Lowered {
    const {graph, refuse} = this.#source;
    const written = new Set([this.#source.input.name, ...this.#tensors.keys()]);
    for (const value of graph.node.flatMap((node) => node.output)) {
      if (value !== '' && written.has(value)) throw refuse(`two nodes write the value "${value}"`);
      written.add(value);
    }
    for (const {values} of graph.sparseInitializer) {
      const name = values?.name ?? '';
      this.#failed.set(name, refuse(`the constant "${name}" is sparse; export it as a dense one`));
    }
    for (const message of graph.node) this.#take(message);
    const outputs = new Map<string, string>();
    const refused = new Map<string, string>();
    let first: SdqError | undefined;
    for (const output of this.#source.outputs) {
      const value = this.#resolve(output);
      const error = this.#outputError(output, value);
      if (error !== undefined) refused.set(output, error.message);
      // Two outputs are one value where a Softmax between them is left out.
      else if (!outputs.has(value) || output === value) outputs.set(value, output);
      first ??= error;
    }
    if (outputs.size === 0 && first !== undefined) throw first;
    return {nodes: leadingTo(this.#nodes, [...outputs.keys()]), outputs, refused, constants: this.#constants};
  }

  /** Why the file's output of this name cannot be one of the graph. */
  #outputError(output: string, value: string): SdqError | undefined {
    const {input, refuse} = this.#source;
    const error = this.#failed.get(value);
    if (error !== undefined) {
      const source = leadingTo(this.#wired, [output]).find(({node}) => decisive.has(node.opType));
      return source === undefined ? error : this.#unsupported(source.node);
    }
    if (this.#constant(value) !== undefined) return refuse(`its output "${output}" does not depend on the image`);
    const operand = this.#known.get(value);
    if (operand === undefined) return refuse(`its output "${output}" is not the output of a node`);
    if (value === input.name) return refuse(`its output "${output}" is its input`);
    if (isBatchFirst(operand)) return undefined;
    return refuse(`its output "${output}" is ${showSizes(sizesOf(operand))}; the batch must come first`);
  }

  #add(tensors: readonly TensorMessage[]): void {
    for (const tensor of tensors) {
      if (this.#tensors.has(tensor.name)) throw this.#source.refuse(`two initializers have the name "${tensor.name}"`);
      this.#tensors.set(tensor.name, tensor);
    }
  }

  #resolve(name: string): string {
    let resolved = name;
    for (let next = this.#aliases.get(resolved); next !== undefined; next = this.#aliases.get(resolved))
      resolved = next;
    return resolved;
  }

  /** @throws SdqError where it is in the file, but cannot be read */
  #constant(name: string): Constant | undefined {
    const known = this.#constants.get(name);
    const tensor = this.#tensors.get(name);
    if (known !== undefined || tensor === undefined) return known;
    const array = readTensor(tensor, this.#source.external, this.#source.refuse);
    const constant = {array, origin: name, trained: array.type === 'float32' || array.type === 'float64'};
    this.#constants.set(name, constant);
    return constant;
  }

  #take(message: NodeMessage): void {
    try {
      this.#lowerNode(message);
    } catch (error) {
      if (!(error instanceof SdqError)) throw error;
      for (const output of message.output) this.#failed.set(output, error);
    }
  }

  #refusing(message: NodeMessage): Refuse {
    return (what) => this.#source.refuse(`node "${shownName(message)}" (${message.opType}): ${what}`);
  }

  /** Of an operator that sdq does not have. */
  #unsupported(message: NodeMessage): SdqError {
    const advice = adviceFor.get(message.opType);
    const {message: text} = this.#refusing(message)(
      `the operator is not supported; ${advice ?? 'docs/operators.md lists those that are'}`,
    );
    const known = [...operators.keys(), ...fileOperators];
    return invalidInput('onnx-import', text, advice === undefined ? didYouMean(message.opType, known) : []);
  }

  #lowerNode(message: NodeMessage): void {
    const name = shownName(message);
    const refuse = this.#refusing(message);
    if (message.domain !== '' && message.domain !== 'ai.onnx') {
      throw refuse(
        `its domain is ${message.domain}; sdq supports the standard ONNX operators only: export the network without custom functions and without optimizing it for one runtime`,
      );
    }
    if (message.opType === 'Constant') {
      const array = constantValue(message, this.#source.external, refuse);
      this.#constants.set(message.output[0] ?? '', {array, origin: undefined, trained: false});
      return;
    }
    const input = message.input.at(-1) === '' ? message.input.slice(0, -1) : message.input;
    const inputs = input.map((value) => this.#resolve(value));
    const failed = inputs.find((value) => this.#failed.has(value));
    if (failed !== undefined) throw entry(this.#failed, failed);
    if (message.opType === 'If') this.#branch(message, inputs, refuse);
    else if (!this.#fold(message, inputs, name, refuse)) this.#keep(message, inputs, name, refuse);
  }

  /** A condition that the file fixes: the branch it takes, in place of the node. */
  #branch(message: NodeMessage, [condition = '']: readonly string[], refuse: Refuse): void {
    const fixed = this.#constant(condition)?.array;
    if (fixed === undefined) {
      throw refuse(
        'its condition depends on the image or the batch, and sdq has no branches: export the network without it',
      );
    }
    const wanted = fixed.data[0] === 0 ? 'else_branch' : 'then_branch';
    const branch = message.attribute.find(({name}) => name === wanted)?.g;
    if (!branch) throw refuse(`it has no attribute "${wanted}"`);
    this.#add(branch.initializer);
    for (const node of branch.node) this.#take(node);
    message.output.forEach((output, index) =>
      this.#aliases.set(output, this.#resolve(branch.output[index]?.name ?? '')),
    );
    const failed = message.output.map((output) => this.#failed.get(this.#resolve(output))).find((error) => error);
    if (failed !== undefined) throw failed;
  }

  /** @returns whether the outputs are constants now */
  #fold(message: NodeMessage, inputs: readonly string[], name: string, refuse: Refuse): boolean {
    const attributes = attributeReader(message, this.#source.external, refuse);
    const value = this.#known.get(inputs[0] ?? '');
    if (message.opType === 'Shape' && value !== undefined) {
      const array = shapeArray(sizesOf(value), attributes);
      this.#constants.set(message.output[0] ?? '', {array, origin: undefined, trained: false});
      return true;
    }
    const evaluate = evaluators.get(message.opType);
    const isConstant = inputs.every((each) => each === '' || this.#constant(each) !== undefined);
    if (inputs.length === 0 || !isConstant) return false;
    if (evaluate === undefined) {
      if (operators.has(message.opType)) throw refuse('all its inputs are constants, and sdq does not compute it');
      return false;
    }
    const constants = inputs.map((each) => this.#constant(each));
    try {
      const arrays = constants.map((constant) => constant?.array);
      const results = evaluate(arrays, attributes, message.output.length);
      const trained = constants.filter((constant) => constant?.trained === true);
      const onlyTrained = trained.length === 1 ? trained[0] : undefined;
      results.forEach((array, index) => {
        const output = message.output[index] ?? '';
        // PyTorch writes one of several equal parameters, and an Identity for each other one.
        const origin = message.opType === 'Identity' ? output : onlyTrained?.origin;
        this.#constants.set(output, {array, origin, trained: trained.length > 0});
        const source = arrays.findIndex((input) => input?.data === array.data);
        if (source >= 0 && !this.#computed.has(inputs[source] ?? '')) return;
        this.#computed.add(output);
        this.#bytes += array.data.byteLength;
      });
    } catch (error) {
      if (!(error instanceof NotConstant)) throw error;
      throw refuse(`its inputs are constants of which it makes none: ${error.message}`);
    }
    if (this.#bytes > computedLimit) {
      throw this.#source.refuse(
        `what it computes of its constants, up to node "${name}", has more than ${computedLimit} bytes`,
      );
    }
    for (const each of new Set(inputs)) this.#release(each, message);
    return true;
  }

  /** Frees what was computed on the way to a constant and has no other reader. */
  #release(value: string, reader: NodeMessage): void {
    const readers = this.#readers.get(value);
    const index = readers?.indexOf(reader) ?? -1;
    // The nodes of a branch are not among the readers.
    if (readers === undefined || index < 0) return;
    readers.splice(index, 1);
    if (readers.length > 0 || this.#isOutput(value) || !this.#computed.delete(value)) return;
    this.#bytes -= this.#constants.get(value)?.array.data.byteLength ?? 0;
    this.#constants.delete(value);
  }

  /** A node of sdq, or several. */
  #keep(message: NodeMessage, inputs: readonly string[], name: string, refuse: Refuse): void {
    const [output = ''] = message.output;
    // Losses and teachers want logits, and the first class is the same.
    if (isSoftmax(message) && this.#isLast(output) && this.#isOverClasses(message, inputs, refuse)) {
      this.#aliases.set(output, item(inputs, 0));
      return;
    }
    if (quantizedOperator.test(message.opType)) {
      throw refuse('the file is quantized already; sdq takes the network in float32');
    }
    if (!operators.has(message.opType) && !fileOperators.has(message.opType)) {
      throw this.#unsupported(message);
    }
    const isSplit = message.opType === 'Split';
    const read = message.output.slice(1).filter((value) => isSplit || (value !== '' && this.#isRead(value)));
    const shown: Node = {
      name,
      op: message.opType,
      inputs,
      outputs: [output, ...read],
      attributes: nodeAttributes(message, refuse),
    };
    const context = {
      batch: this.#source.batch,
      operand: (value: string) => this.#operand(shown, value),
      constant: (value: string) => this.#constant(value),
      readers: (value: string) => (this.#readers.get(value) ?? []).map(({opType}) => opType),
      producer: (value: string) => this.#nodes.find(({outputs}) => outputs.includes(value)),
      define: (value: string, constant: Constant) => void this.#constants.set(value, constant),
    };
    for (const each of rewritten(shown, context)) this.#define(each, each.name === name ? message.name : each.name);
  }

  /** @param nodeName the node's name, where it has one: `node` has one for errors */
  #define(node: Node, nodeName: string): void {
    const defined = operators.get(node.op)?.fromOnnx?.(node, (name) => this.#argument(node, name)) ?? node;
    const operands = new Map(
      defined.inputs.filter((name) => name !== '').map((name) => [name, this.#operand(defined, name)]),
    );
    const operand = inferNode(defined, operands);
    if (operand.shape.some((size) => !Number.isSafeInteger(size) || size < 1)) {
      throw nodeError(defined, `its output would have the shape ${show(operand.shape)}.`);
    }
    this.#known.set(operand.name, operand);
    this.#nodes.push({...defined, name: nodeName});
  }

  /** What is known of a node's input. @throws SdqError where there is nothing of this name, or nothing to compute with */
  #operand(node: Node, name: string): Operand {
    const value = this.#known.get(name);
    if (value !== undefined) return value;
    const constant = this.#constant(name);
    if (constant === undefined) {
      const later = this.#source.graph.node.some(({output}) => output.includes(name));
      const what = later
        ? 'is the output of a later node; nodes stand behind those that they read'
        : "is neither a constant, the network's input nor the output of a node";
      throw nodeError(node, `input "${name}" ${what}.`);
    }
    const {batch, perImage, shape, type} = constant.array;
    const isFlag = type === 'bool' && (conditionInputs.get(node.op) ?? []).some((index) => node.inputs[index] === name);
    if (type !== 'float32' && type !== 'float64' && !isFlag) {
      throw nodeError(node, `the constant "${name}" has the type ${type}; it must be float32${typeHint(type)}.`);
    }
    if (batch !== undefined || (perImage === true && shape[0] !== 1)) {
      throw nodeError(node, `input "${name}" is computed from the size of the batch.`);
    }
    return {name, shape, signed: true, parameter: true};
  }

  /**
   * A constant that becomes an attribute. Where the batch is one of its sizes, that is −k for Expand (k entries for each image)
   * and k for others (as in a network that was saved for one image).
   */
  #argument(node: Node, name: string): HostArray | undefined {
    const array = this.#constant(name)?.array;
    if (array === undefined) return undefined;
    const {batch, data, shape, type} = array;
    // Slices end at the greatest int64.
    if (batch === undefined) return type === 'int64' ? {type, shape, data: data.map(safeInteger)} : array;
    const axis = batch.findIndex((slope) => slope !== 0);
    if (shape.length !== 1 || data[axis] !== 0 || batch.some((slope, i) => slope !== 0 && i !== axis)) {
      throw nodeError(node, `input "${name}" depends on the size of the batch beyond one axis.`);
    }
    const perImage = item(batch, axis);
    return {type, shape, data: data.with(axis, node.op === 'Expand' ? -perImage : perImage)};
  }

  #isOutput(value: string): boolean {
    return this.#source.outputs.includes(value);
  }

  #isRead(value: string): boolean {
    return this.#isOutput(value) || (this.#readers.get(value) ?? []).length > 0;
  }

  /** Whether a value is an output, itself or through Identity, and nothing else. */
  #isLast(value: string): boolean {
    const readers = this.#readers.get(value) ?? [];
    if (this.#isOutput(value)) return readers.length === 0;
    const [reader] = readers;
    return readers.length === 1 && reader?.opType === 'Identity' && this.#isLast(reader.output[0] ?? '');
  }

  /** Whether a Softmax is over all of an image: its classes, [classes] or [classes, 1, 1]. */
  #isOverClasses(message: NodeMessage, [input = '']: readonly string[], refuse: Refuse): boolean {
    const {shape} = this.#known.get(input) ?? {};
    if (shape === undefined || shape[0] !== elements(shape)) return false;
    const {axis = this.#source.opset < 13 ? 1 : -1} = nodeAttributes(message, refuse);
    return axis === 1 || axis === -shape.length;
  }
}

/** @throws SdqError (exit 3) naming the node by the file's name for it, and what of it sdq does not run */
export const lowered = (source: Source): Lowered => new Lowering(source).lower();
