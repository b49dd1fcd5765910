/** What the executor runs in which order: the graph's nodes with batch-norm and activation joined to what they follow. */
import type {ActivationRange} from '../tensor/kernels.ts';
import type {Graph, Node} from './graph.ts';
import {conversion, type LaidOutGraph} from './lay-out.ts';
import {hasWeights, inputSites, type ActivationSite, type QuantizedLayer} from './layer-table.ts';
import {sizesOf} from './ops/sizes.ts';

export interface Step {
  /**
   * `layer` Conv, Gemm, MatMul with weights; `product` MatMul of two activations; `norm` BatchNormalization; `add` of two values of one shape; `layout` a copy in another
   * layout; `operator` any other.
   */
  readonly kind: 'layer' | 'product' | 'norm' | 'add' | 'layout' | 'operator';
  readonly node: Node;
  /** The node's inputs, with Identity and an idle Dropout looked through. */
  readonly inputs: readonly string[];
  readonly output: string;
  readonly layer: QuantizedLayer | null;
  /** The batch-norm that evaluation folds into this layer. */
  readonly folded: Node | null;
  /** The Relu or Clip that ends the step. */
  readonly range: ActivationRange | null;
  /** Where nothing but quantized layers reads the output: as which inputs. Their common quantizer may be part of the step. */
  readonly feeds: readonly ActivationSite[];
  /** Values that no later step reads. */
  readonly releases: readonly string[];
}

function activationRange({op, attributes}: Node): ActivationRange | null {
  if (op === 'Relu') return {min: 0, max: Infinity};
  if (op !== 'Clip') return null;
  const {min = -Infinity, max = Infinity} = attributes;
  return {min: min as number, max: max as number};
}

export interface Plan {
  readonly steps: readonly Step[];
  /** Name of the value that is the graph's output. */
  readonly output: string;
}

/**
 * @param layers the quantized layers of the graph
 * @param training batch-norm by batch statistics: a step of its own; else folded into the layer before it
 * @param observed values that must exist on their own: no step joins what follows them
 */
export function executionPlan(
  graph: Graph,
  laidOut: LaidOutGraph,
  layers: readonly QuantizedLayer[],
  training: boolean,
  observed: ReadonlySet<string> = new Set(),
): Plan {
  const layerOf = new Map(layers.map((layer) => [layer.name, layer]));
  const source = new Map<string, string>();
  const resolve = (name: string): string => source.get(name) ?? name;
  const {operands: known} = laidOut;
  for (const {op, inputs, outputs} of laidOut.nodes) {
    const isIdle = op === 'Identity' || (op === 'Dropout' && !training);
    if (isIdle && !observed.has(outputs[0]!)) source.set(outputs[0]!, resolve(inputs[0]!));
  }
  const nodes = laidOut.nodes.filter(({outputs}) => !source.has(outputs[0]!));
  const result = resolve(laidOut.output);
  const readers = new Map<string, Node[]>();
  for (const node of nodes) {
    for (const name of new Set(node.inputs.map(resolve))) readers.set(name, [...(readers.get(name) ?? []), node]);
  }
  /** The node that alone reads a value. */
  const follower = (value: string): Node | undefined => {
    const found = readers.get(value) ?? [];
    return found.length === 1 && value !== result && !observed.has(value) ? found[0] : undefined;
  };

  /** The inputs of a quantized layer that are a value; none where the node is no such layer. */
  const sitesOf = ({name, inputs}: Node, value: string): ActivationSite[] => {
    const layer = layerOf.get(name);
    return layer === undefined ? [] : inputSites(layer).filter(({operand}) => resolve(inputs[operand]!) === value);
  };

  const joined = new Set<Node>();
  const steps: Step[] = [];
  for (const node of nodes) {
    if (joined.has(node)) continue;
    const inputs = node.inputs.filter((name) => name !== '').map(resolve);
    const layer = layerOf.get(node.name) ?? null;
    let output = node.outputs[0]!;
    const join = (next: Node): void => {
      joined.add(next);
      output = next.outputs[0]!;
    };
    let folded: Node | null = null;
    const next = follower(output);
    if (layer !== null && hasWeights(layer) && !training && next?.op === 'BatchNormalization') {
      folded = next;
      join(next);
    }
    const added = inputs.map((name) => known.get(name)!);
    const sameShape = added.every((each) => !each.parameter && sizesOf(each).join() === sizesOf(added[0]!).join());
    let kind: Step['kind'] = 'operator';
    if (layer !== null) kind = hasWeights(layer) ? 'layer' : 'product';
    else if (node.op === 'BatchNormalization') kind = 'norm';
    else if (node.op === 'Add' && sameShape) kind = 'add';
    else if (node.op === conversion) kind = 'layout';
    let range: ActivationRange | null = null;
    if (kind === 'layer' || kind === 'norm' || kind === 'add') {
      const activation = follower(output);
      range = activation === undefined ? null : activationRange(activation);
      if (range !== null) join(activation!);
    }
    const reading = output === result ? [] : (readers.get(output) ?? []);
    const fed = reading.map((reader) => sitesOf(reader, output));
    const feeds = fed.every((sites) => sites.length > 0) ? fed.flat() : [];
    steps.push({kind, node, inputs, output, layer, folded, range, feeds, releases: []});
  }

  const last = new Map<string, number>();
  steps.forEach(({inputs}, index) => {
    for (const name of inputs) if (known.get(name)?.parameter === false) last.set(name, index);
  });
  last.delete(result);
  last.delete(graph.input.name);
  return {
    steps: steps.map((step, index) => ({
      ...step,
      releases: step.inputs.filter((name, at) => last.get(name) === index && step.inputs.indexOf(name) === at),
    })),
    output: result,
  };
}
