/**
 * QONNX (https://github.com/fastmachinelearning/qonnx): float weights and inputs behind nodes `Quant` and, at 1 bit,
 * `BipolarQuant`, which FINN and hls4ml read. The file brings the two operators along as functions of ONNX's own, so that any
 * runtime runs it.
 */
import type {Graph} from '../../graph/graph.ts';
import type {OnnxAttribute, OnnxFunction, OnnxModel, OnnxNode} from '../../graph/onnx/proto.ts';
import {floatTensor, scalar} from '../../graph/onnx/tensors.ts';
import {onnxVersion, type OnnxParts} from '../../graph/onnx/to-onnx.ts';
import {isReadOnce} from '../../graph/own-input.ts';
import type {IntegerNetwork, LayerInput, LayerWeights} from '../../sdq/integer-network.ts';
import {tieShift, type Grid} from '../../tensor/kernels.ts';
import {quantizedGraph, weightValues} from './quantized-graph.ts';

const domain = 'qonnx.custom_op.general';

export function exportQonnx(network: IntegerNetwork): Pick<OnnxModel, 'functions' | 'graph' | 'irVersion' | 'opsets'> {
  const {irVersion, opset} = onnxVersion(network.graph, 17);
  return {
    irVersion,
    opsets: {'': opset, [domain]: 1},
    functions: [
      {...quant, opset},
      {...bipolarQuant, opset},
    ],
    graph: quantizedGraph(network, {
      input: (parts, layer, x, input) => {
        const isPlain = input.grid.qmin < 0 || isRectifiedForOne(network.graph, x);
        return quantizedInput(parts, layer, isPlain ? x : rectified(parts, layer, x), input);
      },
      weights: quantizedWeights,
    }),
  };
}

/** Whether a value comes from a Relu that nothing else reads. */
function isRectifiedForOne(graph: Graph, value: string): boolean {
  return isReadOnce(graph, value) && graph.nodes.some(({op, outputs}) => op === 'Relu' && outputs.includes(value));
}

/**
 * A Relu of the quantizer's own. It changes no result, as an unsigned grid has no negative value, but FINN needs it: it refuses an
 * unsigned `Quant` behind anything else, and takes the Relu before it away even where others read it.
 */
function rectified({nodes}: OnnxParts, layer: string, x: string): string {
  const value = `${layer}.input_rectified`;
  nodes.push({name: value, op: 'Relu', inputs: [x], outputs: [value]});
  return value;
}

/** The weights as the grid has them, behind a node that says which grid. */
function quantizedWeights(parts: OnnxParts, layer: string, weights: LayerWeights): string {
  const {axis, scale, shape} = weights;
  const values = floatTensor(`${layer}.weight_values`, {shape, data: weightValues(weights)});
  parts.initializers.push(values);
  const scaleShape = scale.length === 1 ? [] : shape.map((size, i) => (i === axis ? size : 1));
  return quantizerNode(parts, `${layer}.weight`, values.name, weights, {shape: scaleShape, data: scale});
}

/** `BipolarQuant` has its threshold at 0: an addition moves that of the grid there. */
function quantizedInput(parts: OnnxParts, layer: string, x: string, input: LayerInput): string {
  let value = x;
  if (isBipolar(input.grid)) {
    const shift = `${layer}.input_shift`;
    value = `${layer}.input_shifted`;
    parts.initializers.push(scalar(shift, (input.scale / 2) * tieShift));
    parts.nodes.push({name: value, op: 'Add', inputs: [x, shift], outputs: [value]});
  }
  return quantizerNode(parts, `${layer}.input`, value, input, {shape: [], data: Float32Array.of(input.scale)});
}

const isBipolar = ({qmin, qmax}: Grid): boolean => qmin === -1 && qmax === 0;

function quantizerNode(
  {initializers, nodes}: OnnxParts,
  name: string,
  value: string,
  {bits, grid}: Pick<LayerInput, 'bits' | 'grid'>,
  scale: {readonly shape: readonly number[]; readonly data: Float32Array},
): string {
  const output = `${name}_quantized`;
  const step = `${name}_scale`;
  initializers.push(floatTensor(step, isBipolar(grid) ? {...scale, data: scale.data.map((s) => s / 2)} : scale));
  if (isBipolar(grid)) {
    nodes.push({name: output, op: 'BipolarQuant', domain, inputs: [value, step], outputs: [output]});
    return output;
  }
  const [zeroPoint, bitwidth] = [`${name}_zero_point`, `${name}_bitwidth`];
  initializers.push(scalar(zeroPoint, -grid.offset || 0), scalar(bitwidth, bits));
  const isSigned = grid.qmin < 0;
  nodes.push({
    name: output,
    op: 'Quant',
    domain,
    inputs: [value, step, zeroPoint, bitwidth],
    outputs: [output],
    attributes: [
      {name: 'signed', kind: 'int', value: isSigned ? 1 : 0},
      {name: 'narrow', kind: 'int', value: isSigned && grid.qmin > -(2 ** (bits - 1)) ? 1 : 0},
      {name: 'rounding_mode', kind: 'string', value: 'ROUND'},
    ],
  });
  return output;
}

const step = (op: string, output: string, inputs: readonly string[], ...attributes: OnnxAttribute[]): OnnxNode => ({
  name: output,
  op,
  inputs,
  outputs: [output],
  attributes,
});
const constant = (name: string, value: number): OnnxNode =>
  step('Constant', name, [], {name: 'value_float', kind: 'float', value});

/** An attribute of the caller as a float. */
const argument = (name: string): readonly OnnxNode[] => [
  step('Constant', `${name}_integer`, [], {name: 'value_int', kind: 'int', reference: name}),
  step('Cast', name, [`${name}_integer`], {name: 'to', kind: 'int', value: 1}),
];

/** y = (clip(round_half_even(x / scale + zero_point), least, greatest) − zero_point) · scale. */
const quant: Omit<OnnxFunction, 'opset'> = {
  domain,
  name: 'Quant',
  inputs: ['x', 'scale', 'zero_point', 'bitwidth'],
  outputs: ['y'],
  attributes: ['signed', 'narrow', 'rounding_mode'],
  nodes: [
    ...argument('signed'),
    ...argument('narrow'),
    constant('one', 1),
    constant('two', 2),
    step('Pow', 'levels', ['two', 'bitwidth']),
    // Signed: −2^(b−1) (+ 1 where narrow) … 2^(b−1) − 1; unsigned: 0 … 2^b − 1 (− 1 where narrow).
    step('Div', 'half', ['levels', 'two']),
    step('Mul', 'below', ['signed', 'half']),
    step('Mul', 'signed_narrow', ['signed', 'narrow']),
    step('Sub', 'least', ['signed_narrow', 'below']),
    step('Sub', 'unsigned_narrow', ['narrow', 'signed_narrow']),
    step('Sub', 'above', ['levels', 'below']),
    step('Sub', 'highest', ['above', 'one']),
    step('Sub', 'greatest', ['highest', 'unsigned_narrow']),
    step('Div', 'scaled', ['x', 'scale']),
    step('Add', 'position', ['scaled', 'zero_point']),
    step('Round', 'rounded', ['position']),
    step('Max', 'raised', ['rounded', 'least']),
    step('Min', 'clipped', ['raised', 'greatest']),
    step('Sub', 'index', ['clipped', 'zero_point']),
    step('Mul', 'y', ['index', 'scale']),
  ],
};

/** y = scale where x ≥ 0, else −scale. */
const bipolarQuant: Omit<OnnxFunction, 'opset'> = {
  domain,
  name: 'BipolarQuant',
  inputs: ['x', 'scale'],
  outputs: ['y'],
  attributes: [],
  nodes: [
    constant('zero', 0),
    constant('one', 1),
    constant('minus_one', -1),
    step('GreaterOrEqual', 'is_positive', ['x', 'zero']),
    step('Where', 'sign', ['is_positive', 'one', 'minus_one']),
    step('Mul', 'y', ['sign', 'scale']),
  ],
};
