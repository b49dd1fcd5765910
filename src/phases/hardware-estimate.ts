/** What a strategy costs on a device: strategy, network, profile, cost model and measured times brought together. */
import type {Config} from '../config/config-types.ts';
import {ExitCode, SdqError} from '../errors.ts';
import {graphDigest} from '../graph/digest.ts';
import type {Graph} from '../graph/graph.ts';
import {layerTable} from '../graph/layer-table.ts';
import {prepareCosts, type LayerCost, type NetworkTotals, type PreparedCosts} from '../hardware/cost-model.ts';
import {layerGeometries, type LayerGeometry} from '../hardware/geometry.ts';
import type {HardwareProfile} from '../hardware/profile.ts';
import {item} from '../lookup.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {matchStrategy, unquantized, type Strategy} from '../sdq/strategy.ts';
import {modelGraph} from './model-graph.ts';
import {readStrategy} from './strategy-file.ts';

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

export interface ComparedRow {
  readonly hardware: string;
  readonly strategy: string;
  readonly meanWeightBits: number;
  readonly meanActivationBits: number;
  readonly energy: Estimate['energy'];
  /** Null where the device does not run the strategy. */
  readonly totals: NetworkTotals | null;
  /** Latency of the first strategy on this device over this one's. */
  readonly speedup: number | null;
  /** Why the device does not run it. */
  readonly problem: string | null;
}

/** Every strategy on every device, a device after the other. */
export function compare(
  devices: readonly PreparedCosts[],
  strategies: readonly SizedStrategy[],
): readonly ComparedRow[] {
  return devices.flatMap((costs) => {
    const estimates = strategies.map((sized) => attempt(() => estimate(costs, sized).totals));
    const latencies = estimates.map((totals) => (totals instanceof SdqError ? null : totals.latencyUs));
    const [first = null] = latencies;
    return strategies.map(({file, strategy}, s): ComparedRow => {
      const totals = item(estimates, s);
      const latencyUs = latencies[s] ?? null;
      return {
        hardware: costs.hardware,
        strategy: file,
        meanWeightBits: strategy.summary.meanWeightBits,
        meanActivationBits: strategy.summary.meanActivationBits,
        energy: costs.energy,
        totals: totals instanceof SdqError ? null : totals,
        speedup: first === null || latencyUs === null ? null : first / latencyUs,
        problem: totals instanceof SdqError ? totals.message : null,
      };
    });
  });
}

/** A device that does not run a strategy is a finding here; any other error is one. */
function attempt<T>(compute: () => T): T | SdqError {
  try {
    return compute();
  } catch (error) {
    if (error instanceof SdqError && error.oclif.exit === ExitCode.hardwareViolated) return error;
    throw error;
  }
}
