/** Layers that read the same weights: one decision, one bitwidth, one step, counted and stored once. */
import {describe, expect, test} from '@jest/globals';

import {graphBuilder} from '../../../src/graph/builder.ts';
import {graphDigest} from '../../../src/graph/digest.ts';
import {initialWeights} from '../../../src/graph/initialize.ts';
import {layerTable, sharedWeights} from '../../../src/graph/layer-table.ts';
import {createNetwork} from '../../../src/graph/network.ts';
import {layerGeometries} from '../../../src/hardware/geometry.ts';
import {loadQuantizers} from '../../../src/phases/load-quantizers.ts';
import {checkedStrategy} from '../../../src/phases/strategy-file.ts';
import {exporters} from '../../../src/plugins/exporters/index.ts';
import {activationQuantizers, weightQuantizers} from '../../../src/plugins/quantizers/index.ts';
import {Registry} from '../../../src/plugin-api/registry.ts';
import {integerNetwork} from '../../../src/sdq/integer-network.ts';
import {pinnedBits} from '../../../src/sdq/pins.ts';
import {committed, initSearch, searchDone, type DbpProblem} from '../../../src/sdq/search/dbp-state.ts';
import {advanceSearch, planStep} from '../../../src/sdq/search/dbp-step.ts';
import {outcomeOf} from '../../../src/sdq/search/outcome.ts';
import {createBudget, weightDecisions} from '../../../src/sdq/search/problem.ts';
import {layerCosts, meanWeightBitsOf, searchSpace, sizeKiBOf} from '../../../src/sdq/search/space.ts';
import {buildStrategy, matchStrategy, weightsKiB, type Strategy} from '../../../src/sdq/strategy.ts';
import {quantize} from '../../../src/training/quantized-network.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectSameInRuntime} from '../../helpers/onnx-runtime.ts';

useCpuBackend();

/** A stem, one filter of 4 × 4 × 3 × 3 that is applied three times, and a classifier. */
const graph = (() => {
  const g = graphBuilder('recurrent', [3, 5, 5]);
  let x = g.node('Relu', 'stem.relu', [g.conv('stem', g.input, {channels: 4, kernel: 3})]);
  const w = g.parameter({
    name: 's.weight',
    shape: [4, 4, 3, 3],
    role: 'weight',
    initializer: {kind: 'kaiming-normal', fan: 36},
  });
  for (const name of ['s', 's_2', 's_3']) {
    x = g.node('Relu', `${name}.relu`, [g.node('Conv', name, [x, w], {kernel_shape: [3, 3], pads: [1, 1, 1, 1]})]);
  }
  const pooled = g.node('Flatten', 'flatten', [g.node('GlobalAveragePool', 'pool', [x])]);
  return g.build(g.linear('fc', pooled, {features: 2}));
})();
const {layers} = layerTable(graph);
const names = layers.map(({name}) => name);
const shared = sharedWeights(layers);
/** Weights of the stem, the shared filter and the classifier. */
const sizes = [108, 144, 8];
const total = 108 + 144 + 8;
const model = {name: 'recurrent', digest: graphDigest(graph)};

function strategy(weightBits: number[]): Strategy {
  return buildStrategy({
    model,
    quantizers: {weights: 'symmetric', activations: 'lsq'},
    layers,
    weightBits,
    activationBits: names.map(() => 4),
    pinned: new Map(),
    provenance: {method: 'uniform', sdqVersion: ''},
  });
}

test('the weights count at their first reader', () => {
  expect(layers.map(({params, sharedWith}) => [params, sharedWith])).toEqual([
    [108, undefined],
    [144, undefined],
    [0, 's'],
    [0, 's'],
    [8, undefined],
  ]);
  const {summary, layers: ofStrategy} = strategy([8, 2, 2, 2, 8]);
  expect(summary.meanWeightBits).toBeCloseTo((8 * 108 + 2 * 144 + 8 * 8) / total, 12);
  expect(weightsKiB(ofStrategy)).toBeCloseTo((8 * 108 + 2 * 144 + 8 * 8) / 8192, 12);
  // Each reader computes with all of them, and one of them holds them in memory.
  expect(layerGeometries(graph).map(({params, sharesWeights}) => [params, sharesWeights])).toEqual([
    [108, false],
    [144, false],
    [144, true],
    [144, true],
    [8, false],
  ]);
});

describe('a strategy file', () => {
  const found = (change: (file: {layers: Record<string, unknown>[]; summary?: unknown}) => void): (() => void) => {
    const file = structuredClone(strategy([8, 4, 4, 4, 8])) as unknown as Parameters<typeof change>[0];
    change(file);
    delete file.summary;
    return () => {
      matchStrategy(checkedStrategy(file, 's.json'), model, layers, 's.json');
    };
  };

  test('of one bitwidth is valid', () => {
    expect(found(() => undefined)).not.toThrow();
  });

  test.each([true, false])('of several is refused by name, whether or not it says what is shared (%s)', (says) => {
    expect(
      found((file) => {
        file.layers[3]!['weightBits'] = 2;
        if (says) return;
        for (const layer of file.layers.slice(1, 4)) {
          delete layer['sharedWith'];
          layer['params'] = 144;
        }
      }),
    ).toThrow(
      /s\.json: \/layers\/3\/weightBits is 2, but layer "s_3" reads the same weights as "s", which has 4 bits: one tensor has one bitwidth\./,
    );
  });

  test.each(['nothing', 's_2', 's_3'])('that shares with "%s" is refused', (name) => {
    expect(found((file) => (file.layers[3]!['sharedWith'] = name))).toThrow(/must name the first layer/);
  });

  test('that does not say what is shared is refused, with what to add', () => {
    expect(
      found((file) => {
        delete file.layers[2]!['sharedWith'];
        file.layers[2]!['params'] = 144;
      }),
    ).toThrow(/layers\/2: layer "s_2" of recurrent reads the weights of "s", which count once/);
  });

  test('that counts the weights for each reader is refused', () => {
    expect(found((file) => (file.layers[2]!['params'] = 144))).toThrow(
      /^s\.json: \/layers\/2\/params: expected 0, found 144/,
    );
  });
});

test('a pin of one reader holds for all; two that differ are refused', () => {
  expect([...pinnedBits(names, ['fc'], {s_2: 6}, shared)]).toEqual([
    ['s', 6],
    ['s_2', 6],
    ['s_3', 6],
  ]);
  expect(() => pinnedBits(names, ['fc'], {s: 6, s_3: 4}, shared)).toThrow(
    /"s" \(6 bits\) and "s_3" \(4 bits\) read the same/,
  );
  expect([...pinnedBits(names, ['fc'], undefined, shared).keys()]).toEqual(['stem', 'fc']);
});

describe('a search', () => {
  const options = {candidates: [2, 4, 8], activationBits: 4, pinned: new Map<string, number>(), shared};

  test('has one decision about the weights, and one about each input that is learned', () => {
    const fixed = searchSpace(names, options);
    expect(fixed.decisions.map((decision) => decision.layers)).toEqual([[0], [1, 2, 3], [4]]);
    expect(weightDecisions(fixed)).toEqual([0, 1, 1, 1, 2]);
    const learned = searchSpace(names, {...options, activationBits: [4, 8]});
    expect(learned.decisions.map((decision) => decision.layers)).toEqual([
      [0],
      [1, 2, 3],
      [4],
      [0],
      [1],
      [2],
      [3],
      [4],
    ]);
  });

  test('counts them once and gives all readers the same bits', () => {
    const space = searchSpace(names, options);
    const [mean, size] = [meanWeightBitsOf(layers), sizeKiBOf(layers)].map((cost) => layerCosts(space, cost));
    const most = (costs: typeof mean): number => costs!.reduce((sum, {table}) => sum + table.at(-1)!, 0);
    expect(most(mean)).toBeCloseTo(8, 12);
    expect(most(size)).toBeCloseTo((8 * sizes.reduce((sum, n) => sum + n, 0)) / 8192, 12);
    const problem: DbpProblem = {
      forward: 'draw',
      ...space,
      budgets: [createBudget('meanWeightBits', 3, mean!)],
      steps: 400,
      seed: 1,
      dbp: {learningRate: 0.1, thetaInit: 3, betaThreshold: 0.5, tauStart: 1, tauEnd: 0.1},
      dualRate: 1,
      rampFraction: 0.8,
      quantizationErrorWeight: 0,
    };
    let state = initSearch(problem);
    while (!searchDone(problem, state)) {
      ({state} = advanceSearch(problem, state, planStep(problem, state), {shares: problem.decisions.map(() => 0)}));
    }
    const {bits, budgets} = outcomeOf(problem, committed(state));
    expect(budgets[0]!.missedBy).toBe(0);
    const weightBits = bits.map((own) => own.weightBits);
    expect(new Set(weightBits.slice(1, 4)).size).toBe(1);
    expect(budgets[0]!.cost).toBeCloseTo(strategy(weightBits).summary.meanWeightBits, 12);
  });

  test('leaves them the bits that a device runs for every reader', () => {
    const pair = (weightBits: number, activationBits: number) => ({weightBits, activationBits});
    const any = [2, 4, 8].flatMap((w) => [4, 8].map((a) => pair(w, a)));
    const some = [pair(4, 4), pair(8, 8)];
    const allowed = {device: 'd', pairs: [any, any, some, any, any]};
    const {decisions} = searchSpace(names, {...options, activationBits: [4, 8], allowed});
    expect(decisions[1]).toEqual({layers: [1, 2, 3], candidates: some});
    // Where one input is joined with another layer's, the bits of the input are fixed.
    const joined = searchSpace(names, {...options, activationBits: [4, 8], allowed, joined: [['stem', 's_3']]});
    expect(joined.decisions[1]).toEqual({layers: [1, 2, 3], candidates: [pair(8, 8)]});
    const none = {device: 'd', pairs: [any, [pair(2, 4)], [pair(4, 4)], any, any]};
    expect(() => searchSpace(names, {...options, allowed: none})).toThrow(/"s", "s_2", "s_3" read the same weights/);
  });
});

describe('quantized', () => {
  test.each(exporters)('they have one step, and one copy in $name', async (exporter) => {
    const {roundsInputs = true} = exporter;
    const registry = new Registry([]);
    for (const definition of [...weightQuantizers, ...activationQuantizers]) registry.add(definition);
    const network = createNetwork(graph, initialWeights(graph, 1));
    const quantizers = await loadQuantizers(registry, {weights: 'symmetric', activations: 'lsq'});
    const quantization = quantize(network, quantizers, () => ({weightBits: 3, activationBits: 4}), {learnSteps: true});
    const {steps, parameters} = quantization;
    expect(parameters.map(({name}) => name).filter((name) => name.endsWith('_step'))).toEqual([
      'stem.weight_step',
      's.weight_step',
      'fc.weight_step',
    ]);
    expect(steps.get('s_3')).toBe(steps.get('s'));
    const print = await exporter.load();
    const exported = print(await integerNetwork(network, quantization));
    const copies = exported.graph.initializers.filter(({name}) => /weight(_(integers|values))?$/.test(name));
    expect(copies.map(({name}) => name.split('.')[0])).toEqual(['stem', 's', 'fc']);
    const {activation, weight} = quantization.forward;
    await expectSameInRuntime(network, exported, roundsInputs ? {activation, weight} : {weight});
    quantization.dispose();
    network.dispose();
  });
});
