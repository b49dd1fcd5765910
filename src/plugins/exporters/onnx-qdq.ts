/**
 * ONNX with QuantizeLinear and DequantizeLinear: integers of the weights as they are stored, inputs through the integers and
 * back. A grid without zero (offset ½) is written in half steps: twice as many integers, of which every other one is used.
 */
import {present} from '../../lookup.ts';
import type {DataType, OnnxModel} from '../../graph/onnx/proto.ts';
import {floatTensor, integerTensor, scalar} from '../../graph/onnx/tensors.ts';
import type {OnnxParts} from '../../graph/onnx/to-onnx.ts';
import type {IntegerNetwork, LayerInput, LayerWeights} from '../../sdq/integer-network.ts';
import {tieShift} from '../../tensor/kernels.ts';
import {quantizedGraph} from './quantized-graph.ts';

type IntegerType = Exclude<DataType, 'float' | 'int32' | 'int64'>;

/** Ranges of the types that hold weights, smallest first, and the opset that has them. */
const types: readonly {
  readonly type: IntegerType;
  readonly min: number;
  readonly max: number;
  readonly opset: number;
}[] = [
  {type: 'int2', min: -2, max: 1, opset: 25},
  {type: 'int4', min: -8, max: 7, opset: 21},
  {type: 'int8', min: -128, max: 127, opset: 21},
  {type: 'int16', min: -32768, max: 32767, opset: 21},
];

/** IR versions that go with the opsets. */
const irVersions = {21: 10, 25: 13} as const;

/** @param opset 21 stores 1 and 2 bits in 4; 25 stores them in 2 */
export function exportQdq(
  network: IntegerNetwork,
  opset: keyof typeof irVersions,
): Pick<OnnxModel, 'graph' | 'irVersion' | 'opsets'> {
  const graph = quantizedGraph(network, {
    input: quantizedInput,
    weights: (parts, layer, weights) => dequantized(parts, layer, weights, opset),
  });
  return {irVersion: irVersions[opset], opsets: {'': opset}, graph};
}

/** Writes a constant of integers and the node that makes weights of them. @returns the name of the weights */
function dequantized({initializers, nodes}: OnnxParts, layer: string, weights: LayerWeights, opset: number): string {
  const {axis, grid, indices, scale, shape} = weights;
  const isHalf = grid.offset === 0.5;
  const integer = (index: number): number => (isHalf ? 2 * index + 1 : index);
  const {type} = present(
    types.find(({max, min, opset: since}) => since <= opset && min <= integer(grid.qmin) && integer(grid.qmax) <= max),
    'integer type of these weights',
  );
  const [integers, step, output] = [`${layer}.weight_integers`, `${layer}.weight_scale`, `${layer}.weight_dequantized`];
  initializers.push(
    integerTensor(integers, type, shape, indices.map(integer)),
    floatTensor(step, {
      shape: scale.length === 1 ? [] : [scale.length],
      data: isHalf ? scale.map((value) => value / 2) : scale,
    }),
  );
  nodes.push({
    name: output,
    op: 'DequantizeLinear',
    inputs: [integers, step],
    outputs: [output],
    attributes: scale.length === 1 ? [] : [{name: 'axis', kind: 'int', value: axis}],
  });
  return output;
}

/** Writes the nodes that round an input to its grid. @returns the name of the result */
function quantizedInput({initializers, nodes}: OnnxParts, layer: string, x: string, input: LayerInput): string {
  const {grid, scale} = input;
  const type = grid.qmin < 0 ? 'int8' : 'uint8';
  const [least, greatest] = type === 'int8' ? [-128, 127] : [0, 255];
  const name = (suffix: string): string => `${layer}.input_${suffix}`;
  const add = (op: string, suffix: string, inputs: readonly string[]): string => {
    nodes.push({name: name(suffix), op, inputs, outputs: [name(suffix)]});
    return name(suffix);
  };
  initializers.push(scalar(name('scale'), scale), integerTensor(name('zero_point'), type, [], [0]));
  let value = x;
  if (grid.offset === 0.5) {
    initializers.push(scalar(name('half_step'), scale / 2), scalar(name('threshold'), (scale / 2) * (1 - tieShift)));
    value = add('Sub', 'shifted', [value, name('threshold')]);
  }
  value = add('QuantizeLinear', 'quantized', [value, name('scale'), name('zero_point')]);
  if (grid.qmin > least || grid.qmax < greatest) {
    initializers.push(
      integerTensor(name('least'), type, [], [grid.qmin]),
      integerTensor(name('greatest'), type, [], [grid.qmax]),
    );
    value = add('Clip', 'clipped', [value, name('least'), name('greatest')]);
  }
  value = add('DequantizeLinear', 'dequantized', [value, name('scale'), name('zero_point')]);
  return grid.offset === 0.5 ? add('Add', 'restored', [value, name('half_step')]) : value;
}
