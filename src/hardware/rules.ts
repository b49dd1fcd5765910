/** Which bitwidths a device lets each layer have, and what is wrong with a strategy that has others. Pure. */
import {item, property} from '../lookup.ts';
import {fullPrecision, type LayerPrecision, type Strategy} from '../sdq/strategy.ts';
import type {WeightQuantizerTraits} from '../sdq/weight-quantizer.ts';
import type {AllowedFormats, Format, HardwareProfile, IntegerFormat, OperatorRule} from './profile.ts';

/** A quantized layer as the rules see it: of a network or of a strategy. */
export interface RuledLayer {
  readonly name: string;
  readonly op: string;
  readonly depthwise?: boolean;
  /** A MatMul of two activations: the second one has the bits of weights. */
  readonly product?: boolean | undefined;
}

export interface Bits {
  readonly weightBits: number;
  /** Of the layer's input. */
  readonly activationBits: number;
}

export interface AllowedPair extends Bits {
  /** What the multiplier runs it as. */
  readonly executedAs: readonly [weightBits: number, activationBits: number];
}

/** A weight quantizer's name and what a format asks about. */
export type QuantizerTraits = Pick<WeightQuantizerTraits, 'zeroPoint' | 'granularity' | 'grid'> & {
  readonly name: string;
};

type RuleName = 'operator' | 'weight-bits' | 'activation-bits' | 'pair' | 'unified' | 'weight-quantizer';

type Found = number | string | readonly [weightBits: number, activationBits: number];

export interface Violation {
  /** Name of the profile. */
  readonly hardware: string;
  /** Null where the whole strategy is meant. */
  readonly layer: string | null;
  readonly rule: RuleName;
  /** Bits; [weight bits, activation bits] of a `pair`; the operator or quantizer. */
  readonly found: Found;
  readonly allowed: readonly Found[];
  /** What `convert` would take; null where nothing is allowed. */
  readonly nearest: Found | null;
}

const operatorNames = ['Conv', 'Gemm', 'MatMul'] as const;
type OperatorName = (typeof operatorNames)[number];

const isOperator = (op: string): op is OperatorName => (operatorNames as readonly string[]).includes(op);

/** The operators that the device runs. */
export function operatorsOf({operators}: HardwareProfile): readonly OperatorName[] {
  return operatorNames.filter((op) => operators[op] !== undefined);
}

/** The formats of a layer; undefined where the device does not run it. */
export function operatorFormats(
  profile: HardwareProfile,
  {op, depthwise = false, product = false}: Omit<RuledLayer, 'name'>,
): AllowedFormats | undefined {
  const rule = isOperator(op) ? profile.operators[op] : undefined;
  if (product && rule?.product !== undefined) return rule.product ?? undefined;
  if (product) return rule && {weights: rule.activations, activations: rule.activations};
  return depthwise ? (rule?.depthwise ?? rule) : rule;
}

/** The widths of some formats, ascending. */
function widths(profile: HardwareProfile, names: readonly string[]): number[] {
  return [...new Set(names.flatMap((name): readonly number[] => property(profile.formats, name).bits))].sort(
    (a, b) => a - b,
  );
}

interface AllowedBits {
  readonly weights: readonly number[];
  readonly activations: readonly number[];
}

/** The widths that all of these formats have in common. */
function commonBits(profile: HardwareProfile, formats: readonly AllowedFormats[]): AllowedBits {
  const common = (key: 'weights' | 'activations'): number[] =>
    formats
      .map((allowed) => widths(profile, allowed[key]))
      .reduce((all, bits) => all.filter((width) => bits.includes(width)));
  return {weights: common('weights'), activations: common('activations')};
}

/** What the multiplier runs a combination as; undefined where it is not allowed. */
function execution(
  profile: HardwareProfile,
  weights: number,
  activations: number,
): AllowedPair['executedAs'] | undefined {
  if (profile.pairs === undefined) return [weights, activations];
  const rule = profile.pairs.find((pair) => pair.weights.includes(weights) && pair.activations.includes(activations));
  return rule === undefined ? undefined : (rule.executedAs ?? [weights, activations]);
}

/** The combinations of some formats, by weight bits and then activation bits. */
export function pairsOf(profile: HardwareProfile, formats: readonly AllowedFormats[]): AllowedPair[] {
  const {weights, activations} = commonBits(profile, formats);
  return weights.flatMap((weightBits) =>
    activations.flatMap((activationBits) => {
      const executedAs = execution(profile, weightBits, activationBits);
      return executedAs === undefined ? [] : [{weightBits, activationBits, executedAs}];
    }),
  );
}

/** How the layers are connected, which a strategy does not say. */
export interface Placement {
  /** Names of the last layer of each output, from `lastLayers`; left out: the last of all layers. */
  readonly last?: readonly string[];
  /** Names of layers whose inputs share one scale, from `joinedLayers`; left out: none. */
  readonly joined?: readonly (readonly string[])[];
}

const lastOf = (layers: readonly RuledLayer[]): readonly string[] => layers.slice(-1).map(({name}) => name);

/** The formats that all hold for layer `l`: of its operator, and of its place in the network. Empty where it does not run. */
function formatsAt(
  profile: HardwareProfile,
  layers: readonly RuledLayer[],
  l: number,
  lastOnes: readonly string[],
): AllowedFormats[] {
  const layer = item(layers, l);
  const formats = operatorFormats(profile, layer);
  if (formats === undefined) return [];
  return [
    formats,
    l === 0 ? profile.first : undefined,
    lastOnes.includes(layer.name) ? profile.last : undefined,
  ].filter((allowed) => allowed !== undefined);
}

/**
 * The combinations that each layer may have, by weight bits and then activation bits; none for an operator that does not run.
 * @param layers all quantized layers in network order
 * @param lastOnes names of the last layer of each output; without it the last of `layers`
 */
export function allowedPairs(
  profile: HardwareProfile,
  layers: readonly RuledLayer[],
  lastOnes: readonly string[] = lastOf(layers),
): AllowedPair[][] {
  return layers.map((_, l) => {
    const formats = formatsAt(profile, layers, l, lastOnes);
    return formats.length === 0 ? [] : pairsOf(profile, formats);
  });
}

/**
 * The combinations that each layer may have on all of these devices.
 * @param profiles at least one
 * @param lastOnes names of the last layer of each output
 */
export function commonPairs(
  profiles: readonly HardwareProfile[],
  layers: readonly RuledLayer[],
  lastOnes?: readonly string[],
): Bits[][] {
  const [first = [], ...others] = profiles.map((profile) => allowedPairs(profile, layers, lastOnes));
  return first.map((pairs, l) =>
    pairs
      .filter((pair) => others.every((other) => item(other, l).some((allowed) => equalBits(allowed, pair))))
      .map(({weightBits, activationBits}) => ({weightBits, activationBits})),
  );
}

const equalBits = (a: Bits, b: Bits): boolean => a.weightBits === b.weightBits && a.activationBits === b.activationBits;

/**
 * What the multiplier runs a layer's bits as, e.g. [4, 4] for 3 and 4; undefined where they are not allowed. A layer's place in the
 * network does not count.
 */
export function executedAs(
  profile: HardwareProfile,
  layer: RuledLayer,
  {weightBits, activationBits}: Bits,
): AllowedPair['executedAs'] | undefined {
  const formats = operatorFormats(profile, layer);
  if (formats === undefined) return undefined;
  return pairsOf(profile, [formats]).find((pair) => equalBits(pair, {weightBits, activationBits}))?.executedAs;
}

/** Bits that a value of a layer's weights or input takes in memory; its own width where no format says otherwise. */
export function storedBits(
  profile: HardwareProfile,
  layer: RuledLayer,
  of: 'weights' | 'activations',
  bits: number,
): number {
  const names = operatorFormats(profile, layer)?.[of] ?? [];
  const format = names
    .map((name) => property(profile.formats, name))
    .find((known) => (known.bits as number[]).includes(bits));
  return format?.container ?? bits;
}

/**
 * The allowed combination that is nearest to the bits found: full precision is taken only where they have it, then as few bits as can
 * be are lost, then as little work (weight bits × activation bits) as can be is added. Undefined where nothing is allowed.
 */
export function nearestPair<P extends Bits>(pairs: readonly P[], bits: Bits): P | undefined {
  const distance = (pair: Bits): readonly number[] => {
    const steps = (['weightBits', 'activationBits'] as const).map((key) => pair[key] - bits[key]);
    const raised = (['weightBits', 'activationBits'] as const).filter(
      (key) => pair[key] === fullPrecision && bits[key] !== fullPrecision,
    );
    const lost = steps.reduce((sum, step) => sum + Math.max(0, -step), 0);
    return [raised.length, lost, pair.weightBits * pair.activationBits, pair.weightBits];
  };
  return pairs
    .map((pair) => ({pair, distance: distance(pair)}))
    .sort((a, b) => compare(a.distance, b.distance))
    .at(0)?.pair;
}

function compare(a: readonly number[], b: readonly number[]): number {
  const i = a.findIndex((value, k) => value !== b[k]);
  return i === -1 ? 0 : item(a, i) - item(b, i);
}

/** Whether integers of this quantizer's grid are integers of the format. */
function fits({zeroPoint, granularity, grid}: QuantizerTraits, format: IntegerFormat): boolean {
  if (format.symmetric && zeroPoint !== 0) return false;
  if (format.granularity === 'tensor' && granularity === 'channel') return false;
  return !format.narrowRange || format.bits.every((bits) => bits === 1 || grid(bits).qmin > -(2 ** (bits - 1)));
}

/** Names of the quantizers whose weights fit every integer format that the device has for weights. */
export function fittingQuantizers(profile: HardwareProfile, known: readonly QuantizerTraits[]): string[] {
  const names = operatorsOf(profile).flatMap((op) => {
    const {weights, depthwise} = property(profile.operators, op);
    return [...weights, ...(depthwise?.weights ?? [])];
  });
  const formats = [...new Set(names)]
    .map((name) => property(profile.formats, name))
    .filter(({type}) => type === 'integer');
  return known
    .filter((quantizer) => formats.every((format) => fits(quantizer, format as IntegerFormat)))
    .map(({name}) => name);
}

/**
 * The profile of a target without the weight bits whose integers do not fit in the int8 of its files. A grid without zero is written
 * in half steps, which take one bit more: its 8 bits do not fit. Other profiles stay as they are.
 * @param quantizer undefined for one that is not known: all bits stay
 */
export function heldWidths(profile: HardwareProfile, quantizer: QuantizerTraits | undefined): HardwareProfile {
  if (profile.deployment === undefined || quantizer === undefined) return profile;
  const isHeld = (bits: number): boolean => {
    const {offset, qmax, qmin} = quantizer.grid(bits);
    const [least, greatest] = offset === 0 ? [qmin, qmax] : [2 * qmin + 1, 2 * qmax + 1];
    return least >= -128 && greatest <= 127;
  };
  const isWhole = Object.values(profile.formats).every(({bits, type}) => type === 'float' || bits.every(isHeld));
  if (isWhole) return profile;
  // Under names of their own, because activations may have the same formats.
  const heldName = (name: string): string => `${name} of weights`;
  const held = Object.entries(profile.formats).map(([name, format]): [string, Format] => [
    heldName(name),
    format.type === 'integer' ? {...format, bits: format.bits.filter(isHeld)} : format,
  ]);
  const narrowed = <T extends AllowedFormats | undefined>(allowed: T): T =>
    allowed === undefined ? allowed : {...allowed, weights: allowed.weights.map(heldName)};
  const operators = operatorsOf(profile).map((op): [string, OperatorRule] => {
    const rule = property(profile.operators, op);
    return [op, {...narrowed(rule), ...(rule.depthwise === undefined ? {} : {depthwise: narrowed(rule.depthwise)})}];
  });
  return {
    ...profile,
    formats: {...profile.formats, ...Object.fromEntries(held)},
    operators: Object.fromEntries(operators),
    ...(profile.first === undefined ? {} : {first: narrowed(profile.first)}),
    ...(profile.last === undefined ? {} : {last: narrowed(profile.last)}),
  };
}

/**
 * What keeps a strategy from running on a device; empty where nothing does.
 * @param known the weight quantizers there are
 */
export function hardwareViolations(
  full: HardwareProfile,
  {layers, quantizers}: Pick<Strategy, 'layers' | 'quantizers'>,
  known: readonly QuantizerTraits[],
  {last = lastOf(layers), joined = []}: Placement = {},
): Violation[] {
  const profile = heldWidths(
    full,
    known.find(({name}) => name === quantizers.weights),
  );
  const fitting = fittingQuantizers(profile, known);
  const violations: Violation[] = fitting.includes(quantizers.weights)
    ? []
    : [
        {
          hardware: profile.name,
          layer: null,
          rule: 'weight-quantizer',
          found: quantizers.weights,
          allowed: fitting,
          nearest: fitting[0] ?? null,
        },
      ];
  layers.forEach((_, l) => violations.push(...layerViolations(profile, layers, l, last)));
  for (const names of joined) violations.push(...unifiedViolations(profile, layers, names));
  return violations;
}

function layerViolations(
  profile: HardwareProfile,
  layers: readonly LayerPrecision[],
  l: number,
  lastOnes: readonly string[],
): Violation[] {
  const layer = item(layers, l);
  const {name, op, weightBits, activationBits} = layer;
  const where = {hardware: profile.name, layer: name};
  const formats = formatsAt(profile, layers, l, lastOnes);
  if (formats.length === 0) {
    return [
      {
        ...where,
        rule: 'operator',
        found: layer.product === true ? `${op} of two activations` : op,
        allowed: operatorsOf(profile),
        nearest: null,
      },
    ];
  }
  const pairs = pairsOf(profile, formats);
  if (pairs.some((pair) => equalBits(pair, layer))) return [];
  const {weights, activations} = commonBits(profile, formats);
  const nearest = nearestPair(pairs, layer);
  const violations: Violation[] = [];
  if (!weights.includes(weightBits)) {
    const to = nearest?.weightBits ?? null;
    violations.push({...where, rule: 'weight-bits', found: weightBits, allowed: weights, nearest: to});
  }
  if (!activations.includes(activationBits)) {
    const to = nearest?.activationBits ?? null;
    violations.push({...where, rule: 'activation-bits', found: activationBits, allowed: activations, nearest: to});
  }
  if (violations.length > 0) return violations;
  return [
    {
      ...where,
      rule: 'pair',
      found: [weightBits, activationBits],
      allowed: pairs.map((pair) => [pair.weightBits, pair.activationBits]),
      nearest: nearest === undefined ? null : [nearest.weightBits, nearest.activationBits],
    },
  ];
}

/** Layers of one group that read fewer bits than the group's most. */
function unifiedViolations(
  profile: HardwareProfile,
  layers: readonly LayerPrecision[],
  names: readonly string[],
): Violation[] {
  const group = layers.filter(({name}) => names.includes(name));
  const most = Math.max(...group.map(({activationBits}) => activationBits));
  return group
    .filter(({activationBits}) => activationBits !== most)
    .map(({name, activationBits}) => ({
      hardware: profile.name,
      layer: name,
      rule: 'unified',
      found: activationBits,
      allowed: [most],
      nearest: most,
    }));
}

/** A violation in one sentence. */
export function violationText({hardware, layer, rule, found, allowed, nearest}: Violation): string {
  const what: Readonly<Record<RuleName, string>> = {
    operator: 'operator',
    'weight-bits': 'weight bits',
    'activation-bits': 'activation bits',
    pair: 'weight × activation bits',
    unified: 'activation bits of inputs that share a scale',
    'weight-quantizer': 'weight quantizer',
  };
  const shown = (value: Found): string => (typeof value === 'object' ? value.join('×') : String(value));
  const options = allowed.length === 0 ? 'nothing' : allowed.map(shown).join(', ');
  const to = nearest === null ? '' : `; nearest: ${shown(nearest)}`;
  return `${hardware}: ${layer === null ? '' : `layer "${layer}": `}${what[rule]} ${shown(found)}; allowed: ${options}${to}.`;
}
