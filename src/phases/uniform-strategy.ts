/** The uniform baseline: a strategy without a search. */
import type {Config} from '../config/config-types.ts';
import {graphDigest} from '../graph/digest.ts';
import {hasWeights, lastLayers, layerTable, sharedWeights} from '../graph/layer-table.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {pinnedBits} from '../sdq/pins.ts';
import {
  buildStrategy,
  productBits,
  uniformActivationBits,
  uniformWeightBits,
  withProducts,
  type Strategy,
} from '../sdq/strategy.ts';
import {hardwareError, violationsOf} from './hardware-check.ts';
import {readProfiles} from './hardware-file.ts';
import {modelGraph} from './model-graph.ts';

interface UniformOptions {
  /** Of every layer that `search.pin` does not hold. */
  readonly weightBits: number;
  /** Profiles by name or file; default: the config's. */
  readonly hardware?: readonly string[] | undefined;
  readonly sdqVersion: string;
  /** As `modelGraph`. */
  readonly notice: (message: string) => void;
}

/**
 * Inputs have `search.activationBits` and products `search.attentionBits`, of a list the most.
 * @throws SdqError (exit 3) for pins or profiles that are not there, (exit 4) where a device does not run the strategy
 */
export async function uniformStrategy(
  config: Config & {readonly model: NonNullable<Config['model']>},
  registry: Registry,
  {weightBits, hardware = config.hardware, sdqVersion, notice}: UniformOptions,
): Promise<Strategy> {
  const graph = await modelGraph(config, registry, config.model.name, notice);
  const {layers} = layerTable(graph);
  const profiles = readProfiles(hardware);
  const names = layers.map(({name}) => name);
  const withWeights = layers.filter(hasWeights).map(({name}) => name);
  const pinned = pinnedBits(withWeights, lastLayers(graph, withWeights), config.search.pin, sharedWeights(layers));
  const ofProducts = productBits(config.search);
  const activationBits = Math.max(...[config.search.activationBits].flat());
  const strategy = buildStrategy({
    model: {name: config.model.name, digest: graphDigest(graph)},
    quantizers: config.quantizers,
    layers,
    weightBits: withProducts(layers, uniformWeightBits(names, weightBits, pinned), ofProducts),
    activationBits: withProducts(layers, uniformActivationBits(names, activationBits, pinned), ofProducts),
    pinned,
    hardware: profiles.map(({name}) => name),
    provenance: {method: 'uniform', sdqVersion},
  });
  const refusal = hardwareError(undefined, violationsOf(strategy, profiles, registry, graph));
  if (refusal !== undefined) throw refusal;
  return strategy;
}
