/** The heads of a network: from the last layers with weights to its outputs. Their shapes depend on the number of classes. */
import {SdqError} from '../errors.ts';
import {entry} from '../lookup.ts';
import type {Graph, Node, Parameter} from './graph.ts';
import {outputAxisOf} from './layer-table.ts';
import {elements} from './ops/operator.ts';
import {leadingTo} from './reachable.ts';
import {inferShapes} from './shape.ts';

interface Head {
  /** All nodes, in the graph's order. */
  readonly nodes: readonly Node[];
  /** Those with weights: on each way from the output back, the first that is met. */
  readonly layers: readonly Node[];
}

function headOf({nodes, parameters}: Graph, output: string): Head {
  const weights = new Set(parameters.filter(({role}) => role === 'weight').map(({name}) => name));
  const producers = new Map(nodes.flatMap((node) => node.outputs.map((name): [string, Node] => [name, node])));
  const reached = new Set<Node>();
  const layers = new Set<Node>();
  const open = [output];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = producers.get(name);
    if (node === undefined || reached.has(node)) continue;
    reached.add(node);
    if (node.inputs.some((input) => weights.has(input))) layers.add(node);
    else open.push(...node.inputs);
  }
  return {nodes: nodes.filter((node) => reached.has(node)), layers: nodes.filter((node) => layers.has(node))};
}

/** The names of the heads' parameters. What another output's head is computed from is no head. */
export function headParameters(graph: Graph): ReadonlySet<string> {
  const heads = graph.outputs.map((output) => headOf(graph, output)).filter(({layers}) => layers.length > 0);
  const inputs = heads.flatMap(({layers}) => layers.flatMap((layer) => layer.inputs));
  const body = new Set(leadingTo(graph.nodes, inputs));
  const names = new Set(graph.parameters.map(({name}) => name));
  return new Set(
    heads
      .flatMap(({nodes}) => nodes)
      .filter((node) => !body.has(node))
      .flatMap((node) => node.inputs.filter((input) => names.has(input))),
  );
}

/** The axis of a parameter that has one place for each class; undefined where none or several may be it. */
function classAxis(node: Node, {role, shape}: Parameter, classes: number): number | undefined {
  if (role === 'weight') return shape[outputAxisOf(node)] === classes ? outputAxisOf(node) : undefined;
  const axis = shape.indexOf(classes);
  return axis >= 0 && axis === shape.lastIndexOf(classes) ? axis : undefined;
}

/**
 * The graph with other classes: its last layers have as many outputs as there are classes. Fresh ones are drawn as PyTorch draws
 * `nn.Linear`, uniform within 1 / √(inputs).
 * @param output that has a row of values for each image, one for each class
 * @returns undefined where the number of classes is not that of the last layers alone
 */
export function withClasses(graph: Graph, output: string, classes: number): Graph | undefined {
  const [before = 0] = entry(inferShapes(graph), output).shape;
  const head = headOf(graph, output);
  const headNodes = new Set(head.nodes);
  const readElsewhere = new Set(graph.nodes.filter((node) => !headNodes.has(node)).flatMap(({inputs}) => inputs));
  const parameters = new Map(graph.parameters.map((parameter) => [parameter.name, parameter]));
  for (const node of head.nodes) {
    for (const name of node.inputs) {
      const parameter = parameters.get(name);
      const axis = parameter && classAxis(node, parameter, before);
      if (parameter === undefined || axis === undefined) continue;
      if (readElsewhere.has(name) || parameter.role === 'constant') return undefined;
      const {role, initializer, shape} = parameter;
      const bound = Math.sqrt(before / elements(shape));
      parameters.set(name, {
        ...parameter,
        shape: shape.with(axis, classes),
        initializer: role === 'weight' ? {kind: 'uniform', bound} : initializer,
      });
    }
  }
  const nodes = graph.nodes.map((node) => (headNodes.has(node) ? regrouped(node, before, classes) : node));
  const changed = {...graph, nodes, parameters: [...parameters.values()]};
  try {
    return entry(inferShapes(changed), output).shape.join() === String(classes) ? changed : undefined;
  } catch (error) {
    if (error instanceof SdqError) return undefined;
    throw error;
  }
}

/** A Reshape to another number of classes; other nodes as they are. */
function regrouped(node: Node, before: number, classes: number): Node {
  const {shape} = node.attributes;
  if (node.op !== 'Reshape' || !Array.isArray(shape)) return node;
  const sizes = shape.map((size: number) => (size === before ? classes : size));
  return {...node, attributes: {...node.attributes, shape: sizes}};
}
