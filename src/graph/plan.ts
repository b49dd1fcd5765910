/** What the executor runs in which order: the graph's nodes with batch-norm and activation joined to what they follow. */
import {entry, item} from '../lookup.ts';
import type {ActivationRange} from '../tensor/kernels.ts';
import type {Graph, Node} from './graph.ts';
import {conversion, type LaidOutGraph} from './lay-out.ts';
import {
  hasWeights,
  inputSites,
  type ActivationSite,
  type ProductLayer,
  type QuantizedLayer,
  type WeightLayer,
} from './layer-table.ts';
import type {Operand} from './ops/operator.ts';
import {sizesOf} from './ops/sizes.ts';

type StepKind =
  | {
      /** Conv, Gemm, MatMul with weights. */
      readonly kind: 'layer';
      readonly layer: WeightLayer;
    }
  | {
      /** MatMul of two activations. */
      readonly kind: 'product';
      readonly layer: ProductLayer;
    }
  | {
      /** `norm` BatchNormalization; `add` of two values of one shape; `layout` a copy in another layout; `operator` any other. */
      readonly kind: 'norm' | 'add' | 'layout' | 'operator';
    };

export type Step = StepKind & StepParts;

interface StepParts {
  readonly node: Node;
  /** The node's inputs, with Identity and an idle Dropout looked through. */
  readonly inputs: readonly string[];
  readonly output: string;
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
  /** Names of the values that are the graph's outputs, in their order. */
  readonly outputs: readonly string[];
}

/** @param inputs of the node */
function stepKind(node: Node, layer: QuantizedLayer | null, inputs: readonly Operand[]): StepKind {
  if (layer !== null) return hasWeights(layer) ? {kind: 'layer', layer} : {kind: 'product', layer};
  if (node.op === 'BatchNormalization') return {kind: 'norm'};
  if (node.op === conversion) return {kind: 'layout'};
  const sameShape = inputs.every((each) => !each.parameter && sizesOf(each).join() === sizesOf(item(inputs, 0)).join());
  return {kind: node.op === 'Add' && sameShape ? 'add' : 'operator'};
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
    const output = item(outputs, 0);
    if (isIdle && !observed.has(output)) source.set(output, resolve(item(inputs, 0)));
  }
  const nodes = laidOut.nodes.filter(({outputs}) => !source.has(item(outputs, 0)));
  const results = laidOut.outputs.map(resolve);
  const readers = new Map<string, Node[]>();
  for (const node of nodes) {
    for (const name of new Set(node.inputs.map(resolve))) readers.set(name, [...(readers.get(name) ?? []), node]);
  }
  /** The node that alone reads a value. */
  const follower = (value: string): Node | undefined => {
    const readersOfValue = readers.get(value) ?? [];
    return readersOfValue.length === 1 && !results.includes(value) && !observed.has(value)
      ? readersOfValue[0]
      : undefined;
  };

  /** The inputs of a quantized layer that are a value; none where the node is no such layer. */
  const sitesOf = ({name, inputs}: Node, value: string): ActivationSite[] => {
    const layer = layerOf.get(name);
    return layer === undefined ? [] : inputSites(layer).filter(({operand}) => resolve(item(inputs, operand)) === value);
  };

  const joined = new Set<Node>();
  const steps: Step[] = [];
  for (const node of nodes) {
    if (joined.has(node)) continue;
    const inputs = node.inputs.filter((name) => name !== '').map(resolve);
    const layer = layerOf.get(node.name) ?? null;
    let output = item(node.outputs, 0);
    const join = (next: Node): void => {
      joined.add(next);
      output = item(next.outputs, 0);
    };
    let folded: Node | null = null;
    const next = follower(output);
    if (layer !== null && hasWeights(layer) && !training && next?.op === 'BatchNormalization') {
      folded = next;
      join(next);
    }
    const kind = stepKind(
      node,
      layer,
      inputs.map((name) => entry(known, name)),
    );
    let range: ActivationRange | null = null;
    if (kind.kind === 'layer' || kind.kind === 'norm' || kind.kind === 'add') {
      const activation = follower(output);
      range = activation === undefined ? null : activationRange(activation);
      if (activation !== undefined && range !== null) join(activation);
    }
    const reading = results.includes(output) ? [] : (readers.get(output) ?? []);
    const fed = reading.map((reader) => sitesOf(reader, output));
    const feeds = fed.every((sites) => sites.length > 0) ? fed.flat() : [];
    steps.push({...kind, node, inputs, output, folded, range, feeds, releases: []});
  }

  return {steps: withReleases(steps, [graph.input.name, ...results], known), outputs: results};
}

/** Each step with the values that no later one reads. @param neverFreed names of those that are never freed: the network's input and outputs */
function withReleases(
  steps: readonly Step[],
  neverFreed: readonly string[],
  known: LaidOutGraph['operands'],
): readonly Step[] {
  const lastReader = new Map<string, number>();
  steps.forEach(({inputs}, index) => {
    for (const name of inputs) if (known.get(name)?.parameter === false) lastReader.set(name, index);
  });
  for (const name of neverFreed) lastReader.delete(name);
  return steps.map((step, index) => ({
    ...step,
    releases: [...new Set(step.inputs)].filter((name) => lastReader.get(name) === index),
  }));
}
