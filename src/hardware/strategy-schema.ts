/** The rules of a device as a plain JSON Schema (2020-12) of strategy files, for any validator. */
import type {AllowedFormats, HardwareProfile} from './profile.ts';
import {operatorFormats, operatorsOf, pairsOf, type Bits} from './rules.ts';

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
 * @param weightQuantizers names of those whose weights fit the device
 */
export function strategySchema(profile: HardwareProfile, base: unknown, weightQuantizers: readonly string[]): Schema {
  const strategy = base as StrategySchema;
  const rest = Object.fromEntries(Object.entries(strategy).filter(([key]) => key !== 'examples'));
  const {quantizers, layers} = strategy.properties;
  const items = layerSchema(profile, layers.items, []);
  return {
    ...rest,
    $id: `sdq:strategy/${profile.name}`,
    title: `Strategy for ${profile.name}`,
    description: `Strategies that ${profile.name} runs. Generated from its profile, version ${profile.version}: ${profile.summary}`,
    properties: {
      ...strategy.properties,
      quantizers: {...quantizers, properties: {...quantizers.properties, weights: {enum: weightQuantizers}}},
      layers: {
        ...layers,
        ...(profile.first === undefined ? {} : {prefixItems: [layerSchema(profile, layers.items, [profile.first])]}),
        items,
      },
    },
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
