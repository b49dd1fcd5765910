/** A deployment as ONNX: QuantizeLinear and DequantizeLinear around integers of 8 bits, biases of 32 bits. */
import type {OnnxModel, OnnxNode, OnnxTensor} from '../../graph/onnx/proto.ts';
import {floatTensor, integerTensor, scalar} from '../../graph/onnx/tensors.ts';
import {onnxVersion, toOnnx, type OnnxParts} from '../../graph/onnx/to-onnx.ts';
import {item} from '../../lookup.ts';
import type {Deployment, Rounding} from '../../sdq/deployment/deploy.ts';
import type {ChannelIntegers} from '../../sdq/deployment/fold.ts';
import type {DeploymentRules} from '../../sdq/deployment/rules.ts';

const ranges = {int8: [-128, 127], uint8: [0, 255]} as const;

export function exportDeployed(
  {biases, graph, parameters, roundings, weights}: Deployment,
  {clip}: DeploymentRules,
): Pick<OnnxModel, 'graph' | 'irVersion' | 'opsets'> {
  const written = toOnnx(graph, parameters, (node, parts) =>
    node.inputs.map((name) => {
      const weight = weights.get(name);
      if (weight !== undefined) return dequantized(parts, name, weight, 'int8');
      const bias = biases.get(name);
      return bias === undefined ? name : dequantized(parts, name, bias, 'int32');
    }),
  );
  // Their floats, which the graph has under the same names, are not written.
  const initializers: OnnxTensor[] = written.initializers.filter(
    ({name, type}) => type !== 'float' || !(weights.has(name) || biases.has(name)),
  );
  const nodes = written.nodes.flatMap((node) => {
    const rounding = roundings.get(node.name);
    return rounding === undefined ? [node] : roundingNodes(node, rounding, clip, initializers);
  });
  // From opset 21 on, ONNX Runtime's optimizer refuses int8 (onnx-qdq.ts).
  const {irVersion, opset} = onnxVersion(graph, 20);
  return {irVersion, opsets: {'': opset}, graph: {...written, nodes, initializers}};
}

function dequantized(
  {initializers, nodes}: OnnxParts,
  name: string,
  {axis, integers, scale, shape}: ChannelIntegers,
  type: 'int32' | 'int8',
): string {
  const output = `${name}.dequantized`;
  const scaleShape = scale.length === 1 && type === 'int8' ? [] : [scale.length];
  const [step, zero] = [`${name}.scale`, `${name}.zero_point`];
  initializers.push(
    integerTensor(name, type, shape, integers),
    floatTensor(step, {shape: scaleShape, data: scale}),
    integerTensor(zero, type, scaleShape, new Float32Array(scale.length)),
  );
  nodes.push({
    name: output,
    op: 'DequantizeLinear',
    inputs: [name, step, zero],
    outputs: [output],
    attributes: scaleShape.length === 0 ? [] : [{name: 'axis', kind: 'int', value: axis}],
  });
  return output;
}

function roundingNodes(
  {inputs, name}: OnnxNode,
  {max, min, scale, type, zeroPoint}: Rounding,
  clip: DeploymentRules['clip'],
  initializers: OnnxTensor[],
): OnnxNode[] {
  const [step, zero] = [`${name}.scale`, `${name}.zero_point`];
  initializers.push(scalar(step, scale), integerTensor(zero, type, [], [zeroPoint]));
  const node = (op: string, output: string, read: readonly string[]): OnnxNode => ({
    name: output,
    op,
    inputs: read,
    outputs: [output],
  });
  const bounds = [`${name}.least`, `${name}.greatest`];
  const limits = [min, max];
  const isNarrow = min > ranges[type][0] || max < ranges[type][1];
  const before: OnnxNode[] = [];
  const behind: OnnxNode[] = [];
  let [value] = inputs as [string];
  let integers = `${name}.quantized`;
  if (isNarrow && clip === 'float') {
    limits.forEach((limit, i) => initializers.push(scalar(item(bounds, i), (limit - zeroPoint) * scale)));
    before.push(node('Clip', `${name}.bounded`, [value, ...bounds]));
    value = `${name}.bounded`;
  }
  if (isNarrow && clip === 'integer') {
    limits.forEach((limit, i) => initializers.push(integerTensor(item(bounds, i), type, [], [limit])));
    behind.push(node('Clip', `${name}.clipped`, [integers, ...bounds]));
  }
  const quantize = node('QuantizeLinear', integers, [value, step, zero]);
  if (behind.length > 0) integers = `${name}.clipped`;
  return [...before, quantize, ...behind, node('DequantizeLinear', name, [integers, step, zero])];
}
