/** The network that a strategy is for, where it can be built. */
import type {Config} from '../config/config-types.ts';
import {graphDigest} from '../graph/digest.ts';
import type {Graph} from '../graph/graph.ts';
import {layerTable} from '../graph/layer-table.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {matchStrategy, type Strategy} from '../sdq/strategy.ts';
import {modelGraph} from './model-graph.ts';

/**
 * The graph of the config's model, which the strategy must fit; without one that of the model that the strategy names, where
 * its default shape is the strategy's.
 * @param file of the strategy, for messages
 * @returns undefined where no such graph is known
 * @throws SdqError (exit 3) where the strategy does not fit the config's model
 */
export async function strategyGraph(
  config: Config,
  registry: Registry,
  strategy: Strategy,
  file: string,
  notice: (message: string) => void,
): Promise<Graph | undefined> {
  const {model} = config;
  if (model !== undefined) {
    const graph = await modelGraph(config, registry, model.name, notice);
    matchStrategy(strategy, {name: model.name, digest: graphDigest(graph)}, layerTable(graph).layers, file);
    return graph;
  }
  const definition = registry.list('model').find(({name}) => name === strategy.model.name);
  const graph = definition?.build(definition.defaults, {});
  if (graph === undefined || `sha256:${graphDigest(graph)}` !== strategy.model.graphDigest) return undefined;
  matchStrategy(strategy, {name: strategy.model.name, digest: graphDigest(graph)}, layerTable(graph).layers, file);
  return graph;
}
