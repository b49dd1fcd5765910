/** Moving a strategy to the bits that a device runs. Pure. */
import {entry, item} from '../lookup.ts';
import {summarize, type LayerPrecision, type Strategy} from '../sdq/strategy.ts';
import type {HardwareProfile} from './profile.ts';
import {
  allowedPairs,
  fittingQuantizers,
  heldWidths,
  nearestPair,
  type Bits,
  type Placement,
  type QuantizerTraits,
} from './rules.ts';

export interface Move {
  readonly layer: string;
  readonly from: Bits;
  readonly to: Bits;
  /** Whether weights or input got fewer bits, where the device has nothing above. */
  readonly lossy: boolean;
}

export interface MovedStrategy {
  readonly strategy: Strategy;
  readonly moves: readonly Move[];
  /** Names of layers that have no bits at all on the device; they are left as they are. */
  readonly stuck: readonly string[];
}

/**
 * Every layer at the nearest bits that the device runs (`nearestPair`), layers whose inputs share a scale at the most bits of their
 * group, and a weight quantizer that fits. What the search had as its target no longer holds and is left out.
 * @param known the weight quantizers there are
 */
export function moveToHardware(
  full: HardwareProfile,
  strategy: Strategy,
  known: readonly QuantizerTraits[],
  {last, joined = []}: Placement = {},
): MovedStrategy {
  const {weights} = strategy.quantizers;
  const fitting = fittingQuantizers(full, known);
  const quantizer = fitting.includes(weights) ? weights : (fitting[0] ?? weights);
  const profile = heldWidths(
    full,
    known.find(({name}) => name === quantizer),
  );
  const allowed = allowedPairs(profile, strategy.layers, last);
  const nearest = (layers: readonly LayerPrecision[]): LayerPrecision[] =>
    layers.map((layer, l) => {
      const pair = nearestPair(item(allowed, l), layer);
      return pair === undefined ? layer : {...layer, weightBits: pair.weightBits, activationBits: pair.activationBits};
    });
  // A second round, where the bits of a group drive one of its layers to bits that the first had not.
  const layers = nearest(unify(nearest(unify(nearest(strategy.layers), joined)), joined));
  const moves = strategy.layers.flatMap((from, l): Move[] => {
    const to = item(layers, l);
    if (from.weightBits === to.weightBits && from.activationBits === to.activationBits) return [];
    return [
      {
        layer: from.name,
        from: bitsOf(from),
        to: bitsOf(to),
        lossy: to.weightBits < from.weightBits || to.activationBits < from.activationBits,
      },
    ];
  });
  const {target, ...provenance} = strategy.provenance;
  return {
    strategy: {
      ...strategy,
      quantizers: {...strategy.quantizers, weights: quantizer},
      layers,
      summary: summarize(layers),
      hardware: [profile.name],
      provenance: moves.length === 0 && target !== undefined ? {...provenance, target} : provenance,
    },
    moves,
    stuck: strategy.layers.filter((_, l) => item(allowed, l).length === 0).map(({name}) => name),
  };
}

const bitsOf = ({weightBits, activationBits}: Bits): Bits => ({weightBits, activationBits});

/** Every layer of a group reads the group's most bits; layers of the same weights have the most bits of them. */
function unify(layers: readonly LayerPrecision[], joined: readonly (readonly string[])[]): LayerPrecision[] {
  const most = new Map<string, number>();
  for (const names of joined) {
    const bits = layers.filter(({name}) => names.includes(name)).map(({activationBits}) => activationBits);
    for (const name of names) most.set(name, Math.max(...bits));
  }
  const first = ({name, sharedWith}: LayerPrecision): string => sharedWith ?? name;
  const weights = new Map<string, number>();
  for (const layer of layers) {
    weights.set(first(layer), Math.max(layer.weightBits, weights.get(first(layer)) ?? 0));
  }
  return layers.map((layer) => ({
    ...layer,
    weightBits: entry(weights, first(layer)),
    activationBits: most.get(layer.name) ?? layer.activationBits,
  }));
}
