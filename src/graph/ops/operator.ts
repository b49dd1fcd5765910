/** What an operator is, and the checks that all of them share. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {invalidInput, type SdqError} from '../../errors.ts';
import type {Uniform} from '../../random.ts';
import type {Attribute, Node, Shape} from '../graph.ts';
import type {Layout} from '../layout.ts';
import type {OnnxTensor} from '../onnx/proto.ts';

/**
 * tfjs is handed to `run`, not imported: shape inference and cost are used by commands that must not load it.
 */
export type Tf = typeof tfjs;

/** What is known of an input before anything runs. */
export interface Operand {
  readonly name: string;
  /** ONNX layout. Without the batch axis for a value; complete for a parameter. */
  readonly shape: Shape;
  /** Whether an element can be negative. */
  readonly signed: boolean;
  readonly parameter: boolean;
  /** Where the batch stands among the axes of a value. Left out: first. */
  readonly batchAxis?: number;
  /** Entries of the batch axis for one image: more than 1 where the windows of an image are merged with it. Left out: 1. */
  readonly perImage?: number;
}

/** At least `Count` of a kind, and perhaps more: the inputs of a node whose operator takes at least as many. */
export type AtLeast<Count extends 1 | 2 | 3 | 5, T> = {
  1: readonly [T, ...T[]];
  2: readonly [T, T, ...T[]];
  3: readonly [T, T, T, ...T[]];
  5: readonly [T, T, T, T, T, ...T[]];
}[Count];

type Output = Pick<Operand, 'shape' | 'signed' | 'batchAxis' | 'perImage'>;

export interface Cost {
  /** Multiply-accumulates for one image; biases, normalisation and activations do not count, as in the literature. */
  readonly macs: number;
  /** Trainable scalars, running statistics not included: PyTorch's count. */
  readonly parameters: number;
}

export type FusedActivation = 'linear' | 'relu' | 'relu6';

/** Operators with a kernel of their own (src/tensor/); handed in, so that reading a graph loads no tensor library. */
interface FusedFunctions {
  readonly gelu: (x: tfjs.Tensor, approximate: boolean) => tfjs.Tensor;
  readonly leakyRelu: (x: tfjs.Tensor, alpha: number) => tfjs.Tensor;
  /** Of rows [rows, C] with gamma and beta [C]. */
  readonly layerNorm: (x: tfjs.Tensor, gamma: tfjs.Tensor, beta: tfjs.Tensor, epsilon: number) => tfjs.Tensor;
  /** `yes` where the condition is 1, `no` where it is 0; broadcast. */
  readonly select: (condition: tfjs.Tensor, yes: tfjs.Tensor, no: tfjs.Tensor) => tfjs.Tensor;
}

export interface RunOptions<Operands extends readonly Operand[] = readonly Operand[]> {
  /** Of the computed inputs. */
  readonly layout: Layout;
  /** How many the batch has. */
  readonly images: number;
  /** What is known of the inputs and of the output. */
  readonly inputs: Operands;
  readonly output: Operand;
  /** Applied to the output by Conv, Gemm and MatMul in the same kernel. */
  readonly activation?: FusedActivation;
  readonly fused: FusedFunctions;
  /** Draws for Dropout; without them it passes its input on. */
  readonly draw?: Uniform;
}

/** The layout that all computed inputs of a node have, and that of its output. */
export interface NodeLayout {
  readonly inputs: Layout;
  readonly output: Layout;
}

/**
 * @param inputs all inputs, parameters included
 * @param layouts those that the inputs have now; of a parameter: `plain`
 */
export type LayoutRule = (node: Node, inputs: AtLeast<1, Operand>, layouts: AtLeast<1, Layout>) => NodeLayout;

/** For convolutions, pooling and whatever else treats the channels as the last axis. */
export const channelsLast: LayoutRule = () => ({inputs: 'channels-last', output: 'channels-last'});

/** For operators that read their input in ONNX's order. */
export const plain: LayoutRule = () => ({inputs: 'plain', output: 'plain'});

/** For operators that take either layout: channels-last where an input is, and all have as many axes and the batch first. */
export const eitherLayout: LayoutRule = (_node, inputs, layouts) => {
  const computed = inputs.find(({parameter}) => !parameter) ?? inputs[0];
  const rank = computed.shape.length;
  const sameRank = inputs.every(({batchAxis, parameter, shape}) =>
    parameter ? shape.length <= rank + 1 : shape.length === rank && batchAxis === undefined,
  );
  const layout = sameRank && layouts.includes('channels-last') ? 'channels-last' : 'plain';
  return {inputs: layout, output: layout};
};

/** The numbers of a constant of a file, in ONNX's order; undefined where the value is computed. */
export type ConstantLookup = (name: string) => {readonly shape: Shape; readonly data: Iterable<number>} | undefined;

/** Versions of ONNX's operators that files are written in. */
export type Opset = 17 | 20 | 21 | 25;

/** A node in ONNX's opset 25, and in all before it that have it in this form (`since`). */
interface OnnxForm {
  readonly op: string;
  readonly attributes: Readonly<Record<string, Attribute>>;
  /** Inputs behind those of the node. */
  readonly constants: readonly OnnxTensor[];
  /** Indices of the inputs that are bool in ONNX; a parameter there is cast. Left out: none. */
  readonly conditions?: readonly number[];
  /** Where the last input depends on the number of images: the nodes that compute it, in their order, and their constants. */
  readonly computed?: {
    readonly nodes: readonly ComputedInput[];
    readonly constants: readonly OnnxTensor[];
  };
}

interface ComputedInput {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly output: string;
  readonly attributes: Readonly<Record<string, Attribute>>;
}

interface OperatorWith<Operands extends readonly Operand[], Tensors extends readonly tfjs.Tensor[]> {
  readonly op: string;
  /** Least and greatest number of inputs. */
  readonly inputs: readonly [number, number];
  /** Names of the attributes it understands; any other is refused, so that nothing is silently computed differently. */
  readonly attributes: readonly string[];
  /** @throws SdqError (exit 3) naming the node, what was found and what is allowed. */
  infer(node: Node, inputs: Operands): Output;
  cost(node: Node, inputs: Operands, output: Output): Cost;
  /**
   * It takes the batch at any axis and says where it is in the output. Left out: the batch comes first in the inputs and
   * in the output.
   */
  readonly anyBatch?: true;
  /** Left out: `eitherLayout`. */
  layout?(node: Node, inputs: Operands, layouts: AtLeast<1, Layout>): NodeLayout;
  /**
   * The order of axes in which the executor keeps the parameter at input `index` (`transpose` semantics), so that
   * nothing is transposed in a step. Left out: the stored order.
   * @param layout of the node's computed inputs
   */
  axes?(node: Node, index: number, inputs: Operands, layout: Layout): readonly number[];
  /**
   * Differentiable.
   * @param inputs computed ones in the layout of `layout`, parameters in the order of `axes`, trailing optional ones left out
   * @returns a new tensor, never one of the inputs
   */
  run(tf: Tf, node: Node, inputs: Tensors, options: RunOptions<Operands>): tfjs.Tensor;
  /** The oldest opset that has what `toOnnx` gives. Left out: 17. */
  since?(node: Node): Opset;
  /** For inference. Left out: the node itself. @param input the graph's input */
  toOnnx?(node: Node, input: string): OnnxForm;
  /**
   * The node of a file in sdq's form: constant inputs as attributes. By default the node unchanged.
   * @param constant the value of an input, where the file fixes it
   */
  fromOnnx?(node: Node, constant: ConstantLookup): Node;
}

/** Everything about one ONNX operator. */
export type Operator = OperatorWith<readonly Operand[], readonly tfjs.Tensor[]>;

/** For the definition of an operator: `Least` inputs need no check in its functions, for `inferNode` refuses fewer. */
export type OperatorOf<Least extends 1 | 2 | 3 | 5> = OperatorWith<
  AtLeast<Least, Operand>,
  AtLeast<Least, tfjs.Tensor>
>;

/**
 * The inputs of a node, left-out ones skipped, as `find` has them.
 * @throws Error where one is missing or there is none: `inferShapes` let the node pass
 */
export function argumentsOf<T>({name, inputs}: Node, find: (input: string) => T | undefined): AtLeast<1, T> {
  const [first, ...others] = inputs
    .filter((input) => input !== '')
    .map((input) => {
      const value = find(input);
      if (value === undefined) throw new Error(`Node "${name}": nothing is known of its input "${input}".`);
      return value;
    });
  if (first === undefined) throw new Error(`Node "${name}" has no inputs.`);
  return [first, ...others];
}

/** Cost of an operator that has neither weights nor multiply-accumulates. */
export const noCost = (): Cost => ({macs: 0, parameters: 0});

export const elements = (shape: Shape): number => shape.reduce((product, size) => product * size, 1);

/** An error about a node: `Node "conv1" (Conv): …`. */
export function nodeError(node: Pick<Node, 'name' | 'op'>, message: string): SdqError {
  return invalidInput('graph-invalid', `Node "${node.name}" (${node.op}): ${message}`);
}

export const show = (shape: readonly (number | string)[]): string => `[${shape.join(', ')}]`;

function attribute<T extends Attribute>(
  node: Node,
  name: string,
  fallback: T | undefined,
  wanted: string,
  accepts: (value: Attribute) => boolean,
): T {
  const value = node.attributes[name] ?? fallback;
  if (value === undefined) throw nodeError(node, `attribute "${name}" is missing; it takes ${wanted}.`);
  if (!accepts(value)) {
    const found = JSON.stringify(value);
    const shown = found.length > 80 ? `${found.slice(0, 80)}…` : found;
    throw nodeError(node, `attribute "${name}" is ${shown}; it takes ${wanted}.`);
  }
  return value as T;
}

/** A list of whole numbers ≥ `least`, of the given length where one is given. */
export function integers(
  node: Node,
  name: string,
  fallback: readonly number[] | undefined,
  least: number,
  length?: number,
): readonly number[] {
  const count = length === undefined ? '' : `${length} `;
  return attribute(
    node,
    name,
    fallback,
    `${count}whole numbers from ${least}`,
    (value) =>
      Array.isArray(value) &&
      (length === undefined || value.length === length) &&
      value.every((item) => Number.isSafeInteger(item) && item >= least),
  );
}

/** A whole number ≥ `least`. */
export function integer(node: Node, name: string, fallback: number | undefined, least: number): number {
  return attribute(
    node,
    name,
    fallback,
    `a whole number from ${least}`,
    (value) => Number.isSafeInteger(value) && (value as number) >= least,
  );
}

/** A number; infinite only where the default is. */
export function float(node: Node, name: string, fallback: number | undefined): number {
  return attribute(
    node,
    name,
    fallback,
    'a number',
    (value) => typeof value === 'number' && (Number.isFinite(value) || value === fallback),
  );
}

/** One of a few values: all that sdq supports of an attribute. */
export function oneOf<T extends number | string>(node: Node, name: string, fallback: T, allowed: readonly T[]): T {
  return attribute(node, name, fallback, allowed.map((item) => JSON.stringify(item)).join(' or '), (value) =>
    allowed.includes(value as T),
  );
}

/** The node's input `index` as [channels, height, width]. */
export function image(node: Node, operand: Operand): readonly [number, number, number] {
  if (operand.parameter || operand.shape.length !== 3) {
    const volume = operand.shape.length === 4 ? ' sdq has no operators for volumes (3-D).' : '';
    throw nodeError(
      node,
      `input "${operand.name}" has the shape ${show(operand.shape)}; it takes an image [channels, height, width].${volume}`,
    );
  }
  return operand.shape as readonly [number, number, number];
}

/** Checks that an input is a parameter of exactly this shape. */
export function expectParameter(node: Node, operand: Operand, shape: Shape): void {
  if (!operand.parameter) throw nodeError(node, `input "${operand.name}" is computed; it must be a parameter.`);
  if (operand.shape.length !== shape.length || operand.shape.some((size, axis) => size !== shape[axis])) {
    throw nodeError(
      node,
      `parameter "${operand.name}" has the shape ${show(operand.shape)}; it must be ${show(shape)}.`,
    );
  }
}

/** The node's input `index` as a value that the graph computes. */
export function expectValue(node: Node, operand: Operand): void {
  if (operand.parameter) throw nodeError(node, `input "${operand.name}" is a parameter; it must be a computed value.`);
}

/**
 * The numbers of a constant input; undefined where it is left out.
 * @throws SdqError (exit 3) where it is computed
 */
export function constantInput(node: Node, index: number, constant: ConstantLookup): readonly number[] | undefined {
  const name = node.inputs[index] ?? '';
  if (name === '') return undefined;
  const array = constant(name);
  if (array === undefined) throw nodeError(node, `input "${name}" is computed; sdq takes a constant there.`);
  return [...array.data];
}
