/** Which layers read values that a device holds at one scale, because an Add or a Concat joins them. */
import type {Graph, Node} from '../graph/graph.ts';
import type {QuantizedLayer} from '../graph/layer-table.ts';
import {entry, item} from '../lookup.ts';

/** Operators whose output has the grid of their first input. */
const passing = new Set(['Relu', 'Clip', 'MaxPool', 'Identity', 'Flatten', 'Reshape', 'Dropout', 'Pad', 'Slice']);

/** Of Resize where it repeats pixels. */
const passes = ({op, attributes}: Node): boolean =>
  passing.has(op) || (op === 'Resize' && (attributes['mode'] ?? 'nearest') === 'nearest');

/**
 * Groups of at least two layers that need the same activation bits: they read inputs of one of `operators`, or the output of a
 * Concat; Relu, pooling, slices, repeated pixels and reshaping in between keep a value's grid.
 * @returns names of layers
 */
export function joinedLayers(
  graph: Graph,
  layers: readonly Pick<QuantizedLayer, 'name' | 'inputValue'>[],
  operators: readonly string[],
): string[][] {
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node])));
  const origin = (value: string): string => {
    let current = value;
    for (let node = producers.get(current); node !== undefined && passes(node); node = producers.get(current)) {
      current = item(node.inputs, 0);
    }
    return current;
  };
  const parent = new Map<string, string>();
  const root = (value: string): string => {
    let current = value;
    while (parent.has(current) && parent.get(current) !== current) current = entry(parent, current);
    return current;
  };
  for (const node of graph.nodes.filter(({op}) => operators.includes(op))) {
    const [first, ...rest] = joinedValues(node).map(origin);
    if (first === undefined) continue;
    for (const value of [first, ...rest]) if (!parent.has(value)) parent.set(value, value);
    for (const value of rest) parent.set(root(value), root(first));
  }
  const groups = new Map<string, string[]>();
  for (const {name, inputValue} of layers) {
    const value = origin(inputValue);
    if (!parent.has(value)) continue;
    const key = root(value);
    groups.set(key, [...(groups.get(key) ?? []), name]);
  }
  return [...groups.values()].filter((names) => names.length > 1);
}

function joinedValues({op, inputs, outputs}: Node): readonly string[] {
  return op === 'Concat' ? [...inputs, ...outputs] : inputs;
}
