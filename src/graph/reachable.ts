/** Which nodes results depend on. */
import type {Graph} from './graph.ts';

interface Wired {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/**
 * The nodes that lead to some values, in their order: what nothing reads on the way to them is left out.
 * @param outputs names of the values
 */
export function leadingTo<N extends Wired>(nodes: readonly N[], outputs: readonly string[]): N[] {
  const producers = new Map(nodes.flatMap((node) => node.outputs.map((name): [string, N] => [name, node])));
  const reached = new Set<N>();
  const open = [...outputs];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = producers.get(name);
    if (node === undefined || reached.has(node)) continue;
    reached.add(node);
    open.push(...node.inputs);
  }
  return nodes.filter((node) => reached.has(node));
}

/** The graph with these outputs alone: without nodes that do not lead to them, and parameters that nothing reads then. */
export function withOutputs({refused: _, ...graph}: Graph, outputs: readonly string[]): Graph {
  const nodes = leadingTo(graph.nodes, outputs);
  const read = new Set(nodes.flatMap(({inputs}) => inputs));
  return {...graph, outputs, nodes, parameters: graph.parameters.filter(({name}) => read.has(name))};
}
