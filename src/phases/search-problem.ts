/** The search problem of a network under a config: what may be decided on which hardware, and which budgets are to be kept. */
import type {Config} from '../config/config-types.ts';
import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {graphDigest} from '../graph/digest.ts';
import type {Graph} from '../graph/graph.ts';
import {hasWeights, lastLayers, layerTable, sharedWeights} from '../graph/layer-table.ts';
import {prepareCosts, type PreparedCosts} from '../hardware/cost-model.ts';
import {layerGeometries} from '../hardware/geometry.ts';
import type {HardwareProfile} from '../hardware/profile.ts';
import {commonPairs, heldWidths, violationText} from '../hardware/rules.ts';
import {item, present} from '../lookup.ts';
import type {SearchSettings} from '../plugin-api/searcher.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {pinnedBits} from '../sdq/pins.ts';
import {highestSelection} from '../sdq/search/costs.ts';
import {bitsOf} from '../sdq/search/outcome.ts';
import {checkTargets, createBudget, type Precision, type SearchProblem} from '../sdq/search/problem.ts';
import {
  bopsOf,
  checkCandidates,
  layerCosts,
  meanWeightBitsOf,
  searchSpace,
  sizeKiBOf,
  type SpaceOptions,
} from '../sdq/search/space.ts';
import {buildStrategy, productBits, type Strategy, type Targets} from '../sdq/strategy.ts';
import {placementIn, violationsOf} from './hardware-check.ts';
import {readProfiles} from './hardware-file.ts';
import {budgetNames, type BudgetName} from './results.ts';
import {measuredCosts} from './latency-table-file.ts';

export type SearchConfig = Pick<Config, 'search' | 'quantizers' | 'seed' | 'hardware'> & {
  readonly model: {readonly name: string};
};

export interface Search {
  readonly problem: SearchProblem;
  readonly settings: SearchSettings;
  /** Whether a result above a target is a failure. */
  readonly keepsTargets: boolean;
  /** The strategy of committed bits. */
  readonly strategyOf: (bits: readonly Precision[], provenance: Strategy['provenance']) => Strategy;
  /** The budgets by name, as a strategy's provenance has them. */
  readonly targets: Targets;
  /** Names of the hardware profiles whose rules it keeps. */
  readonly hardware: readonly string[];
}

/** The budgets of a config; mean weight bits of 2 where it names none. */
function targetsOf({target}: Config['search']): Targets {
  const named = budgetNames.filter((name) => target[name] !== undefined);
  return named.length === 0 ? {meanWeightBits: 2} : Object.fromEntries(named.map((name) => [name, target[name]]));
}

/**
 * @param steps what all epochs of the search have
 * @throws SdqError (exit 3) for candidates, pins or budgets that do not fit the network or each other, (exit 4) where the
 *   hardware does not run what the search would decide between
 */
export function searchProblem(config: SearchConfig, registry: Registry, graph: Graph, steps: number): Search {
  const {search, seed} = config;
  const definition = registry.get('searcher', search.method);
  const keepsTargets = definition.keepsTargets ?? true;
  const {layers} = layerTable(graph);
  const names = layers.map(({name}) => name);
  const targets = targetsOf(search);
  const asked: SearchSettings = {...search, targets};
  const settings = definition.prepare?.(asked) ?? asked;
  checkCandidates(search.candidates);
  if (typeof search.activationBits !== 'number') checkCandidates(search.activationBits, '/search/activationBits');
  if (Array.isArray(search.attentionBits)) checkCandidates(search.attentionBits, '/search/attentionBits');
  const shared = sharedWeights(layers);
  const withWeights = layers.filter(hasWeights).map(({name}) => name);
  const pinned = pinnedBits(withWeights, lastLayers(graph, withWeights), search.pin, shared);
  const products = {
    names: new Set(names.filter((name) => !withWeights.includes(name))),
    bits: productBits(search),
  };
  const {hardware: reference} = search.target;
  const quantizer = registry.get('weight-quantizer', config.quantizers.weights);
  const references = [...(reference === undefined ? [] : [reference]), ...config.hardware];
  const profiles = readProfiles(references).map((profile) => heldWidths(profile, quantizer));
  // The device of a latency or an energy: the one named with it, else the only one there is.
  const device = reference === undefined && profiles.length > 1 ? undefined : profiles[0];
  const space = searchSpace(names, {
    candidates: settings.candidates,
    activationBits: search.activationBits,
    pinned,
    products,
    shared,
    ...(profiles.length === 0 ? {} : rulesOf(profiles, graph)),
  });
  const start = bitsOf(space, highestSelection(space));
  const costs = costFunctions(registry, graph, device, {...config, start});
  const problem: SearchProblem = {
    ...space,
    budgets: budgetNames
      .filter((name) => targets[name] !== undefined)
      .map((name) => createBudget(name, present(targets[name], `target ${name}`), layerCosts(space, costs(name)))),
    steps,
    seed,
  };
  if (keepsTargets) checkTargets(problem);
  const strategyOf: Search['strategyOf'] = (bits, provenance) =>
    buildStrategy({
      model: {name: config.model.name, digest: graphDigest(graph)},
      quantizers: config.quantizers,
      layers,
      weightBits: bits.map(({weightBits}) => weightBits),
      activationBits: bits.map(({activationBits}) => activationBits),
      pinned,
      hardware: profiles.map(({name}) => name),
      provenance,
    });
  checkOn(profiles, registry, graph, strategyOf(start, {method: search.method, sdqVersion: ''}));
  return {problem, settings, keepsTargets, strategyOf, targets, hardware: profiles.map(({name}) => name)};
}

function rulesOf(profiles: readonly HardwareProfile[], graph: Graph): Pick<SpaceOptions, 'allowed' | 'joined'> {
  const {layers} = layerTable(graph);
  const {joined, last} = placementIn(graph, [...new Set(profiles.flatMap((profile) => profile.unified))]);
  return {
    allowed: {device: profiles.map(({name}) => name).join(' and '), pairs: commonPairs(profiles, layers, last)},
    joined,
  };
}

/** What the bits do not decide, e.g. the quantizers: what holds for the first strategy of the search holds for every later one. */
function checkOn(profiles: readonly HardwareProfile[], registry: Registry, graph: Graph, strategy: Strategy): void {
  const violations = violationsOf(strategy, profiles, registry, graph);
  if (violations.length === 0) return;
  throw new SdqError(violations.map(violationText).join(' '), {
    code: 'search-hardware-forbids',
    exit: ExitCode.hardwareViolated,
    suggestions: ['Change quantizers, search.pin or search.activationBits to what the device allows.'],
  });
}

/** The start says which layers have inputs in float: no search decides that. */
type CostConfig = SearchConfig & {readonly start: readonly Precision[]};

/** What a layer costs at some bits, by the name of the budget. */
function costFunctions(
  registry: Registry,
  graph: Graph,
  profile: HardwareProfile | undefined,
  config: CostConfig,
): (name: BudgetName) => (layer: number, bits: Precision) => number {
  const {layers} = layerTable(graph);
  return (name) => {
    switch (name) {
      case 'meanWeightBits':
        return meanWeightBitsOf(layers);
      case 'sizeKiB':
        return sizeKiBOf(layers);
      case 'bops':
        return bopsOf(layers);
      case 'latencyMs':
      case 'energyUj':
        return deviceCost(name, registry, graph, profile, config);
    }
  };
}

/** Latency in ms or energy in µJ of a layer for one sample, by the cost model of the hardware or the measured times of a table. */
function deviceCost(
  name: 'latencyMs' | 'energyUj',
  registry: Registry,
  graph: Graph,
  profile: HardwareProfile | undefined,
  {model, search, start}: CostConfig,
): (layer: number, bits: Precision) => number {
  const pointer = `/search/target/${name}`;
  if (profile === undefined) {
    throw invalidInput('search-target-without-hardware', `${pointer} needs the hardware it is about.`, [
      'Set search.target.hardware, e.g. to bitfusion-edge; `sdq hardware list` shows the profiles.',
    ]);
  }
  const modelled: PreparedCosts = prepareCosts(profile, registry.get('cost-model', profile.costModel.family), 1);
  if (!modelled.additive) {
    throw invalidInput(
      'search-cost-not-additive',
      `${pointer}: on ${profile.name} the layers run at the same time, so no single layer has a ${name} that a search could lower.`,
      ['Search with bops or sizeKiB on this hardware; sdq hardware estimate gives the figure of the result.'],
    );
  }
  const geometries = layerGeometries(graph);
  const {latencyTable} = search.target;
  const measured = {model: {name: model.name, graphDigest: `sha256:${graphDigest(graph)}`}, geometries};
  const costs = latencyTable === undefined ? modelled : measuredCosts(modelled, measured, latencyTable);
  return (l, bits) => {
    const {latencyUs, energyUj} = costs.layer(item(geometries, l), bits, start[l - 1]);
    const value = name === 'energyUj' ? energyUj : latencyUs === null ? null : latencyUs / 1000;
    if (value !== null) return value;
    const isMissing = latencyTable !== undefined && name === 'latencyMs';
    const {activationBits, weightBits} = bits;
    throw invalidInput(
      'search-cost-not-modelled',
      isMissing
        ? `${pointer}: ${latencyTable} has no time of "${item(geometries, l).name}" at ${weightBits}/${activationBits} bits, and the cost model of ${profile.name} gives none.`
        : `${pointer}: the cost model of ${profile.name} gives no such figure.`,
      [
        'sdq hardware show NAME says what a profile models.',
        'sdq hardware measure times layers; search.target.latencyTable names its file.',
      ],
    );
  };
}
