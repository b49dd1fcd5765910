/** What a strategy costs on a device: strategy, network, profile, cost model and measured times brought together. */
import {createRequire} from 'node:module';

import type {Config} from '../config/config-types.ts';
import {expand, type JsonSchema} from '../config/schema.ts';
import {validateSettings} from '../config/validate.ts';
import {graphDigest} from '../graph/digest.ts';
import type {Graph} from '../graph/graph.ts';
import {layerTable} from '../graph/layer-table.ts';
import {prepareCosts, type LayerCost, type NetworkTotals, type PreparedCosts} from '../hardware/cost-model.ts';
import {layerGeometries, type LayerGeometry} from '../hardware/geometry.ts';
import {checkLatencyTable, withMeasured, type LatencyTable} from '../hardware/latency-table.ts';
import type {HardwareProfile} from '../hardware/profile.ts';
import {readJsonFile} from '../json-file.ts';
import {item} from '../lookup.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {matchStrategy, unquantized, type Strategy} from '../sdq/strategy.ts';
import {modelGraph} from './model-graph.ts';
import {readStrategy} from './strategy-file.ts';

const require = createRequire(import.meta.url);

/** Rows of all bits of a large network take less than one; a file above it is refused unread. */
const limitBytes = 16 << 20;

/** A strategy with the sizes of its layers. */
export interface SizedStrategy {
  readonly file: string;
  readonly strategy: Strategy;
  readonly graph: Graph;
  /** In network order. */
  readonly geometries: readonly LayerGeometry[];
}

/**
 * @param notice told when the config's data set cannot be opened, as `modelGraph` does
 * @throws SdqError (exit 3) for a strategy that is not valid or not of its network
 */
export async function sizedStrategy(
  config: Config,
  registry: Registry,
  file: string,
  notice: (message: string) => void,
): Promise<SizedStrategy> {
  const strategy = readStrategy(file);
  const {name} = strategy.model;
  const graph = await modelGraph(config, registry, name, notice);
  matchStrategy(strategy, {name, digest: graphDigest(graph)}, layerTable(graph).layers, file);
  return {file, strategy, graph, geometries: layerGeometries(graph)};
}

/** The costs on a device with the model of its family. @throws SdqError (exit 3) for an unknown family or a batch out of range */
export function costsOn(profile: HardwareProfile, registry: Registry, batch: number): PreparedCosts {
  return prepareCosts(profile, registry.get('cost-model', profile.costModel.family), batch);
}

/**
 * The costs with measured times in place of modelled ones.
 * @throws SdqError (exit 3) for a table that is not valid or about another device, network or batch
 */
export function measuredCosts(
  costs: PreparedCosts,
  {strategy, geometries}: SizedStrategy,
  file: string,
): PreparedCosts {
  const table = readLatencyTable(file);
  checkLatencyTable(
    table,
    {
      hardware: costs.hardware,
      model: strategy.model,
      batch: costs.batch,
      layers: geometries.map(({name}) => name),
    },
    file,
  );
  return withMeasured(costs, table, file);
}

/** @throws SdqError (exit 3) naming the file, the JSON pointer, the value found and what is allowed */
function readLatencyTable(file: string): LatencyTable {
  const value = readJsonFile(file, limitBytes, 'latency-table') as Record<string, unknown>;
  const schema = expand(require('../../schemas/latency-table.schema.json') as JsonSchema);
  validateSettings(value, schema, [{name: file, base: '', values: value}]);
  return value as unknown as LatencyTable;
}

interface EstimatedLayer extends LayerCost {
  readonly name: string;
  readonly op: string;
  readonly weightBits: number;
  readonly activationBits: number;
}

export interface Estimate {
  readonly hardware: string;
  readonly batch: number;
  /** `relative`: fit to compare strategies on this device only. */
  readonly energy: PreparedCosts['energy'];
  /** `mixed`: some layers were measured. */
  readonly source: LayerCost['source'] | 'mixed';
  /** In network order. */
  readonly layers: readonly EstimatedLayer[];
  readonly totals: NetworkTotals;
}

/** @throws SdqError (exit 4) where the device does not run the strategy */
export function estimate(costs: PreparedCosts, {strategy, geometries}: SizedStrategy): Estimate {
  const bitsOf = new Map(strategy.layers.map((layer) => [layer.name, layer]));
  const bits = geometries.map(({name}) => {
    const {weightBits, activationBits} = bitsOf.get(name) ?? unquantized;
    return {weightBits, activationBits};
  });
  const {layers, totals} = costs.network(geometries, bits);
  const measured = layers.filter(({source}) => source === 'measured').length;
  return {
    hardware: costs.hardware,
    batch: costs.batch,
    energy: costs.energy,
    source: measured === 0 ? 'modelled' : measured === layers.length ? 'measured' : 'mixed',
    layers: layers.map((layer, l) => ({
      name: item(geometries, l).name,
      op: item(geometries, l).op,
      ...item(bits, l),
      ...layer,
    })),
    totals,
  };
}
