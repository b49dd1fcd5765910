/**
 * Times of a network's layers in a runtime. The network runs whole at each combination of bits, because runtimes join nodes and keep
 * values in layouts of their own; the runtime's profile says what each node takes.
 */
import os from 'node:os';

import {ExitCode, SdqError} from '../errors.ts';
import {initialWeights} from '../graph/initialize.ts';
import type {Graph, Weights} from '../graph/graph.ts';
import {hasWeights, inputSites, lastLayers, layerTable, type QuantizedLayer} from '../graph/layer-table.ts';
import {encodeOnnx, type OnnxModel} from '../graph/onnx/proto.ts';
import {elements} from '../graph/ops/operator.ts';
import {inferShapes} from '../graph/shape.ts';
import type {MeasuredNetwork, MeasuredRow} from '../hardware/latency-table.ts';
import {allowedPairs, nearestPair, type Bits} from '../hardware/rules.ts';
import {entry, item, present} from '../lookup.ts';
import {exportDeployed} from '../plugins/exporters/deployed.ts';
import {normal, uniform} from '../random.ts';
import {deploy, type Deployment, type Range} from '../sdq/deployment/deploy.ts';
import type {IntegerLayer, IntegerNetwork, LayerInput, LayerWeights} from '../sdq/integer-network.ts';
import {fullPrecision} from '../sdq/strategy.ts';
import type {readTarget} from './deployment.ts';
import {timesInTurns, timing, type Timing} from './latency.ts';
import type {NodeTimes, Runtime, RuntimeNetwork} from './runtime.ts';

export interface MeasureRequest {
  readonly target: ReturnType<typeof readTarget>;
  readonly graph: Graph;
  /** Samples computed together. */
  readonly batch: number;
  /** Times that each network is timed, and again profiled. */
  readonly runs: number;
  readonly seed: number;
  readonly progress: (done: number, all: number) => void;
}

export interface Measured {
  readonly rows: readonly MeasuredRow[];
  /** Each different network that was run. */
  readonly networks: readonly MeasuredNetwork[];
}

/** Bits of every layer of one network. */
interface Variant {
  /** What its layers have where they may. */
  readonly pair: Bits;
  /** In network order. */
  readonly bits: readonly Bits[];
  /** Whether every second layer has a rounded input instead. */
  readonly alternates: boolean;
  /** Layer that each node's time counts for, by the names of the node and of its output. */
  readonly owners: ReadonlyMap<string, string>;
}

/** Times of one network by layer. */
interface TimedVariant extends Variant {
  readonly times: ReadonlyMap<string, LayerTime>;
}

interface LayerTime {
  readonly latencyUs: number;
  readonly spread: number;
}

/** Runs that are timed before the networks change turns. */
const runsInTurn = 5;

export const processorName = (): string => os.cpus()[0]?.model.trim() ?? os.arch();

/**
 * Networks that differ in nothing but numbers are run once. A layer's time is that of its node and of what follows up to the next
 * layer, e.g. an Add, and of the rounding of its input. A profile costs time itself, the same a node: it is taken off, so that the
 * layers' times add up to the network's without a profile.
 * @throws SdqError (exit 3) where the runtime refuses a network
 */
export async function measureLayers(runtime: Runtime, request: MeasureRequest): Promise<Measured> {
  const {batch, graph, progress, runs, seed} = request;
  // One network of each structure is kept: all of them are too large together.
  const groups = new Map<string, {readonly bytes: Uint8Array; readonly variants: Variant[]}>();
  for await (const {model, ...variant} of variantsOf(request)) {
    const key = structureOf(model);
    const group = groups.get(key) ?? {bytes: encodeOnnx(model), variants: []};
    group.variants.push(variant);
    groups.set(key, group);
  }
  const draw = uniform(seed, 'bench');
  const shape = [batch, ...graph.input.shape];
  const images = Float32Array.from({length: elements(shape)}, () => normal(draw));
  const distinct = [...groups.values()];
  const opened: RuntimeNetwork[] = [];
  const timed: TimedVariant[] = [];
  const networks: MeasuredNetwork[] = [];
  try {
    for (const {bytes} of distinct) opened.push(await runtime.open(bytes, graph.name, 'all'));
    const turns = Math.ceil(runs / runsInTurn);
    const inputs = opened.map((network) => ({network, images, shape}));
    const whole = (await timesInTurns(inputs, turns, runsInTurn)).map(timing);
    for (const [index, {bytes, variants}] of distinct.entries()) {
      const total = item(whole, index);
      const profile = await runtime.profile(bytes, graph.name, images, shape, runs);
      const times = layerTimes(item(variants, 0).owners, profile, total.medianMs * 1000);
      for (const variant of variants) {
        timed.push({...variant, times});
        if (!variant.alternates) networks.push({...variant.pair, ...microseconds(total)});
      }
      progress(index + 1, distinct.length);
    }
  } finally {
    for (const network of opened) await network.release();
  }
  return {networks, rows: rowsOf(layerTable(graph).layers, timed)};
}

const keyOf = (layer: string, {activationBits, weightBits}: Bits): string => `${layer} ${weightBits} ${activationBits}`;
const isSame = (a: Bits, b: Bits): boolean => a.activationBits === b.activationBits && a.weightBits === b.weightBits;

/**
 * A row for each layer that has exactly the bits of a network, and what a layer in float takes in addition behind one whose input is
 * rounded: both of them in the network that alternates, less both in the networks that do not.
 */
function rowsOf(layers: readonly QuantizedLayer[], timed: readonly TimedVariant[]): MeasuredRow[] {
  const rows = new Map<string, MeasuredRow>();
  for (const {bits, pair, times} of timed.filter(({alternates}) => !alternates)) {
    layers.forEach(({name}, l) => {
      const time = times.get(name);
      if (time !== undefined && isSame(item(bits, l), pair))
        rows.set(keyOf(name, pair), {layer: name, ...pair, ...time});
    });
  }
  for (const {bits, pair, times} of timed.filter(({alternates}) => alternates)) {
    for (const [l, {name}] of layers.slice(1).entries()) {
      const both = [l, l + 1].map((i) => item(layers, i).name);
      const [before, row] = [l, l + 1].map((i) => rows.get(keyOf(item(layers, i).name, item(bits, i))));
      if (row === undefined || before === undefined || !isSame(row, pair) || before.activationBits === fullPrecision)
        continue;
      const together = both.reduce((sum, layer) => sum + (times.get(layer)?.latencyUs ?? 0), 0);
      const more = together - (before.latencyUs ?? 0) - (row.latencyUs ?? 0);
      if (more > 0) rows.set(keyOf(name, pair), {...row, transitionUs: Number(more.toPrecision(4))});
    }
  }
  const order = new Map(layers.map(({name}, l) => [name, l]));
  return [...rows.values()].toSorted((a, b) => entry(order, a.layer) - entry(order, b.layer));
}

const microseconds = ({medianMs, spread}: Timing): LayerTime => ({
  latencyUs: Number((medianMs * 1000).toPrecision(5)),
  spread: Number(spread.toFixed(3)),
});

/** What stands between layers in float: the nearest that a layer may have to it. */
const rounded: Bits = {weightBits: 8, activationBits: 8};

/**
 * One network for each combination of bits that a layer may have; the other layers of it have the nearest that they may. Of those with
 * inputs in float two more: each second layer has a rounded input.
 */
async function* variantsOf({
  graph,
  seed,
  target,
}: MeasureRequest): AsyncGenerator<Variant & {readonly model: OnnxModel}> {
  const {layers} = layerTable(graph);
  const allowed = allowedPairs(
    target.profile,
    layers,
    lastLayers(
      graph,
      layers.map(({name}) => name),
    ),
  );
  const none = layers.find((_, l) => item(allowed, l).length === 0);
  if (none !== undefined) {
    throw new SdqError(`${target.name} does not run layer "${none.name}" (${none.op}).`, {
      code: 'hardware-pair-not-allowed',
      exit: ExitCode.hardwareViolated,
    });
  }
  const nearest = (l: number, pair: Bits): Bits => {
    const {activationBits, weightBits} = present(nearestPair(item(allowed, l), pair), 'combination of bits');
    return {weightBits, activationBits};
  };
  const parameters = initialWeights(graph, seed);
  const pairs = new Map(allowed.flat().map((pair) => [keyOf('', pair), pair]));
  for (const {activationBits, weightBits} of pairs.values()) {
    const pair = {weightBits, activationBits};
    const same = layers.map((_, l) => nearest(l, pair));
    const variant = async (bits: readonly Bits[], alternates: boolean): Promise<Variant & {model: OnnxModel}> => ({
      ...{pair, bits, alternates},
      ...(await madeUpNetwork(graph, target, bits, parameters)),
    });
    yield await variant(same, false);
    if (activationBits !== fullPrecision) continue;
    for (const odd of [0, 1])
      yield await variant(
        same.map((b, l) => (l % 2 === odd ? nearest(l, rounded) : b)),
        true,
      );
  }
}

/**
 * The network in the form deployed on a target, with made-up integers.
 * @param bits of each layer
 * @param parameters what is not made up: batch-norms, biases, and weights in float
 */
export async function madeUpNetwork(
  graph: Graph,
  target: MeasureRequest['target'],
  bits: readonly Bits[],
  parameters: Weights,
): Promise<Pick<Variant, 'owners'> & {readonly model: OnnxModel}> {
  const {layers} = layerTable(graph);
  const network: IntegerNetwork = {
    graph,
    parameters,
    layers: new Map(layers.map((layer, l) => [layer.name, madeUp(graph, layer, item(bits, l))])),
  };
  const deployment = await deploy(network, target, (values) => {
    const known = inferShapes(graph);
    const range = (value: string): Range => [entry(known, value).signed ? -4 : 0, 4];
    return Promise.resolve(new Map(values.map((value) => [value, range(value)])));
  });
  return {
    model: {...exportDeployed(deployment, target.rules), producerVersion: '', metadata: {}},
    owners: ownersOf(deployment, layers),
  };
}

/** A layer at some bits, with integers that are scattered over the grid: its time does not depend on them. */
function madeUp(graph: Graph, layer: QuantizedLayer, {activationBits, weightBits}: Bits): IntegerLayer {
  const input = (signed: boolean, bits: number): LayerInput | null =>
    bits === fullPrecision
      ? null
      : {
          bits,
          grid: {qmin: signed ? -(2 ** (bits - 1)) : 0, qmax: (signed ? 2 ** (bits - 1) : 2 ** bits) - 1, offset: 0},
          scale: 4 / 2 ** bits,
        };
  const sites = inputSites(layer);
  const inputs = sites.map(({operand, signed}) => input(signed, operand === 0 ? activationBits : weightBits));
  if (!hasWeights(layer) || weightBits === fullPrecision) return {weights: null, inputs};
  const node = present(
    graph.nodes.find(({name}) => name === layer.name),
    `node ${layer.name}`,
  );
  const {shape} = present(
    graph.parameters.find(({name}) => name === layer.weight),
    `parameter ${layer.weight}`,
  );
  const axis = layer.op === 'Conv' || node.attributes['transB'] === 1 ? 0 : 1;
  const least = -(2 ** (weightBits - 1));
  const levels = 2 ** weightBits;
  const indices = new Float32Array(elements(shape));
  for (let i = 0; i < indices.length; i++) indices[i] = least + ((167 * i) % levels);
  const weights: LayerWeights = {
    bits: weightBits,
    grid: {qmin: least, qmax: -least - 1, offset: weightBits === 1 ? 0.5 : 0},
    shape,
    indices,
    scale: new Float32Array(item(shape, axis)).fill(1 / 2 ** weightBits),
    axis,
  };
  return {weights, inputs};
}

/** Nodes with their attributes and the types and shapes of their constants, without a number of these. */
function structureOf({graph: {initializers, nodes}}: OnnxModel): string {
  return JSON.stringify([nodes, initializers.map(({name, shape, type}) => [name, type, shape])]);
}

/**
 * @returns by the names of nodes and of values: the last layer that leads there, or the first layer where none does; of a rounding
 *   that layers alone read, the first of these
 */
function ownersOf({graph, roundings}: Deployment, layers: readonly QuantizedLayer[]): Map<string, string> {
  const places = new Map(layers.map(({name}, l) => [name, l]));
  const readers = new Map<string, (number | undefined)[]>();
  for (const {inputs, name} of graph.nodes) {
    for (const input of inputs) readers.set(input, [...(readers.get(input) ?? []), places.get(name)]);
  }
  const owners = new Map<string, number>();
  for (const {inputs, name, outputs} of graph.nodes) {
    const readBy = roundings.has(name) ? (readers.get(name) ?? []) : [];
    const [first] = readBy.includes(undefined) ? [] : readBy;
    const place = places.get(name) ?? first ?? Math.max(0, ...inputs.map((input) => owners.get(input) ?? 0));
    for (const each of [name, ...outputs]) owners.set(each, place);
  }
  return new Map([...owners].map(([name, l]) => [name, item(layers, l).name]));
}

/** Runtimes name their nodes after ours, with an ending such as `_nchwc`. Undefined for those that they add between. */
function ownerOf(owners: ReadonlyMap<string, string>, node: string): string | undefined {
  for (let end = node.length; end > 0; end--) {
    const isWhole = end === node.length || /[^A-Za-z0-9]/.test(node.charAt(end));
    const owner = isWhole ? owners.get(node.slice(0, end)) : undefined;
    if (owner !== undefined) return owner;
  }
  return undefined;
}

/**
 * @param profile in the order in which the nodes run; a node without an owner counts for that of the node before
 * @param totalUs what the network takes without a profile
 * @returns by layer, adding up to `totalUs`
 */
export function layerTimes(
  owners: ReadonlyMap<string, string>,
  profile: readonly NodeTimes[],
  totalUs: number,
): Map<string, LayerTime> {
  const medians = profile.map(({us}) => timing(us).medianMs);
  const sum = medians.reduce((total, each) => total + each, 0);
  const overhead = Math.max(0, (sum - totalUs) / profile.length);
  const known = profile.map(({name}) => ownerOf(owners, name));
  const layers = new Map<string, {us: number; runs: number[]}>();
  let owner = known.find((each) => each !== undefined) ?? '';
  for (const [index, {us}] of profile.entries()) {
    owner = known[index] ?? owner;
    const before = layers.get(owner);
    layers.set(owner, {
      us: (before?.us ?? 0) + Math.max(0, item(medians, index) - overhead),
      runs: us.map((each, run) => each + (before?.runs[run] ?? 0)),
    });
  }
  const summedUs = [...layers.values()].reduce((total, {us}) => total + us, 0);
  return new Map(
    [...layers].map(([layer, {runs, us}]) => [
      layer,
      {
        latencyUs: Number(Math.max((us * totalUs) / summedUs, 1e-3).toPrecision(4)),
        spread: Number(timing(runs).spread.toFixed(3)),
      },
    ]),
  );
}
