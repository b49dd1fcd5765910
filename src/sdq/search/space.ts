/** What a search may decide: candidates of each layer under pins and a device's rules, and what they cost. Pure. [ours] */
import {ExitCode, invalidInput, SdqError} from '../../errors.ts';
import {item, last, present} from '../../lookup.ts';
import type {Candidate, Decision, LayerCost, Precision, SearchProblem} from './problem.ts';
import {inputBits} from '../strategy.ts';

export type SearchSpace = Pick<SearchProblem, 'layers' | 'decisions'>;

export interface SpaceOptions {
  /** Bitwidths for the weights of the layers that are not pinned, ascending. */
  readonly candidates: readonly number[];
  /** Of the layers' inputs: one for all of them, or the ones to learn among, ascending. */
  readonly activationBits: number | readonly number[];
  /** Layer name → weight bits. */
  readonly pinned: ReadonlyMap<string, number>;
  /** What a device lets each layer have; left out: everything. */
  readonly allowed?: {readonly device: string; readonly pairs: readonly (readonly Precision[])[]};
  /** The layers that are products of two activations, and the bits that both their inputs may have. */
  readonly products?: {readonly names: ReadonlySet<string>; readonly bits: readonly number[]};
  /** Layer → the first layer with the same weights, for the later ones. */
  readonly shared?: ReadonlyMap<string, string>;
  /** Names of layers whose inputs must have the same bits where they are learned. */
  readonly joined?: readonly (readonly string[])[];
}

const distinct = (values: readonly number[]): number[] => [...new Set(values)].sort((a, b) => a - b);

/**
 * The decisions of a network. The weights of a layer are one and, where activation bits are learned, its input is another; where the
 * device does not allow every combination of the two they are decided together, along the longest chain of combinations of which
 * each has at least as many bits in both as the one before. Layers of the same weights have one decision about them; so have both
 * inputs of a product.
 * @param names of the quantized layers, in network order
 * @throws SdqError (exit 4) where a device allows none of the candidates
 */
export function searchSpace(names: readonly string[], options: SpaceOptions): SearchSpace {
  const pairs = names.map((name, l) => pairsOf(name, l, options));
  const groups = (options.joined ?? []).map((group) => group.map((name) => names.indexOf(name)));
  const tied = weightGroups(names, options.shared ?? new Map<string, string>());
  for (const group of tied) tieWeights(names, pairs, group, groups.flat());
  for (const group of groups) joinInputs(names, pairs, group);
  const weights: Decision[] = [];
  const inputs: Decision[] = [];
  const grouped = new Set<number>();
  for (const group of tied) {
    const all = group.map((l) => item(pairs, l));
    const [first] = all as [Precision[]];
    const bits = distinct(all.flat().map((pair) => pair.activationBits));
    const weightBits = distinct(first.map((pair) => pair.weightBits));
    if (bits.length === 1) {
      weights.push({
        layers: group,
        candidates: weightBits.map((w) => ({weightBits: w, activationBits: item(bits, 0)})),
      });
    } else if (all.every(isProduct)) {
      weights.push({layers: group, candidates: weightBits.map((w) => ({weightBits: w}))});
      for (const l of group) if (!grouped.has(l)) inputs.push(inputDecision(l));
    } else weights.push({layers: group, candidates: longestChain(first)});
  }
  return {
    layers: names.map((name) => ({name, pinned: options.pinned.has(name)})),
    decisions: [...weights, ...inputs.toSorted((a, b) => item(a.layers, 0) - item(b.layers, 0))],
  };

  /** About the input of a layer and of those that are joined with it. */
  function inputDecision(l: number): Decision {
    const layers = groups.find((group) => group.includes(l)) ?? [l];
    for (const other of layers) grouped.add(other);
    return {
      layers,
      candidates: distinct(item(pairs, l).map((pair) => pair.activationBits)).map((activationBits) => ({
        activationBits,
      })),
    };
  }
}

/** The layers by the weights that they read: mostly one each. */
function weightGroups(names: readonly string[], shared: ReadonlyMap<string, string>): number[][] {
  const groups = new Map<string, number[]>();
  names.forEach((name, l) => {
    const first = shared.get(name) ?? name;
    groups.set(first, [...(groups.get(first) ?? []), l]);
  });
  return [...groups.values()];
}

/**
 * Leaves layers of the same weights the combinations that all of them may have; those with the most activation bits alone where the
 * bits do not go with each other freely and one of the layers has its input joined with others'.
 */
function tieWeights(
  names: readonly string[],
  pairs: Precision[][],
  group: readonly number[],
  joined: readonly number[],
): void {
  if (group.length === 1) return;
  const common = item(pairs, item(group, 0)).filter((pair) =>
    group.every((l) => item(pairs, l).some((other) => isEqual(other, pair))),
  );
  if (common.length === 0) {
    throw new SdqError(
      `Layers ${group.map((l) => `"${item(names, l)}"`).join(', ')} read the same weights, and have no bits in common.`,
      {
        code: 'search-hardware-forbids',
        exit: ExitCode.hardwareViolated,
        suggestions: ['Give search.candidates or search.activationBits more bits.'],
      },
    );
  }
  const most = Math.max(...common.map(({activationBits}) => activationBits));
  const isFree = isProduct(common) || !group.some((l) => joined.includes(l));
  for (const l of group) pairs[l] = isFree ? common : common.filter(({activationBits}) => activationBits === most);
}

/** The combinations a layer may have, by weight bits and then activation bits. */
function pairsOf(name: string, l: number, options: SpaceOptions): Precision[] {
  const {candidates, activationBits, pinned, products, allowed} = options;
  const pin = pinned.get(name);
  const weights = pin === undefined ? candidates : [pin];
  const wanted =
    products?.names.has(name) === true
      ? products.bits.map((bits) => ({weightBits: bits, activationBits: bits}))
      : weights.flatMap((weightBits) =>
          inputCandidates(activationBits, pin).map((bits) => ({weightBits, activationBits: bits})),
        );
  if (allowed === undefined) return wanted;
  const pairs = item(allowed.pairs, l);
  const possible = wanted.filter((pair) => pairs.some((other) => isEqual(other, pair)));
  if (possible.length > 0) return possible;
  const list = (all: readonly Precision[], key: keyof Precision): string =>
    distinct(all.map((pair) => pair[key])).join(', ') || 'none';
  throw new SdqError(
    `Layer "${name}": ${allowed.device} allows weights of ${list(pairs, 'weightBits')} bits with inputs of ${list(pairs, 'activationBits')} bits${isProduct(pairs) ? '' : ' (not in every combination)'}; the search may take weights of ${list(wanted, 'weightBits')} with inputs of ${list(wanted, 'activationBits')}.`,
    {
      code: 'search-hardware-forbids',
      exit: ExitCode.hardwareViolated,
      suggestions: ['Set search.activationBits, search.candidates or search.pin to what the device allows.'],
    },
  );
}

/** Bits that the input of a layer may have: no fewer than its weights are pinned at, as where one bitwidth is given. */
function inputCandidates(activationBits: SpaceOptions['activationBits'], pin: number | undefined): readonly number[] {
  if (typeof activationBits === 'number') return [inputBits(activationBits, pin)];
  const enough = activationBits.filter((bits) => bits >= (pin ?? 0));
  return enough.length > 0 ? enough : [present(pin, 'pin')];
}

const isEqual = (a: Precision, b: Precision): boolean =>
  a.weightBits === b.weightBits && a.activationBits === b.activationBits;

/** Whether the pairs are all combinations of their weight bits with their activation bits. */
function isProduct(pairs: readonly Precision[]): boolean {
  const count = (key: keyof Precision): number => new Set(pairs.map((pair) => pair[key])).size;
  return pairs.length === count('weightBits') * count('activationBits');
}

/**
 * Leaves each layer of a group the activation bits that all of them may have; only the most of these where a layer's own do not go
 * with each of its weight bits.
 */
function joinInputs(names: readonly string[], pairs: Precision[][], group: readonly number[]): void {
  const common = group
    .map((l) => distinct(item(pairs, l).map(({activationBits}) => activationBits)))
    .reduce((all, next) => all.filter((bits) => next.includes(bits)));
  if (common.length === 0) {
    throw new SdqError(
      `Layers ${group.map((l) => `"${item(names, l)}"`).join(', ')} need inputs of the same bits, and have none in common.`,
      {
        code: 'search-hardware-forbids',
        exit: ExitCode.hardwareViolated,
        suggestions: ['Pin the weights of these layers alike, or give search.activationBits more candidates.'],
      },
    );
  }
  const restrict = (bits: readonly number[]): Precision[][] =>
    group.map((l) => item(pairs, l).filter(({activationBits}) => bits.includes(activationBits)));
  const all = restrict(common);
  const taken = all.every(isProduct) ? all : restrict([last(common)]);
  group.forEach((l, g) => (pairs[l] = item(taken, g)));
}

/** The longest chain of pairs that ends at one with the most bits in all; each pair has no fewer bits in either part than the one before. */
function longestChain(pairs: readonly Precision[]): Precision[] {
  const total = ({weightBits, activationBits}: Precision): number => weightBits + activationBits;
  const ascending = pairs.toSorted((a, b) => total(a) - total(b) || a.weightBits - b.weightBits);
  const chains: Precision[][] = [];
  ascending.forEach((pair) => {
    const before = chains
      .filter((chain) => {
        const {weightBits, activationBits} = last(chain);
        return weightBits <= pair.weightBits && activationBits <= pair.activationBits;
      })
      .reduce<Precision[]>((best, chain) => (chain.length >= best.length ? chain : best), []);
    chains.push([...before, pair]);
  });
  return last(chains);
}

/** What each layer of a space costs at every combination of the candidates that it depends on. */
export function layerCosts(
  {layers, decisions}: SearchSpace,
  cost: (layer: number, bits: Precision) => number,
): LayerCost[] {
  return layers.map((_, l) => {
    const indices = decisions.flatMap((decision, d) => (decision.layers.includes(l) ? [d] : []));
    const combinations = indices.reduce<Candidate[]>(
      (all, d) => all.flatMap((set) => item(decisions, d).candidates.map((candidate) => ({...set, ...candidate}))),
      [{}],
    );
    return {decisions: indices, table: combinations.map((bits) => cost(l, bits as Precision))};
  });
}

interface SizedLayer {
  /** Number of weights. */
  readonly params: number;
  /** Multiply-accumulates for one sample. */
  readonly macs: number;
}

/** A layer's share of the mean bits of a weight over all quantized layers, pinned ones included. */
export function meanWeightBitsOf(
  layers: readonly Pick<SizedLayer, 'params'>[],
): (layer: number, bits: Precision) => number {
  const total = layers.reduce((sum, {params}) => sum + params, 0);
  return (l, {weightBits}) => (weightBits * item(layers, l).params) / total;
}

/** Memory of a layer's weights, KiB. */
export function sizeKiBOf(layers: readonly Pick<SizedLayer, 'params'>[]): (layer: number, bits: Precision) => number {
  return (l, {weightBits}) => (weightBits * item(layers, l).params) / 8 / 1024;
}

/** Bit operations of a layer for one sample. */
export function bopsOf(layers: readonly Pick<SizedLayer, 'macs'>[]): (layer: number, bits: Precision) => number {
  return (l, {weightBits, activationBits}) => item(layers, l).macs * weightBits * activationBits;
}

/** @throws SdqError (exit 3) for candidates that are not whole, ascending and within 1 … 8. */
export function checkCandidates(candidates: readonly number[], pointer = '/search/candidates'): void {
  if (candidates.length === 0)
    throw invalidInput('no-candidates', `${pointer} is empty; at least one bitwidth is needed.`);
  candidates.forEach((bits, i) => {
    if (!Number.isInteger(bits) || bits < 1 || bits > 8) {
      throw invalidInput('bad-candidate', `${pointer}/${i} is ${bits}; a bitwidth is a whole number from 1 to 8.`);
    }
    if (i > 0 && bits <= item(candidates, i - 1)) {
      throw invalidInput(
        'candidates-not-ascending',
        `${pointer}/${i} is ${bits} after ${item(candidates, i - 1)}; candidates ascend and none comes twice.`,
      );
    }
  });
}
