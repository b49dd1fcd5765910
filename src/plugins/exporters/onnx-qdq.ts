/**
 * ONNX with QuantizeLinear and DequantizeLinear: integers of the weights as they are stored, inputs through the integers and
 * back. A grid without zero (offset ½) is written in half steps: twice as many integers, of which every other one is used.
 */
import {present} from '../../lookup.ts';
import type {DataType, OnnxModel} from '../../graph/onnx/proto.ts';
import {floatTensor, integerTensor, scalar} from '../../graph/onnx/tensors.ts';
import {onnxVersion, type OnnxParts} from '../../graph/onnx/to-onnx.ts';
import type {IntegerNetwork, LayerInput, LayerWeights} from '../../sdq/integer-network.ts';
import {tieShift} from '../../tensor/kernels.ts';
import type {Opset} from '../../graph/ops/operator.ts';
import {quantizedGraph} from './quantized-graph.ts';

type IntegerType = Exclude<DataType, 'float' | 'int32' | 'int64'>;

/** A type that holds weights, and the oldest opset that has it in DequantizeLinear. */
interface Container {
  readonly type: IntegerType;
  readonly min: number;
  readonly max: number;
  readonly opset: Opset;
}

/** Smallest first. */
const containers: readonly Container[] = [
  {type: 'int2', min: -2, max: 1, opset: 25},
  {type: 'int4', min: -8, max: 7, opset: 21},
  {type: 'int8', min: -128, max: 127, opset: 20},
  {type: 'int16', min: -32768, max: 32767, opset: 21},
];

/**
 * The file has the oldest opset that holds its weights.
 * @param newest opset that it may have: 21 stores 1 and 2 bits in 4; 25 stores them in 2
 */
export function exportQdq(network: IntegerNetwork, newest: 21 | 25): Pick<OnnxModel, 'graph' | 'irVersion' | 'opsets'> {
  const least = [...network.layers.values()]
    .flatMap(({weights}) => (weights === null ? [] : [containerOf(weights, newest).opset]))
    .reduce<Opset>((most, opset) => (opset > most ? opset : most), 20);
  const {irVersion, opset} = onnxVersion(network.graph, least);
  const graph = quantizedGraph(network, {
    input: (parts, site, x, input) => quantizedInput(parts, site, x, input, opset),
    weights: (parts, layer, weights) => dequantized(parts, layer, weights, newest),
  });
  return {irVersion, opsets: {'': opset}, graph};
}

/** The stored index of the grid: in half steps where the grid has no zero. */
const integerOf = ({grid}: LayerWeights, index: number): number => (grid.offset === 0.5 ? 2 * index + 1 : index);

function containerOf(weights: LayerWeights, newest: number): Container {
  const {qmax, qmin} = weights.grid;
  const holds = ({max, min, opset}: Container): boolean =>
    opset <= newest && min <= integerOf(weights, qmin) && integerOf(weights, qmax) <= max;
  return present(containers.find(holds), 'integer type of these weights');
}

/** Writes a constant of integers and the node that makes weights of them. @returns the name of the weights */
function dequantized({initializers, nodes}: OnnxParts, layer: string, weights: LayerWeights, newest: number): string {
  const {axis, grid, indices, scale, shape} = weights;
  const {type} = containerOf(weights, newest);
  const [integers, step, output] = [`${layer}.weight_integers`, `${layer}.weight_scale`, `${layer}.weight_dequantized`];
  initializers.push(
    integerTensor(
      integers,
      type,
      shape,
      indices.map((index) => integerOf(weights, index)),
    ),
    floatTensor(step, {
      shape: scale.length === 1 ? [] : [scale.length],
      data: grid.offset === 0.5 ? scale.map((value) => value / 2) : scale,
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

/**
 * Writes the nodes that round an input to its grid. QuantizeLinear has a type of its own from opset 21. ONNX Runtime 1.32 then refuses
 * int8: its optimizer turns int8 into uint8 and leaves that type. So signed integers are uint8 around 128 there.
 * @returns the name of the result
 */
function quantizedInput(
  {initializers, nodes}: OnnxParts,
  layer: string,
  x: string,
  {grid, scale}: LayerInput,
  opset: number,
): string {
  const isSigned = grid.qmin < 0;
  const type = isSigned && opset < 21 ? 'int8' : 'uint8';
  const zeroPoint = isSigned && type === 'uint8' ? 128 : 0;
  const [qmin, qmax] = [grid.qmin + zeroPoint, grid.qmax + zeroPoint];
  const [least, greatest] = type === 'int8' ? [-128, 127] : [0, 255];
  const name = (suffix: string): string => `${layer}.input_${suffix}`;
  const add = (op: string, suffix: string, inputs: readonly string[]): string => {
    nodes.push({name: name(suffix), op, inputs, outputs: [name(suffix)]});
    return name(suffix);
  };
  initializers.push(scalar(name('scale'), scale), integerTensor(name('zero_point'), type, [], [zeroPoint]));
  let value = x;
  if (grid.offset === 0.5) {
    initializers.push(scalar(name('half_step'), scale / 2), scalar(name('threshold'), (scale / 2) * (1 - tieShift)));
    value = add('Sub', 'shifted', [value, name('threshold')]);
  }
  value = add('QuantizeLinear', 'quantized', [value, name('scale'), name('zero_point')]);
  if (qmin > least || qmax < greatest) {
    initializers.push(
      integerTensor(name('least'), type, [], [qmin]),
      integerTensor(name('greatest'), type, [], [qmax]),
    );
    value = add('Clip', 'clipped', [value, name('least'), name('greatest')]);
  }
  value = add('DequantizeLinear', 'dequantized', [value, name('scale'), name('zero_point')]);
  return grid.offset === 0.5 ? add('Add', 'restored', [value, name('half_step')]) : value;
}
