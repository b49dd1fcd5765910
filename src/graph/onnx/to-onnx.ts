/** A network as an ONNX graph, float32 throughout; what a format does to weights and inputs it says for each node. */
import {entry} from '../../lookup.ts';
import type {Attribute, Graph, Node, Weights} from '../graph.ts';
import type {Opset} from '../ops/operator.ts';
import {inferShapes, operatorOf} from '../shape.ts';
import type {OnnxAttribute, OnnxModel, OnnxNode, OnnxTensor} from './proto.ts';
import {floatTensor} from './tensors.ts';

/** What is written so far; a format adds its own nodes and constants before the node that reads them. */
export interface OnnxParts {
  readonly nodes: OnnxNode[];
  readonly initializers: OnnxTensor[];
}

const floats = new Set(['alpha', 'beta', 'cubic_coeff_a', 'epsilon', 'gamma', 'momentum']);

/** ONNX's number of the type. */
const boolType = 9;

function attributeOf(name: string, value: Attribute): OnnxAttribute {
  if (typeof value === 'string') return {name, kind: 'string', value};
  if (typeof value === 'number') return {name, kind: floats.has(name) ? 'float' : 'int', value};
  return {name, kind: 'ints', value};
}

/** IR versions that go with the opsets of files. */
const irVersions: Readonly<Record<Opset, number>> = {17: 8, 20: 9, 21: 10, 25: 13};

/** The version of ONNX for a graph: `least`, or the oldest one that has all its operators as `toOnnx` writes them. */
export function onnxVersion({nodes}: Graph, least: Opset): {readonly opset: Opset; readonly irVersion: number} {
  const opset = nodes.reduce((most, node) => {
    const since = operatorOf(node).since?.(node) ?? most;
    return since > most ? since : most;
  }, least);
  return {opset, irVersion: irVersions[opset]};
}

/** @param inputsOf the names that a node reads in place of its own inputs */
export function toOnnx(
  graph: Graph,
  weights: Weights,
  inputsOf: (node: Node, parts: OnnxParts) => readonly string[],
): OnnxModel['graph'] {
  const parts: OnnxParts = {nodes: [], initializers: []};
  const stored = new Set(graph.parameters.map(({name}) => name));
  for (const node of graph.nodes) {
    const {
      constants,
      computed,
      conditions = [],
      ...form
    } = operatorOf(node).toOnnx?.(node, graph.input.name) ?? {
      op: node.op,
      attributes: node.attributes,
      constants: [],
    };
    const inputs = inputsOf(node, parts).map((input, index) => {
      if (!conditions.includes(index) || !stored.has(input)) return input;
      const name = `${node.name}.condition${index}`;
      parts.nodes.push({name, op: 'Cast', inputs: [input], outputs: [name], attributes: [attributeOf('to', boolType)]});
      return name;
    });
    parts.initializers.push(...constants, ...(computed?.constants ?? []));
    for (const {op, inputs: read, output, attributes} of computed?.nodes ?? []) {
      const written = Object.entries(attributes).map(([name, value]) => attributeOf(name, value));
      parts.nodes.push({name: output, op, inputs: read, outputs: [output], attributes: written});
    }
    parts.nodes.push({
      name: node.name,
      op: form.op,
      inputs: [
        ...inputs,
        ...constants.map(({name}) => name),
        ...(computed?.nodes.slice(-1).map(({output}) => output) ?? []),
      ],
      outputs: node.outputs,
      attributes: Object.entries(form.attributes).map(([name, value]) => attributeOf(name, value)),
    });
  }
  const read = new Set(parts.nodes.flatMap(({inputs}) => inputs));
  const parameters = graph.parameters
    .filter(({name}) => read.has(name))
    .map(({name}) => floatTensor(name, entry(weights, name)));
  const shapes = inferShapes(graph);
  return {
    name: graph.name,
    nodes: parts.nodes,
    initializers: [...parameters, ...parts.initializers],
    inputs: [{name: graph.input.name, shape: ['N', ...graph.input.shape]}],
    outputs: graph.outputs.map((output) => ({name: output, shape: ['N', ...entry(shapes, output).shape]})),
  };
}
