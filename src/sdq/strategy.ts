/**
 * The strategy: how many bits each layer's weights and input get. A plain file that people read, compare and edit
 * (schemas/strategy.schema.json); what it says in sum is recomputed and checked when it is read.
 */
import {invalidInput} from '../errors.ts';
import {hasWeights, sharedWeights, siteId, type QuantizedLayer} from '../graph/layer-table.ts';
import {entry, item} from '../lookup.ts';
import {didYouMean} from '../nearest.ts';

/** The bitwidth that leaves weights or activations in full precision. */
export const fullPrecision = 32;

export interface LayerPrecision {
  readonly name: string;
  readonly op: string;
  /** 1 to 8, or 32 for full precision. Of a product: of its second input. */
  readonly weightBits: number;
  /** Of the layer's input; 1 to 8, or 32. */
  readonly activationBits: number;
  /** Weights only; 0 with `sharedWith` and of a product. */
  readonly params: number;
  /** A MatMul of two activations: it has no weights. */
  readonly product?: true;
  /** Name of the first layer with the same weights, on every later one: their weight bits are equal. */
  readonly sharedWith?: string;
  /** Multiply-accumulates for one sample. */
  readonly macs: number;
  /** A Conv whose groups have one input channel each. */
  readonly depthwise?: true;
  /** Held by the user, not found by a search. */
  readonly pinned?: true;
}

export interface StrategySummary {
  /** Over all quantized layers, weighted by parameters. */
  readonly meanWeightBits: number;
  /** The same without the pinned layers; null when all are pinned. */
  readonly meanWeightBitsUnpinned: number | null;
  /** Over all quantized layers, weighted by multiply-accumulates. */
  readonly meanActivationBits: number;
  /** 32 / meanWeightBits. */
  readonly compression: number;
  /** Σ macs · weightBits · activationBits for one sample. */
  readonly bops: number;
}

/** What a search may be asked to keep to, each at most. */
export interface Targets {
  readonly meanWeightBits?: number;
  /** Memory of the weights. */
  readonly sizeKiB?: number;
  /** Bit operations for one sample. */
  readonly bops?: number;
  /** Of one sample, as the device's cost model gives it. */
  readonly latencyMs?: number;
  readonly energyUj?: number;
}

interface Provenance {
  /** Name of the search method; `uniform` for a strategy made by hand. */
  readonly method: string;
  readonly sdqVersion: string;
  readonly runId?: string;
  readonly seed?: number;
  /** The budgets that the search kept. */
  readonly target?: Targets;
}

/** Bits of a layer that a strategy does not name: a product, in a strategy of version 1. */
export const unquantized = {weightBits: fullPrecision, activationBits: fullPrecision};

export interface Strategy {
  /** 2 where a layer is a product of two activations, which version 1 leaves in full precision. */
  readonly version: 1 | 2;
  readonly model: {readonly name: string; /** `sha256:` and 64 hex digits */ readonly graphDigest: string};
  readonly quantizers: {readonly weights: string; readonly activations: string};
  /** In network order. */
  readonly layers: readonly LayerPrecision[];
  readonly summary: StrategySummary;
  /** Names of the hardware profiles it was made for. */
  readonly hardware?: readonly string[];
  readonly provenance: Provenance;
}

/** A strategy as it may stand in a file: with a summary left out by hand. */
export type StrategyFile = Omit<Strategy, 'summary'> & {readonly summary?: StrategySummary};

/** The identity of a network: its name and the digest of its graph in hex. */
export interface ModelIdentity {
  readonly name: string;
  readonly digest: string;
}

function mean(layers: readonly LayerPrecision[], bits: 'weightBits' | 'activationBits', by: 'params' | 'macs'): number {
  const total = layers.reduce((sum, layer) => sum + layer[by], 0);
  return layers.reduce((sum, layer) => sum + layer[bits] * layer[by], 0) / total;
}

/** Memory of the weights, KiB. */
export function weightsKiB(layers: readonly Pick<LayerPrecision, 'params' | 'weightBits'>[]): number {
  return layers.reduce((sum, {params, weightBits}) => sum + params * weightBits, 0) / 8 / 1024;
}

/** @param layers at least one */
export function summarize(layers: readonly LayerPrecision[]): StrategySummary {
  const unpinned = layers.filter(({pinned}) => pinned !== true);
  const meanWeightBits = mean(layers, 'weightBits', 'params');
  return {
    meanWeightBits,
    meanWeightBitsUnpinned: unpinned.length === 0 ? null : mean(unpinned, 'weightBits', 'params'),
    meanActivationBits: mean(layers, 'activationBits', 'macs'),
    compression: 32 / meanWeightBits,
    bops: layers.reduce((sum, {macs, weightBits, activationBits}) => sum + macs * weightBits * activationBits, 0),
  };
}

export interface StrategyParts {
  readonly model: ModelIdentity;
  readonly quantizers: Strategy['quantizers'];
  readonly layers: readonly Pick<
    QuantizedLayer,
    'name' | 'op' | 'params' | 'macs' | 'depthwise' | 'sharedWith' | 'product'
  >[];
  /** A bitwidth a layer, in the order of `layers`: `searchResult(…).bits`. */
  readonly weightBits: readonly number[];
  /** The same of the layers' inputs. */
  readonly activationBits: readonly number[];
  /** Layer name → bits, from `pinnedBits`. */
  readonly pinned: ReadonlyMap<string, number>;
  /** Names of hardware profiles; none or left out: for no particular device. */
  readonly hardware?: readonly string[];
  readonly provenance: Provenance;
}

/** Bits of a layer's input: those of the network, but no fewer than the bits the layer's weights are pinned at [ours]. */
export function inputBits(activationBits: number, pin: number | undefined): number {
  return Math.max(activationBits, pin ?? 0);
}

/**
 * Bits that both inputs of a product of two activations may have: 8 unless asked otherwise, and full precision where all layer
 * inputs are. [ours]
 */
export function productBits({
  attentionBits,
  activationBits,
}: {
  readonly attentionBits?: number | readonly number[] | undefined;
  readonly activationBits: number | readonly number[];
}): readonly number[] {
  return [attentionBits ?? (activationBits === fullPrecision ? fullPrecision : 8)].flat();
}

/** Bits a layer: those of products in place of what the others have. */
export function withProducts(
  layers: readonly QuantizedLayer[],
  bits: readonly number[],
  ofProducts: readonly number[],
): number[] {
  return layers.map((layer, l) => (hasWeights(layer) ? item(bits, l) : Math.max(...ofProducts)));
}

/** The strategy of a search, or of bitwidths chosen by hand. */
export function buildStrategy(parts: StrategyParts): Strategy {
  const layers = parts.layers.map(({name, op, params, macs, depthwise, sharedWith, product}, l): LayerPrecision => {
    const pin = parts.pinned.get(name);
    return {
      name,
      op,
      weightBits: item(parts.weightBits, l),
      activationBits: item(parts.activationBits, l),
      params,
      macs,
      ...(sharedWith === undefined ? {} : {sharedWith}),
      ...(depthwise === true ? {depthwise} : {}),
      ...(product === true ? {product} : {}),
      ...(pin === undefined ? {} : {pinned: true as const}),
    };
  });
  return {
    version: layers.some(({product}) => product === true) ? 2 : 1,
    model: {name: parts.model.name, graphDigest: `sha256:${parts.model.digest}`},
    quantizers: parts.quantizers,
    layers,
    summary: summarize(layers),
    ...(parts.hardware === undefined || parts.hardware.length === 0 ? {} : {hardware: parts.hardware}),
    provenance: parts.provenance,
  };
}

/** The same weight bits for every layer that is not pinned. */
export function uniformWeightBits(
  names: readonly string[],
  weightBits: number,
  pinned: ReadonlyMap<string, number>,
): number[] {
  return names.map((name) => pinned.get(name) ?? weightBits);
}

/** The same activation bits for every layer but for what `inputBits` gives the pinned ones. */
export function uniformActivationBits(
  names: readonly string[],
  activationBits: number,
  pinned: ReadonlyMap<string, number>,
): number[] {
  return names.map((name) => inputBits(activationBits, pinned.get(name)));
}

/** @throws SdqError (exit 3) for a layer that has other weight bits than the one whose weights it shares */
export function checkSharedBits(
  layers: readonly Pick<LayerPrecision, 'name' | 'weightBits'>[],
  shared: ReadonlyMap<string, string>,
  file: string,
): void {
  const bits = new Map(layers.map(({name, weightBits}) => [name, weightBits]));
  layers.forEach(({name, weightBits}, l) => {
    const first = shared.get(name);
    if (first === undefined || bits.get(first) === weightBits) return;
    throw invalidInput(
      'strategy-shared-weights',
      `${file}: /layers/${l}/weightBits is ${weightBits}, but layer "${name}" reads the same weights as "${first}", which has ${entry(bits, first)} bits: one tensor has one bitwidth.`,
      [`Give "${name}" and "${first}" the same weightBits.`],
    );
  });
}

/**
 * Checks what the schema cannot say: no layer twice, the same bits for layers of the same weights, and a summary that is the layers' own. A summary that was left out is
 * filled in.
 * @param strategy valid by schemas/strategy.schema.json
 * @param file its name, for messages
 * @throws SdqError (exit 3)
 */
export function checkStrategy(strategy: StrategyFile, file: string): Strategy {
  const seen = new Map<string, number>();
  strategy.layers.forEach(({name}, l) => {
    const first = seen.get(name);
    if (first !== undefined) {
      throw invalidInput(
        'strategy-duplicate-layer',
        `${file}: /layers/${l}/name: "${name}" is already /layers/${first}.`,
      );
    }
    seen.set(name, l);
  });
  const product = strategy.layers.findIndex((layer) => layer.product === true);
  if (strategy.version === 1 && product !== -1) {
    throw invalidInput('strategy-version', `${file}: /layers/${product}/product needs /version 2; it is 1.`);
  }
  strategy.layers.forEach(({name, sharedWith}, l) => {
    const first = strategy.layers.find((layer) => layer.name === sharedWith);
    if (sharedWith === undefined || (first !== undefined && first.name !== name && first.sharedWith === undefined))
      return;
    throw invalidInput(
      'strategy-shared-weights',
      `${file}: /layers/${l}/sharedWith is "${sharedWith}"; it must name the first layer that has these weights.`,
      didYouMean(sharedWith, seen.keys()),
    );
  });
  checkSharedBits(strategy.layers, sharedWeights(strategy.layers), file);
  const summary = summarize(strategy.layers);
  if (strategy.summary !== undefined) {
    for (const key of Object.keys(summary) as (keyof StrategySummary)[]) {
      const stored = strategy.summary[key];
      const expected = summary[key];
      if (!isClose(stored, expected)) {
        throw invalidInput(
          'strategy-summary-wrong',
          `${file}: /summary/${key} is ${String(stored)}; the layers give ${String(expected)}.`,
          ['Leave out `summary` after an edit by hand: it is computed from the layers.'],
        );
      }
    }
  }
  return {...strategy, summary};
}

/** Equal but for the last digits that another program may print. */
function isClose(value: number | null, expected: number | null): boolean {
  if (value === null || expected === null) return value === expected;
  return Math.abs(value - expected) <= 1e-9 * Math.abs(expected);
}

/**
 * Checks that a strategy is about this network: every quantized layer once, the same operator and size, the same graph. One of
 * version 1 has no products.
 * @param layers the network's quantized layers
 * @throws SdqError (exit 3)
 */
export function matchStrategy(
  strategy: Strategy,
  model: ModelIdentity,
  layers: StrategyParts['layers'],
  file: string,
): void {
  const known = new Map(layers.map((layer) => [layer.name, layer]));
  checkSharedBits(
    strategy.layers.filter(({name}) => known.has(name)),
    sharedWeights(layers.filter(({sharedWith}) => strategy.layers.some(({name}) => name === sharedWith))),
    file,
  );
  strategy.layers.forEach((layerOfFile, l) => {
    const layer = known.get(layerOfFile.name);
    if (layer === undefined) {
      throw invalidInput(
        'strategy-unknown-layer',
        `${file}: /layers/${l}/name: ${model.name} has no quantized layer "${layerOfFile.name}". Layers: ${[...known.keys()].join(', ')}.`,
        didYouMean(layerOfFile.name, known.keys()),
      );
    }
    if (layer.sharedWith !== undefined && layerOfFile.sharedWith === undefined) {
      throw invalidInput(
        'strategy-layer-differs',
        `${file}: /layers/${l}: layer "${layerOfFile.name}" of ${model.name} reads the weights of "${layer.sharedWith}", which count once.`,
        [
          `Add "sharedWith": "${layer.sharedWith}" and "params": 0 there and leave out \`summary\`, or make the strategy again.`,
        ],
      );
    }
    for (const key of ['op', 'sharedWith', 'params', 'macs', 'depthwise', 'product'] as const) {
      if (layerOfFile[key] !== layer[key]) {
        throw invalidInput(
          'strategy-layer-differs',
          `${file}: /layers/${l}/${key} is ${String(layerOfFile[key])}; layer "${layerOfFile.name}" of ${model.name} has ${String(layer[key])}.`,
        );
      }
    }
  });
  const named = new Set(strategy.layers.map(({name}) => name));
  const missing = layers
    .filter(({name, product}) => !named.has(name) && (strategy.version === 2 || product !== true))
    .map(({name}) => name);
  if (missing.length > 0) {
    throw invalidInput(
      'strategy-missing-layer',
      `${file}: /layers: ${model.name} also has ${missing.map((name) => `"${name}"`).join(', ')}; a strategy names every quantized layer.`,
    );
  }
  if (strategy.model.graphDigest !== `sha256:${model.digest}`) {
    throw invalidInput(
      'strategy-graph-differs',
      `${file}: /model/graphDigest is ${strategy.model.graphDigest}; the graph of ${model.name} has sha256:${model.digest}.`,
      ['Make the strategy again for this network, or choose the model it was made for.'],
    );
  }
}

export interface LayerDifference {
  readonly name: string;
  /** null where the strategy does not name the layer. */
  readonly weightBits: readonly [a: number | null, b: number | null];
  readonly activationBits: readonly [a: number | null, b: number | null];
}

/** The layers whose bits differ, in the order of `a`, then those that only `b` has. */
export function diffStrategies(a: Strategy, b: Strategy): LayerDifference[] {
  const [ofA, ofB] = [a, b].map(({layers}) => new Map(layers.map((layer) => [layer.name, layer]))) as [
    Map<string, LayerPrecision>,
    Map<string, LayerPrecision>,
  ];
  const differences: LayerDifference[] = [];
  for (const name of new Set([...ofA.keys(), ...ofB.keys()])) {
    const [left, right] = [ofA.get(name), ofB.get(name)];
    if (left?.weightBits === right?.weightBits && left?.activationBits === right?.activationBits) continue;
    differences.push({
      name,
      weightBits: [left?.weightBits ?? null, right?.weightBits ?? null],
      activationBits: [left?.activationBits ?? null, right?.activationBits ?? null],
    });
  }
  return differences;
}

/**
 * Names of the layers whose weights, and ids of the activations, that two strategies quantize alike: the same bits by the same
 * quantizer.
 */
export function sameQuantization(
  a: Strategy | undefined,
  b: Strategy,
): {readonly weights: ReadonlySet<string>; readonly inputs: ReadonlySet<string>} {
  const ofA = new Map(a?.layers.map((layer) => [layer.name, layer]));
  const same = (layer: LayerPrecision, bits: 'weightBits' | 'activationBits', of: 'weights' | 'activations'): boolean =>
    a?.quantizers[of] === b.quantizers[of] && ofA.get(layer.name)?.[bits] === layer[bits];
  const weights = b.layers.filter((layer) => layer.product !== true && same(layer, 'weightBits', 'weights'));
  const inputs = b.layers.flatMap((layer) => [
    ...(same(layer, 'activationBits', 'activations') ? [siteId(layer.name, 0)] : []),
    ...(layer.product === true && same(layer, 'weightBits', 'activations') ? [siteId(layer.name, 1)] : []),
  ]);
  return {weights: new Set(weights.map(({name}) => name)), inputs: new Set(inputs)};
}
