/** Values that one node alone reads: what a tool rounds that rounds whole tensors, for all who read them. */
import type {Graph} from './graph.ts';
import type {QuantizedLayer} from './layer-table.ts';

/** Whether one node reads a value, which is no result of the network. */
export function isReadOnce({nodes, outputs}: Graph, value: string): boolean {
  return !outputs.includes(value) && nodes.filter(({inputs}) => inputs.includes(value)).length === 1;
}

/**
 * The layer's input where it can be rounded for this layer alone; otherwise the name of a copy, which a format writes. Nodes of one input
 * before it are looked through: AIMET rounds the input of a Relu, a pooling or a reshaping as their output.
 */
export function ownInput(graph: Graph, {inputValue, name}: Pick<QuantizedLayer, 'inputValue' | 'name'>): string {
  const isOwn = (value: string): boolean => {
    if (!isReadOnce(graph, value)) return false;
    const [before, ...others] = graph.nodes.find(({outputs}) => outputs.includes(value))?.inputs ?? [];
    return before === undefined || others.length > 0 || isOwn(before);
  };
  return isOwn(inputValue) ? inputValue : `${name}.input`;
}
