/** What the formats share: which nodes read rounded inputs and weights. */
import {siteId} from '../../graph/layer-table.ts';
import type {OnnxModel} from '../../graph/onnx/proto.ts';
import {toOnnx, type OnnxParts} from '../../graph/onnx/to-onnx.ts';
import {item} from '../../lookup.ts';
import {elements} from '../../graph/ops/operator.ts';
import type {IntegerNetwork, LayerInput, LayerWeights} from '../../sdq/integer-network.ts';

/** How a format writes constants and nodes for a layer. Each returns the name of the result. */
interface Writer {
  /** @param site id of the activation: prefix of the names */
  input(parts: OnnxParts, site: string, x: string, input: LayerInput): string;
  weights(parts: OnnxParts, layer: string, weights: LayerWeights): string;
}

/** The network as ONNX, its layers reading what the format makes of their inputs and weights. */
export function quantizedGraph({graph, layers, parameters}: IntegerNetwork, write: Writer): OnnxModel['graph'] {
  /** Weights → what the first layer that reads them has written. */
  const written = new Map<string, string>();
  return toOnnx(graph, parameters, (node, parts) => {
    const layer = layers.get(node.name);
    if (layer === undefined) return node.inputs;
    const [x, w, ...bias] = node.inputs as [string, string, ...string[]];
    const [first, second] = layer.inputs.map((grid, operand) => {
      const value = item(node.inputs, operand);
      return grid === null ? value : write.input(parts, siteId(node.name, operand), value, grid);
    });
    const input = first ?? x;
    if (second !== undefined) return [input, second];
    const weights = layer.weights === null ? w : (written.get(w) ?? write.weights(parts, node.name, layer.weights));
    written.set(w, weights);
    return [input, weights, ...bias];
  });
}

/** The weights as the grid has them, in the shape of the tensor. */
export function weightValues({axis, grid, indices, scale, shape}: LayerWeights): Float32Array {
  const inner = elements(shape.slice(axis + 1));
  return indices.map((index, i) => item(scale, Math.floor(i / inner) % scale.length) * (index + grid.offset));
}
