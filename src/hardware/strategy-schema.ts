/** The rules of a device as a plain JSON Schema (2020-12) of strategy files, for any validator. */
import type {AllowedFormats, HardwareProfile} from './profile.ts';
import {heldWidths, operatorFormats, operatorsOf, pairsOf, type Bits, type QuantizerTraits} from './rules.ts';

type Schema = Readonly<Record<string, unknown>>;

interface StrategySchema extends Schema {
  readonly properties: {
    readonly quantizers: Schema & {readonly properties: Schema};
    readonly layers: Schema & {readonly items: Schema};
  };
}

/**
 * The schema of the strategies that a device runs. It says what a schema can say: no layer twice, a summary that is the layers' own,
 * stricter formats of the last layer and inputs that share a scale are left to `sdq strategy validate`.
 * @param base schemas/strategy.schema.json
 * @param weightQuantizers those whose weights fit the device
 */
export function strategySchema(
  profile: HardwareProfile,
  base: unknown,
  weightQuantizers: readonly QuantizerTraits[],
): Schema {
  const strategy = base as StrategySchema;
  const rest = Object.fromEntries(Object.entries(strategy).filter(([key]) => key !== 'examples'));
  const {quantizers, layers} = strategy.properties;
  const weightsIn = (names: readonly string[]): Schema => ({
    ...quantizers,
    properties: {...quantizers.properties, weights: {enum: names}},
  });
  const narrower = narrowerProfiles(profile, weightQuantizers).map(({held, names}) => ({
    if: {properties: {quantizers: weightsIn(names)}},
    then: {properties: {layers: layersSchema(held, layers)}},
  }));
  return {
    ...rest,
    $id: `sdq:strategy/${profile.name}`,
    title: `Strategy for ${profile.name}`,
    description: `Strategies that ${profile.name} runs. Generated from its profile, version ${profile.version}: ${profile.summary}`,
    properties: {
      ...strategy.properties,
      quantizers: weightsIn(weightQuantizers.map(({name}) => name)),
      layers: layersSchema(profile, layers),
    },
    ...(narrower.length === 0 ? {} : {allOf: narrower}),
  };
}

/** Quantizers some of whose bits the device does not hold, and the profile without these bits. */
function narrowerProfiles(
  profile: HardwareProfile,
  quantizers: readonly QuantizerTraits[],
): {readonly held: HardwareProfile; readonly names: readonly string[]}[] {
  const groups = new Map<string, {held: HardwareProfile; names: string[]}>();
  for (const quantizer of quantizers) {
    const held = heldWidths(profile, quantizer);
    if (held === profile) continue;
    const key = JSON.stringify(held.formats);
    const group = groups.get(key) ?? {held, names: []};
    group.names.push(quantizer.name);
    groups.set(key, group);
  }
  return [...groups.values()];
}

function layersSchema(profile: HardwareProfile, layers: StrategySchema['properties']['layers']): Schema {
  const {first} = profile;
  return {
    ...layers,
    ...(first === undefined ? {} : {prefixItems: [layerSchema(profile, layers.items, [first])]}),
    items: layerSchema(profile, layers.items, []),
  };
}

/** A layer of an operator that runs, at bits that this operator may have. */
function layerSchema(profile: HardwareProfile, base: Schema, place: readonly AllowedFormats[]): Schema {
  const operators = operatorsOf(profile);
  const rules = operators.flatMap((op): {op: string; condition: Schema; formats: AllowedFormats | undefined}[] => {
    const special = op === 'MatMul' ? 'product' : op === 'Conv' ? 'depthwise' : undefined;
    const formats = operatorFormats(profile, {op});
    if (special === undefined || (special === 'depthwise' && profile.operators[op]?.depthwise === undefined)) {
      return [{op, condition: {}, formats}];
    }
    const condition = {required: [special]};
    return [
      {op, condition: {not: condition}, formats},
      {op, condition, formats: operatorFormats(profile, {op, [special]: true})},
    ];
  });
  return {
    ...base,
    allOf: [
      {properties: {op: {enum: operators}}},
      ...rules.map(({op, condition, formats}) => ({
        if: {properties: {op: {const: op}}, ...condition},
        then: formats !== undefined && bitsSchema(pairsOf(profile, [formats, ...place])),
      })),
    ],
  };
}

/** Combinations of bits: weight bits that go with the same activation bits stand together. */
function bitsSchema(pairs: readonly Bits[]): Schema | false {
  const rows = new Map<string, {weightBits: number[]; activationBits: number[]}>();
  for (const weightBits of new Set(pairs.map((pair) => pair.weightBits))) {
    const activationBits = pairs.filter((pair) => pair.weightBits === weightBits).map((pair) => pair.activationBits);
    const row = rows.get(activationBits.join());
    if (row === undefined) rows.set(activationBits.join(), {weightBits: [weightBits], activationBits});
    else row.weightBits.push(weightBits);
  }
  const choices = [...rows.values()].map(({weightBits, activationBits}) => ({
    properties: {weightBits: {enum: weightBits}, activationBits: {enum: activationBits}},
  }));
  return choices.length > 1 ? {anyOf: choices} : (choices[0] ?? false);
}
