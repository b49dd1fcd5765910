/** What a cost model has to know of a layer: sizes alone, no tensors. */
import type {Graph} from '../graph/graph.ts';
import {hasWeights, lastLayers, layerTable, type ProductLayer} from '../graph/layer-table.ts';
import {elements, integer} from '../graph/ops/operator.ts';
import {asImages} from '../graph/ops/rows.ts';
import {slidingWindow} from '../graph/ops/window.ts';
import {entry, last} from '../lookup.ts';

type Pair = readonly [height: number, width: number];

export interface LayerGeometry {
  /** Name of the node. */
  readonly name: string;
  readonly op: 'Conv' | 'Gemm' | 'MatMul';
  readonly inputChannels: number;
  readonly outputChannels: number;
  /** [1, 1] for Gemm and MatMul. */
  readonly kernel: Pair;
  readonly strides: Pair;
  readonly dilations: Pair;
  readonly groups: number;
  /** A Conv whose groups have one input channel each. */
  readonly depthwise: boolean;
  /** Without padding; [rows, 1] for MatMul. */
  readonly inputSize: Pair;
  readonly outputSize: Pair;
  /** Number of weights, those of another layer included; of a product, values of its second input for one sample. */
  readonly params: number;
  /** A MatMul of two activations: the second has the part of weights, of its own for each sample. Its heads are `groups`. */
  readonly product?: true;
  /** Whether an earlier layer has the same weights: they take memory once. */
  readonly sharesWeights: boolean;
  /** Multiply-accumulates for one sample. */
  readonly macs: number;
  /** Whether a value of the input can be negative. */
  readonly inputSigned: boolean;
  /** The network's first quantized layer. */
  readonly first: boolean;
  /** The last one of an output. */
  readonly last: boolean;
}

/** Values of a layer's input for one sample. */
export const inputValues = ({inputChannels, inputSize}: LayerGeometry): number =>
  inputChannels * inputSize[0] * inputSize[1];

/** What the input is multiplied by in a whole batch: weights, which all samples share, or a product's second input. */
export const secondValues = ({params, product}: LayerGeometry, batch: number): number =>
  product === true ? batch * params : params;

/** Values of a layer's output for one sample. */
export const outputValues = ({outputChannels, outputSize}: LayerGeometry): number =>
  outputChannels * outputSize[0] * outputSize[1];

/**
 * The geometry of every quantized layer, in the order of `layerTable(graph).layers`.
 * @throws SdqError (exit 3) where the graph is not valid
 */
export function layerGeometries(graph: Graph): LayerGeometry[] {
  const {layers} = layerTable(graph);
  const lastOnes = new Set(
    lastLayers(
      graph,
      layers.map(({name}) => name),
    ),
  );
  const nodes = new Map(graph.nodes.map((node) => [node.name, node]));
  const shapes = new Map(graph.parameters.map(({name, shape}) => [name, shape]));
  return layers.map((layer, l): LayerGeometry => {
    const common = {
      name: layer.name,
      op: layer.op,
      depthwise: layer.depthwise === true,
      params: elements(hasWeights(layer) ? entry(shapes, layer.weight) : layer.second.shape),
      sharesWeights: layer.sharedWith !== undefined,
      macs: layer.macs,
      inputSigned: layer.inputSigned,
      first: l === 0,
      last: lastOnes.has(layer.name),
    };
    if (!hasWeights(layer)) return {...common, ...productGeometry(layer)};
    if (layer.op === 'Conv') {
      const rows = layer.inputShape.length === 2;
      const node = rows ? asImages(entry(nodes, layer.name)) : entry(nodes, layer.name);
      const [inputChannels, ...size] = layer.inputShape as readonly [number, ...number[]];
      const [outputChannels, , ...taps] = shapes.get(layer.weight) as readonly [number, number, ...number[]];
      const [height, width] = (rows ? [1, ...size] : size) as [number, number];
      const [kernelHeight, kernelWidth] = (rows ? [1, ...taps] : taps) as [number, number];
      const {kernel, strides, dilations, output} = slidingWindow(node, [height, width], [kernelHeight, kernelWidth]);
      return {
        ...common,
        inputChannels,
        outputChannels,
        kernel,
        strides,
        dilations,
        groups: integer(node, 'group', 1, 1),
        inputSize: [height, width],
        outputSize: [output[0], output[1]],
      };
    }
    const rows = layer.inputShape.slice(0, -1).reduce((product, size) => product * size, 1);
    return {
      ...common,
      inputChannels: last(layer.inputShape),
      outputChannels: last(layer.outputShape),
      kernel: [1, 1],
      strides: [1, 1],
      dilations: [1, 1],
      groups: 1,
      inputSize: [rows, 1],
      outputSize: [rows, 1],
    };
  });
}

/** [..., rows, n] · [..., n, columns]: the matrices of a sample are groups; one that is broadcast counts for each that reads it. */
function productGeometry({
  inputShape,
  outputShape,
}: ProductLayer): Omit<
  LayerGeometry,
  'name' | 'op' | 'depthwise' | 'params' | 'sharesWeights' | 'macs' | 'inputSigned' | 'first' | 'last'
> {
  const [rows, columns] = outputShape.slice(-2) as [number, number];
  const groups = elements(outputShape.slice(0, -2));
  return {
    product: true,
    inputChannels: groups * last(inputShape),
    outputChannels: groups * columns,
    kernel: [1, 1],
    strides: [1, 1],
    dilations: [1, 1],
    groups,
    inputSize: [rows, 1],
    outputSize: [rows, 1],
  };
}
