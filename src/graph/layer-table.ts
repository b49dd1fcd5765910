/** The layers that quantization is about, with their cost; and the cost of the whole network. */
import {isTrained, type Graph, type Node, type Shape} from './graph.ts';
import {elements, type Operand} from './ops/operator.ts';
import {inferShapes, operatorOf} from './shape.ts';

type QuantizedOperator = 'Conv' | 'Gemm' | 'MatMul';

export interface QuantizedLayer {
  /** Name of the node. */
  readonly name: string;
  readonly op: QuantizedOperator;
  /** Name of the parameter that is quantized. */
  readonly weight: string;
  /** Weights only: the n_l of the method; 0 with `sharedWith`, so that a sum counts each tensor once. */
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

/** Whether an operand can be a layer's weights. The products of attention are of two values: they stay in full precision. */
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
    const inputs = node.inputs.filter((name) => name !== '').map((name) => known.get(name)!);
    const output = known.get(node.outputs[0]!)!;
    const cost = operatorOf(node).cost(node, inputs, output);
    const work = cost.macs * (output.perImage ?? 1);
    macs += work;
    const [x, w] = inputs;
    if (isQuantized(node.op) && isWeight(w!) && !x!.parameter) {
      const sharedWith = readers.get(w!.name);
      if (sharedWith === undefined) readers.set(w!.name, node.name);
      layers.push({
        name: node.name,
        op: node.op,
        weight: w!.name,
        params: sharedWith === undefined ? elements(w!.shape) : 0,
        ...(sharedWith === undefined ? {} : {sharedWith}),
        macs: work,
        ...(isDepthwise(node, x!.shape) ? {depthwise: true as const} : {}),
        inputSigned: x!.signed,
        inputValue: x!.name,
        inputShape: imageShape(x!),
        outputShape: imageShape(output),
      });
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
