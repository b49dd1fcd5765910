/**
 * A quantized network as a runtime computes it: batch-norm folded into integers, every rounded value of 8 bits. The nodes that round
 * are `Identity` in the graph; `simulation` has them as arithmetic, and an exporter writes QuantizeLinear and DequantizeLinear.
 */
import {ExitCode, SdqError} from '../../errors.ts';
import type {Array32, Graph, Node, Parameter, Weights} from '../../graph/graph.ts';
import {inputSites, layerTable} from '../../graph/layer-table.ts';
import {withOutputs} from '../../graph/reachable.ts';
import {entry, item} from '../../lookup.ts';
import type {IntegerNetwork, LayerInput, LayerWeights} from '../integer-network.ts';
import {batchNormAffine, foldLayer, integerBias, type ChannelIntegers} from './fold.ts';
import type {DeploymentRules} from './rules.ts';

/** value = scale · (clip(round_half_even(x / scale) + zeroPoint, min, max) − zeroPoint) */
export interface Rounding {
  readonly type: 'int8' | 'uint8';
  readonly scale: number;
  readonly zeroPoint: number;
  /** Within the type. */
  readonly min: number;
  readonly max: number;
}

export interface Deployment {
  readonly graph: Graph;
  /** Float, on the grid of the integers where there are some. */
  readonly parameters: Weights;
  /** By the name of the parameter: weights of 8 bits. */
  readonly weights: ReadonlyMap<string, ChannelIntegers>;
  /** By the name of the parameter: biases of 32 bits. */
  readonly biases: ReadonlyMap<string, ChannelIntegers>;
  /** By the name of the `Identity` node that rounds. */
  readonly roundings: ReadonlyMap<string, Rounding>;
  /** By the name of a value of the network: its rounding for all who read it. */
  readonly shared: ReadonlyMap<string, Rounding>;
  /** What differs from the network in training, one sentence each. */
  readonly notes: readonly string[];
}

/** Least and greatest value. */
export type Range = readonly [least: number, greatest: number];

export interface Target {
  readonly name: string;
  readonly rules: DeploymentRules;
}

/** Least and greatest of values on sample images. @param network that has them, without their roundings */
export type Observe = (values: readonly string[], network: () => Simulation) => Promise<ReadonlyMap<string, Range>>;

export interface Simulation {
  readonly graph: Graph;
  readonly parameters: Weights;
}

/** Operators that only move values, or pick some: a rounded value stays on its grid. */
const moving: ReadonlySet<string> = new Set([
  'Flatten',
  'Identity',
  'MaxPool',
  'Pad',
  'Reshape',
  'Slice',
  'Squeeze',
  'Transpose',
  'Unsqueeze',
]);

const typeRange = {int8: [-128, 127], uint8: [0, 255]} as const;

/**
 * @param observe called where inputs of `joins`, or values that several grids round, need a range of their own
 * @throws SdqError (exit 4) for a layer whose grid the target does not hold
 */
export async function deploy(network: IntegerNetwork, target: Target, observe: Observe): Promise<Deployment> {
  const {rules} = target;
  const {inputs, values} = sharedValues(network, rules);
  const plain = (): Simulation => simulation(new Lowering(network, target, new Map(), new Map()).lower());
  const ranges = values.length === 0 ? [] : await observe(values, plain);
  const roundings = new Map([...ranges].map(([value, range]) => [value, rangeRounding(range, rules)]));
  const lowered = new Lowering(network, target, roundings, inputs).lower();
  return rules.clip === 'integer' ? withoutClips(lowered) : lowered;
}

/** For each input of a join, the value whose rounding it has: itself, or what nodes before it only moved. */
function joinInputs({nodes, parameters}: Graph, {joins}: DeploymentRules): Map<string, string> {
  const known = new Set(parameters.map(({name}) => name));
  const producers = new Map(nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
  const root = (name: string): string => {
    const node = producers.get(name);
    return node !== undefined && moving.has(node.op) ? root(item(node.inputs, 0)) : name;
  };
  const inputs = nodes.filter(({op}) => joins.includes(op)).flatMap((node) => node.inputs);
  return new Map(inputs.filter((name) => name !== '' && !known.has(name)).map((name) => [name, root(name)]));
}

/**
 * The values that a target may round for all who read them: those that joins read, and those that several layers read.
 * @param rules undefined without a target
 */
export function sharedCandidates(graph: Graph, rules: DeploymentRules | undefined): ReadonlySet<string> {
  if (rules === undefined || rules.joins.length === 0) return new Set();
  const nodes = new Map(graph.nodes.map((node) => [node.name, node]));
  const read = layerTable(graph)
    .layers.flatMap(inputSites)
    .map(({layer, operand}) => item(entry(nodes, layer).inputs, operand));
  return new Set([...joinInputs(graph, rules).values(), ...read.filter((value, i) => read.indexOf(value) !== i)]);
}

/** Those of `sharedCandidates` that get a rounding of their own: inputs of joins, and values that layers round to several grids. */
function sharedValues(
  {graph, layers}: IntegerNetwork,
  rules: DeploymentRules,
): {readonly values: readonly string[]; readonly inputs: ReadonlyMap<string, string>} {
  const inputs = joinInputs(graph, rules);
  const grids = new Map<string, Set<string>>();
  if (rules.joins.length === 0) return {values: [], inputs};
  for (const node of graph.nodes) {
    layers.get(node.name)?.inputs.forEach((input, operand) => {
      if (input === null) return;
      const value = item(node.inputs, operand);
      grids.set(value, (grids.get(value) ?? new Set()).add(JSON.stringify([input.grid, input.scale])));
    });
  }
  const several = [...grids].filter(([, gridsOfValue]) => gridsOfValue.size > 1).map(([value]) => value);
  return {values: [...new Set([...inputs.values(), ...several])], inputs};
}

/** 8 bits that cover a range. */
function rangeRounding([least, greatest]: Range, {activations}: DeploymentRules): Rounding {
  const low = Math.min(least, 0);
  const high = Math.max(greatest, 0);
  const type = activations === 'either' ? (low < 0 ? 'int8' : 'uint8') : activations;
  const [min, max] = typeRange[type];
  if (type === 'int8') {
    return {type, scale: Math.fround(Math.max(-low, high, 1e-20) / 127), zeroPoint: 0, min: low < 0 ? min : 0, max};
  }
  const scale = Math.fround(Math.max(high - low, 1e-20) / 255);
  return {type, scale, zeroPoint: Math.min(255, Math.round(-low / scale)), min, max};
}

function roundHalfEven(value: number): number {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 !== 0 ? up - 1 : up;
}

/**
 * Each Clip that only roundings read becomes bounds of their integers. The values are the same: rounding keeps the order. ONNX Runtime
 * leaves a convolution in float where a Clip stands between it and a rounding of a wider range.
 */
function withoutClips(deployment: Deployment): Deployment {
  const {graph} = deployment;
  const clips = new Map(graph.nodes.filter(({op}) => op === 'Clip').map((node) => [item(node.outputs, 0), node]));
  for (const output of graph.outputs) clips.delete(output);
  for (const {inputs, name} of graph.nodes) {
    if (!deployment.roundings.has(name)) for (const input of inputs) clips.delete(input);
  }
  const roundings = new Map(deployment.roundings);
  const nodes = graph.nodes.map((node) => {
    const rounding = roundings.get(node.name);
    const clip = clips.get(node.inputs[0] ?? '');
    if (rounding === undefined || clip === undefined) return node;
    roundings.set(node.name, clipped(rounding, clip.attributes));
    return {...node, inputs: clip.inputs};
  });
  return {...deployment, graph: withOutputs({...graph, nodes}, graph.outputs), roundings};
}

/** The rounding of values that are clipped before. */
function clipped(rounding: Rounding, bounds: {readonly min?: number; readonly max?: number}): Rounding {
  const {scale, zeroPoint} = rounding;
  const integer = (value: number): number =>
    Math.min(rounding.max, Math.max(rounding.min, roundHalfEven(Math.fround(Math.fround(value) / scale)) + zeroPoint));
  return {...rounding, min: integer(bounds.min ?? -Infinity), max: integer(bounds.max ?? Infinity)};
}

class Lowering {
  readonly #network: IntegerNetwork;
  readonly #target: Target;
  readonly #bases: ReadonlyMap<string, Rounding>;
  readonly #joined: ReadonlyMap<string, string>;
  readonly #nodes: Node[] = [];
  readonly #added: Parameter[] = [];
  readonly #parameters: Map<string, Array32>;
  readonly #weights = new Map<string, ChannelIntegers>();
  readonly #biases = new Map<string, ChannelIntegers>();
  readonly #roundings = new Map<string, Rounding>();
  /** Value and rounding → its rounded form. */
  readonly #rounded = new Map<string, string>();
  /** Batch-norms that a layer has taken in: the layer writes their output. */
  readonly #folded = new Set<Node>();
  /** Layers whose channels were rounded anew, and whose input has fewer levels. */
  readonly #stretched: string[] = [];
  readonly #halved: string[] = [];

  /** @param bases values that are rounded for all who read them @param joined inputs of joins → their base */
  constructor(
    network: IntegerNetwork,
    target: Target,
    bases: ReadonlyMap<string, Rounding>,
    joined: ReadonlyMap<string, string>,
  ) {
    this.#network = network;
    this.#target = target;
    this.#bases = bases;
    this.#joined = joined;
    this.#parameters = new Map(network.parameters);
  }

  lower(): Deployment {
    const {graph, layers} = this.#network;
    for (const node of graph.nodes) {
      if (this.#folded.has(node)) continue;
      const layer = layers.get(node.name);
      if (layer?.weights) this.#layer(node, layer.weights, layer.inputs[0] ?? null);
      else {
        const sites = layer?.inputs ?? [];
        const inputs = node.inputs.map((name, operand) => {
          const site = sites[operand];
          return site === undefined ? this.#read(node, name) : this.#operand(node, operand, site).read;
        });
        this.#nodes.push({...node, inputs});
      }
    }
    const parameters = [...graph.parameters, ...this.#added];
    const lowered = withOutputs({...graph, nodes: this.#nodes, parameters}, graph.outputs);
    return {
      graph: lowered,
      parameters: new Map(lowered.parameters.map(({name}) => [name, entry(this.#parameters, name)])),
      weights: this.#weights,
      biases: this.#biases,
      roundings: this.#roundings,
      shared: this.#bases,
      notes: this.#notes(),
    };
  }

  #notes(): string[] {
    const {name} = this.#target;
    const notes: string[] = [];
    if (this.#stretched.length > 0) {
      notes.push(
        `Batch-norm turns integers of −128 around, or its factor is tiny: some channels take a wider step and are rounded anew in ${this.#stretched.join(', ')}.`,
      );
    }
    if (this.#halved.length > 0) {
      const layers = `${this.#halved.length} ${this.#halved.length === 1 ? 'layer' : 'layers'} (${this.#halved.slice(0, 3).join(', ')}${this.#halved.length > 3 ? ', …' : ''})`;
      notes.push(
        `${name} has signed integers only: non-negative inputs of ${layers} have 128 levels, over the same range.`,
      );
    }
    if (this.#bases.size > 0) {
      notes.push(
        `${name}: ${this.#bases.size} ${this.#bases.size === 1 ? 'value' : 'values'} that ${this.#target.rules.joins.join(', ')} or several layers read are rounded to 8 bits.`,
      );
    }
    return notes;
  }

  /** The name under which a node that is no quantized layer reads a value. */
  #read(node: Node, name: string): string {
    const base = this.#bases.get(name);
    if (base !== undefined) return this.#round(name, base);
    if (!this.#target.rules.joins.includes(node.op)) return name;
    const moved = this.#bases.get(this.#joined.get(name) ?? '');
    return moved === undefined ? name : this.#round(name, moved);
  }

  /** @returns the name of the value, rounded */
  #round(value: string, rounding: Rounding): string {
    const key = JSON.stringify([value, rounding]);
    let output = this.#rounded.get(key);
    if (output === undefined) {
      output = `${value}.rounded`;
      for (let copy = 2; this.#roundings.has(output); copy++) output = `${value}.rounded${copy}`;
      this.#rounded.set(key, output);
      this.#roundings.set(output, rounding);
      this.#nodes.push({name: output, op: 'Identity', inputs: [value], outputs: [output], attributes: {}});
    }
    return output;
  }

  /** An input of a layer under the name of its rounded form. @param input its grid; null in full precision */
  #operand(node: Node, operand: number, input: LayerInput | null): {read: string; rounding: Rounding | undefined} {
    const value = item(node.inputs, operand);
    const base = this.#bases.get(value);
    const read = base === undefined ? value : this.#round(value, base);
    if (input === null || (base !== undefined && input.bits === 8)) return {read, rounding: base};
    const rounding = this.#inputRounding(node.name, input);
    return {read: this.#round(read, rounding), rounding};
  }

  /** @param input grid of the layer's input; null in full precision */
  #layer(node: Node, weights: LayerWeights, input: LayerInput | null): void {
    const {parameters} = this.#network;
    const [, , b] = node.inputs as [string, string, string?];
    const {read, rounding} = this.#operand(node, 0, input);
    const norm = node.op === 'MatMul' ? undefined : this.#normBehind(node);
    const affine = norm && batchNormAffine(norm, (name) => entry(parameters, name));
    const place = {layer: node.name, target: this.#target.name};
    const biasOfLayer = b === undefined || b === '' ? undefined : entry(parameters, b).data;
    // ONNX Runtime makes integers of float biases too, whether or not they fit.
    const folded = foldLayer(weights, biasOfLayer, affine, rounding?.scale ?? null, place);
    if (folded.rounded.length > 0) this.#stretched.push(`${node.name} (${folded.rounded.length})`);
    const weight = `${node.name}.integers`;
    this.#weights.set(weight, folded.weights);
    this.#parameter(weight, 'weight', values(folded.weights));
    const inputs = [read, weight];
    if (folded.bias !== undefined) {
      const bias = `${node.name}.folded_bias`;
      inputs.push(bias);
      const shape = [folded.bias.length];
      if (rounding === undefined || this.#target.rules.biases === 'float') {
        this.#parameter(bias, 'bias', {shape, data: folded.bias});
      } else {
        const integers = integerBias(folded.bias, folded.weights.scale, rounding.scale);
        this.#biases.set(bias, integers);
        this.#parameter(bias, 'bias', values(integers));
      }
    }
    this.#nodes.push({...node, inputs, outputs: norm?.outputs ?? node.outputs});
    if (norm !== undefined) this.#folded.add(norm);
  }

  #parameter(name: string, role: Parameter['role'], array: Array32): void {
    this.#added.push({name, role, shape: array.shape, initializer: {kind: 'constant', value: 0}});
    this.#parameters.set(name, array);
  }

  /** The batch-norm that alone reads a layer's output. */
  #normBehind(node: Node): Node | undefined {
    const {graph} = this.#network;
    const [output] = node.outputs as [string];
    const [reader, ...others] = graph.nodes.filter(({inputs}) => inputs.includes(output));
    return reader?.op === 'BatchNormalization' && others.length === 0 && !graph.outputs.includes(output)
      ? reader
      : undefined;
  }

  /** @throws SdqError (exit 4) for a grid without zero */
  #inputRounding(layer: string, {bits, grid, scale}: LayerInput): Rounding {
    const {name, rules} = this.#target;
    if (grid.offset !== 0) {
      throw new SdqError(
        `${name} holds inputs of whole steps; that of layer "${layer}" has ${bits} bit on a grid without zero.`,
        {code: 'target-grid', exit: ExitCode.hardwareViolated, suggestions: ['Give its input at least 2 bits.']},
      );
    }
    const isSigned = grid.qmin < 0;
    const type = rules.activations === 'either' ? (isSigned ? 'int8' : 'uint8') : rules.activations;
    if (type === 'int8' && grid.qmax > 127) {
      if (!this.#halved.includes(layer)) this.#halved.push(layer);
      return {type, scale: Math.fround((scale * grid.qmax) / 127), zeroPoint: 0, min: 0, max: 127};
    }
    const zeroPoint = type === 'uint8' && isSigned ? 128 : 0;
    return {type, scale, zeroPoint, min: grid.qmin + zeroPoint, max: grid.qmax + zeroPoint};
  }
}

function values({axis, integers, scale, shape}: ChannelIntegers): Array32 {
  const inner = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
  const data = new Float32Array(integers.length);
  integers.forEach((value, i) => {
    data[i] = value * item(scale, Math.floor(i / inner) % scale.length);
  });
  return {shape, data};
}

/** The same network in arithmetic that sdq's engine runs: Div, Round, Clip, Mul in place of each rounding. */
export function simulation({graph, parameters, roundings}: Deployment): Simulation {
  const added = new Map<string, Array32>();
  const nodes = graph.nodes.flatMap((node): Node[] => {
    const rounding = roundings.get(node.name);
    if (rounding === undefined) return [node];
    const {max, min, scale, zeroPoint} = rounding;
    const {name} = node;
    const [x] = node.inputs as [string];
    added.set(`${name}.scale`, {shape: [1], data: Float32Array.of(scale)});
    const step = (
      op: string,
      output: string,
      inputs: readonly string[],
      attributes: Node['attributes'] = {},
    ): Node => ({
      name: output,
      op,
      inputs,
      outputs: [output],
      attributes,
    });
    return [
      step('Div', `${name}.divided`, [x, `${name}.scale`]),
      step('Round', `${name}.whole`, [`${name}.divided`]),
      step('Clip', `${name}.clipped`, [`${name}.whole`], {min: min - zeroPoint, max: max - zeroPoint}),
      step('Mul', name, [`${name}.clipped`, `${name}.scale`]),
    ];
  });
  const constants = [...added].map(([name, {shape}]): Parameter => ({
    name,
    shape,
    role: 'constant',
    initializer: {kind: 'constant', value: 0},
  }));
  return {
    graph: {...graph, nodes, parameters: [...graph.parameters, ...constants]},
    parameters: new Map([...parameters, ...added]),
  };
}
