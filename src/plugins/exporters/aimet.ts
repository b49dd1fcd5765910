/**
 * The network in float, its weights on their grids, for tools that round tensors by a file of encodings. Such a tool rounds a tensor for
 * all that read it. So the input of a layer that others read too, as the sum of a residual block does, is copied for the layer.
 */
import {hasWeights, layerTable} from '../../graph/layer-table.ts';
import type {OnnxModel} from '../../graph/onnx/proto.ts';
import {scalar} from '../../graph/onnx/tensors.ts';
import {onnxVersion, toOnnx} from '../../graph/onnx/to-onnx.ts';
import {ownInput} from '../../graph/own-input.ts';
import type {IntegerNetwork} from '../../sdq/integer-network.ts';
import {weightValues} from './quantized-graph.ts';

export function exportAimet({
  graph,
  layers,
  parameters,
}: IntegerNetwork): Pick<OnnxModel, 'graph' | 'irVersion' | 'opsets'> {
  const values = new Map(parameters);
  const readers = new Map(
    layerTable(graph)
      .layers.filter(hasWeights)
      .map((layer) => [layer.name, layer]),
  );
  for (const {name, weight} of readers.values()) {
    const weights = layers.get(name)?.weights ?? null;
    if (weights !== null) values.set(weight, {shape: weights.shape, data: weightValues(weights)});
  }
  const written = toOnnx(graph, values, (node, {initializers, nodes}) => {
    const layer = readers.get(node.name);
    const [grid = null] = layers.get(node.name)?.inputs ?? [];
    if (layer === undefined || grid === null) return node.inputs;
    const input = ownInput(graph, layer);
    if (input === layer.inputValue) return node.inputs;
    // Clip is no operator whose input AIMET rounds as its output, as it does a Relu's or an Identity's.
    const bounds = layer.inputSigned ? [] : [scalar(`${input}_least`, 0)];
    initializers.push(...bounds);
    nodes.push({
      name: input,
      op: 'Clip',
      inputs: [layer.inputValue, ...bounds.map(({name}) => name)],
      outputs: [input],
    });
    return [input, ...node.inputs.slice(1)];
  });
  const {irVersion, opset} = onnxVersion(graph, 20);
  return {irVersion, opsets: {'': opset}, graph: written};
}
