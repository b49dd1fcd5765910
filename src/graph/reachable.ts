/** Which nodes a result depends on. */

interface Wired {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/**
 * The nodes that lead to a value, in their order: what nothing reads on the way to it is left out.
 * @param output name of the value
 */
export function leadingTo<N extends Wired>(nodes: readonly N[], output: string): N[] {
  const producers = new Map(nodes.flatMap((node) => node.outputs.map((name): [string, N] => [name, node])));
  const kept = new Set<N>();
  const open = [output];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = producers.get(name);
    if (node === undefined || kept.has(node)) continue;
    kept.add(node);
    open.push(...node.inputs);
  }
  return nodes.filter((node) => kept.has(node));
}
