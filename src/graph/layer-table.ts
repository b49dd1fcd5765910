/**
 * The layers that quantization is about, with their cost; and the cost of the whole network. A layer is a node that multiplies. Its
 * sites are what may be quantized: its weights and its input, or both inputs of a product of two activations.
 */
import {entry, item, present} from '../lookup.ts';
import {isTrained, type Graph, type Node, type Shape} from './graph.ts';
import {argumentsOf, elements, type Operand} from './ops/operator.ts';
import {leadingTo} from './reachable.ts';
import {inferShapes, operatorOf} from './shape.ts';

type QuantizedOperator = 'Conv' | 'Gemm' | 'MatMul';

interface Layer {
  /** Name of the node. */
  readonly name: string;
  readonly op: QuantizedOperator;
  /** Weights only: the n_l of the method; 0 with `sharedWith`, so that a sum counts each tensor once, and 0 of a product. */
  readonly params: number;
  /** Name of the first layer that reads the same weights, on every later one: they have one bitwidth and one step. */
  readonly sharedWith?: string;
  /** Multiply-accumulates for one image. */
  readonly macs: number;
  /** A Conv whose groups have one input channel each. */
  readonly depthwise?: true;
  /** Whether an element of the input can be negative, derived from the graph. */
  readonly inputSigned: boolean;
  /** Name of the value that is its input. Layers with the same one can share a quantizer. */
  readonly inputValue: string;
  /** [channels, height, width] or [features], without the batch. */
  readonly inputShape: Shape;
  readonly outputShape: Shape;
}

/** A layer that multiplies its input by weights. */
export interface WeightLayer extends Layer {
  /** Name of the parameter that is quantized: one site, however many layers read it. */
  readonly weight: string;
  readonly product?: undefined;
}

/** A MatMul of two activations, as attention has two of. It has no weights. */
export interface ProductLayer extends Layer {
  readonly weight: null;
  readonly product: true;
  /** Its second input. */
  readonly second: {readonly value: string; readonly signed: boolean; readonly shape: Shape};
}

export type QuantizedLayer = WeightLayer | ProductLayer;

/** An activation that a layer multiplies. */
export interface ActivationSite {
  /** The layer's name; with `:1` for the second input of a product. */
  readonly id: string;
  /** Name of the layer. */
  readonly layer: string;
  /** 0 for the layer's input, 1 for the second input of a product. */
  readonly operand: 0 | 1;
  /** Name of the graph's value. Sites with the same one can share a quantizer. */
  readonly value: string;
  /** Whether an element can be negative, derived from the graph. */
  readonly signed: boolean;
  /** Without the batch. */
  readonly shape: Shape;
}

export const hasWeights = (layer: QuantizedLayer): layer is WeightLayer => layer.weight !== null;

/**
 * The last layer of each output: of the layers that lead to it, the last in the graph's order.
 * @param names of layers
 * @returns those of `names`, each once
 */
export function lastLayers({nodes, outputs}: Graph, names: readonly string[]): readonly string[] {
  const known = new Set(names);
  const last = new Set(outputs.map((output) => leadingTo(nodes, [output]).findLast(({name}) => known.has(name))?.name));
  return names.filter((name) => last.has(name));
}

/** The axis of the output channels in the weights of a node as ONNX stores them. */
export const outputAxisOf = ({op, attributes}: Node): 0 | 1 => (op === 'Conv' || attributes['transB'] === 1 ? 0 : 1);

/** That of a layer. */
export function outputAxis({nodes}: Graph, {name}: WeightLayer): 0 | 1 {
  return outputAxisOf(
    present(
      nodes.find((node) => node.name === name),
      `node "${name}"`,
    ),
  );
}

/** The id of a layer's activation. */
export const siteId = (layer: string, operand: number): string => (operand === 0 ? layer : `${layer}:${operand}`);

/** The activations that a layer multiplies: one, or two of a product. */
export function inputSites(layer: QuantizedLayer): ActivationSite[] {
  const {name, inputValue, inputSigned, inputShape} = layer;
  const input: ActivationSite = {
    id: siteId(name, 0),
    layer: name,
    operand: 0,
    value: inputValue,
    signed: inputSigned,
    shape: inputShape,
  };
  return hasWeights(layer) ? [input] : [input, {id: siteId(name, 1), layer: name, operand: 1, ...layer.second}];
}

export interface LayerTable {
  /** In the order of the graph's nodes. */
  readonly layers: readonly QuantizedLayer[];
  /** All trainable scalars: weights, biases, normalisation; PyTorch's count. */
  readonly parameters: number;
  readonly macs: number;
}

function isQuantized(op: string): op is QuantizedOperator {
  return op === 'Conv' || op === 'Gemm' || op === 'MatMul';
}

/** Whether an operand can be a layer's weights. */
const isWeight = ({parameter, shape}: Operand): boolean => parameter && shape.length >= 2;

function isDepthwise({op, attributes}: Node, [channels]: Shape): boolean {
  return op === 'Conv' && channels !== 1 && attributes['group'] === channels;
}

/** All entries of one image. */
function imageShape({shape, perImage}: Operand): Shape {
  return perImage === undefined ? shape : [perImage, ...shape];
}

/** @throws SdqError (exit 3) where the graph is not valid */
export function layerTable(graph: Graph): LayerTable {
  const known = inferShapes(graph);
  let macs = 0;
  const layers: QuantizedLayer[] = [];
  /** Weights → the first layer that reads them. */
  const readers = new Map<string, string>();
  for (const node of graph.nodes) {
    const inputs = argumentsOf(node, (name) => known.get(name));
    const output = entry(known, item(node.outputs, 0));
    const cost = operatorOf(node).cost(node, inputs, output);
    const work = cost.macs * (output.perImage ?? 1);
    macs += work;
    const [x, w] = inputs;
    if (!isQuantized(node.op) || w === undefined || x.parameter) continue;
    const common = {
      name: node.name,
      macs: work,
      inputSigned: x.signed,
      inputValue: x.name,
      inputShape: imageShape(x),
      outputShape: imageShape(output),
    };
    if (isWeight(w)) {
      const sharedWith = readers.get(w.name);
      if (sharedWith === undefined) readers.set(w.name, node.name);
      layers.push({
        ...common,
        op: node.op,
        weight: w.name,
        params: sharedWith === undefined ? elements(w.shape) : 0,
        ...(sharedWith === undefined ? {} : {sharedWith}),
        ...(isDepthwise(node, x.shape) ? {depthwise: true as const} : {}),
      });
    } else if (node.op === 'MatMul' && !w.parameter) {
      const second = {value: w.name, signed: w.signed, shape: imageShape(w)};
      layers.push({...common, op: node.op, weight: null, params: 0, product: true, second});
    }
  }
  const parameters = graph.parameters.filter(isTrained).reduce((sum, {shape}) => sum + elements(shape), 0);
  return {layers, parameters, macs};
}

/** Layer → the first layer with the same weights, for the later ones. */
export function sharedWeights(
  layers: readonly Pick<QuantizedLayer, 'name' | 'sharedWith'>[],
): ReadonlyMap<string, string> {
  return new Map(
    layers.flatMap(({name, sharedWith}) => (sharedWith === undefined ? [] : [[name, sharedWith] as const])),
  );
}
