/** The search under several budgets, learned activation bits and the costs of devices. */
import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import {layerGeometries} from '../../../src/hardware/geometry.ts';
import {prepareCosts} from '../../../src/hardware/cost-model.ts';
import {allowedPairs, hardwareViolations} from '../../../src/hardware/rules.ts';
import {joinedLayers} from '../../../src/hardware/joined-layers.ts';
import {layerTable} from '../../../src/graph/layer-table.ts';
import {readProfile} from '../../../src/phases/hardware-file.ts';
import {costModels} from '../../../src/plugins/cost-models/index.ts';
import {models} from '../../../src/plugins/models/index.ts';
import {weightQuantizers} from '../../../src/plugins/quantizers/index.ts';
import {normal, uniform} from '../../../src/random.ts';
import {sigmoid} from '../../../src/sdq/dbp.ts';
import {
  committed,
  committedCost,
  expectedCost,
  initSearch,
  parseSearchState,
  searchDone,
  type DbpProblem,
  type SearchState,
} from '../../../src/sdq/search/dbp-state.ts';
import {advanceSearch, planStep, type Choice} from '../../../src/sdq/search/dbp-step.ts';
import {outcomeOf, type SelectionOutcome} from '../../../src/sdq/search/outcome.ts';
import {dueLevel, isDominated, keepPoint, parsePoints, type KeptPoint} from '../../../src/sdq/search/pareto.ts';
import {checkTargets, createBudget, type Budget, type Precision} from '../../../src/sdq/search/problem.ts';
import {
  bopsOf,
  layerCosts,
  meanWeightBitsOf,
  searchSpace,
  sizeKiBOf,
  type SearchSpace,
} from '../../../src/sdq/search/space.ts';
import {buildStrategy} from '../../../src/sdq/strategy.ts';

const searchResult = (problem: DbpProblem, state: SearchState): SelectionOutcome =>
  outcomeOf(problem, committed(state));

const every = [1, 2, 3, 4, 5, 6, 7, 8];

function problemOf(space: SearchSpace, budgets: readonly Budget[], overrides: Partial<DbpProblem> = {}): DbpProblem {
  return {
    forward: 'draw',
    ...space,
    budgets,
    steps: 600,
    seed: 0,
    dbp: {learningRate: 0.1, thetaInit: 2, betaThreshold: 0.5, tauStart: 1, tauEnd: 0.3},
    dualRate: 0.5,
    rampFraction: 0.85,
    quantizationErrorWeight: 0,
    ...overrides,
  };
}

/** A loss without a network: the fewer the bits, the more it rises from one candidate to the next, in noise. */
function madeUpGradients(plan: readonly Choice[], step: number): number[] {
  const error = ({weightBits = 8, activationBits = 8}: Partial<Precision>): number =>
    4 ** -weightBits + 4 ** -activationBits;
  return plan.map(({high, low}, d) => {
    if (low === null) return 0;
    const rise = error(low) - error(high);
    return -rise + 0.1 * Math.sqrt(rise) * normal(uniform(1, 'bench', step, d));
  });
}

function runSearch(
  problem: DbpProblem,
  onStep: (state: SearchState) => void = () => undefined,
  from = initSearch(problem),
): SearchState {
  let state = from;
  while (!searchDone(problem, state)) {
    const plan = planStep(problem, state);
    state = advanceSearch(problem, state, plan, {shares: madeUpGradients(plan, state.step)}).state;
    onStep(state);
  }
  return state;
}

const range = ({costs}: Budget): {least: number; most: number} => ({
  least: costs.reduce((sum, {table}) => sum + Math.min(...table), 0),
  most: costs.reduce((sum, {table}) => sum + Math.max(...table), 0),
});

const layers = [4, 16, 64, 64, 16].map((size, l) => ({name: `l${l}`, params: 1000 * size, macs: 1e6 * (80 - size)}));
const names = layers.map(({name}) => name);

describe('space', () => {
  const pinned = new Map([['l0', 8]]);

  test('one bitwidth for inputs: a decision a layer, which also says the bits of the input; pinned inputs get no fewer than their weights', () => {
    const {decisions} = searchSpace(names, {candidates: [2, 4], activationBits: 4, pinned});
    expect(decisions).toHaveLength(5);
    expect(decisions[0]).toEqual({layers: [0], candidates: [{weightBits: 8, activationBits: 8}]});
    expect(decisions[1]!.candidates).toEqual([
      {weightBits: 2, activationBits: 4},
      {weightBits: 4, activationBits: 4},
    ]);
  });

  test('learned inputs: a second decision for each layer that has a choice', () => {
    const {decisions} = searchSpace(names, {candidates: [2, 4], activationBits: [2, 8], pinned});
    expect(decisions).toHaveLength(5 + 4);
    expect(decisions[0]!.candidates).toEqual([{weightBits: 8, activationBits: 8}]);
    expect(decisions[1]!.candidates).toEqual([{weightBits: 2}, {weightBits: 4}]);
    expect(decisions[5]).toEqual({layers: [1], candidates: [{activationBits: 2}, {activationBits: 8}]});
  });

  test('where a device does not run every combination, both are one decision along the longest chain', () => {
    const pairs: Precision[] = [
      [4, 4],
      [4, 8],
      [8, 8],
      [2, 8],
    ].map(([weightBits, activationBits]) => ({weightBits: weightBits!, activationBits: activationBits!}));
    const allowed = {device: 'd', pairs: names.map(() => pairs)};
    const {decisions} = searchSpace(names, {candidates: every, activationBits: every, pinned: new Map(), allowed});
    expect(decisions).toHaveLength(5);
    expect(decisions[0]!.candidates).toHaveLength(3);
    expect(decisions[0]!.candidates.at(-1)).toEqual({weightBits: 8, activationBits: 8});
    decisions[0]!.candidates.forEach((candidate) => expect(pairs).toContainEqual(candidate));
  });

  test('inputs that share a scale are one decision', () => {
    const {decisions} = searchSpace(names, {
      candidates: [2, 4],
      activationBits: [2, 4, 8],
      pinned: new Map([['l0', 4]]),
      joined: [['l0', 'l3']],
    });
    expect(decisions.find((decision) => decision.layers.length === 2)).toEqual({
      layers: [0, 3],
      candidates: [{activationBits: 4}, {activationBits: 8}],
    });
  });

  test('a device that allows none of the candidates is named with what it allows', () => {
    const allowed = {device: 'dpu', pairs: names.map(() => [{weightBits: 8, activationBits: 8}])};
    expect(() => searchSpace(names, {candidates: every, activationBits: 32, pinned: new Map(), allowed})).toThrow(
      expect.objectContaining({
        message: expect.stringMatching(/"l0": dpu allows weights of 8 bits with inputs of 8 bits; .* inputs of 32\./),
        oclif: {exit: 4},
      }),
    );
  });
});

describe('costs of two decisions a layer', () => {
  const space = searchSpace(names, {candidates: [2, 4, 8], activationBits: [4, 8], pinned: new Map()});
  const bops = createBudget('bops', 1, layerCosts(space, bopsOf(layers)));
  const problem = problemOf(space, [bops]);
  const start = initSearch({...problem, budgets: [{...bops, target: 1e12}]});
  const at = (thetas: readonly number[]): SearchState => ({
    ...start,
    decisions: start.decisions.map(({candidate, dbp}, d) => ({candidate, dbp: {...dbp, theta: thetas[d]!}})),
  });

  test('the expected cost is the mean over all draws', () => {
    fc.assert(
      fc.property(fc.array(fc.double({min: -3, max: 3, noNaN: true}), {minLength: 10, maxLength: 10}), (thetas) => {
        const byHand = layers.reduce((sum, {macs}, l) => {
          const [w, a] = [sigmoid(thetas[l]!), sigmoid(thetas[5 + l]!)];
          const mean = w * a * 64 + w * (1 - a) * 32 + (1 - w) * a * 32 + (1 - w) * (1 - a) * 16;
          return sum + macs * mean;
        }, 0);
        expect(Math.abs(expectedCost(problem, at(thetas), bops) / byHand - 1)).toBeLessThan(1e-12);
      }),
    );
  });

  test('θ’s gradient by the price is the finite difference of the expected cost, in the budget’s unit', () => {
    const thetas = Array.from({length: 10}, (_, d) => 0.3 * d - 1);
    const state = {...at(thetas), step: 0, lambdas: [2]};
    const still = {...problem, dualRate: 0};
    const plan = planStep(still, state);
    const next = advanceSearch(still, state, plan, {shares: plan.map(() => 0)}).state;
    thetas.forEach((theta, d) => {
      const cost = (by: number): number => expectedCost(problem, at(thetas.with(d, theta + by)), bops);
      const numeric = (2 * (cost(1e-5) - cost(-1e-5))) / 2e-5 / bops.unit;
      const found = next.decisions[d]!;
      // A decision that fell below the threshold has started again.
      if (found.dbp.updates === 1) expect(found.dbp.m / 0.1 / numeric).toBeCloseTo(1, 6);
    });
    expect(next.decisions.filter(({dbp}) => dbp.updates === 1).length).toBeGreaterThan(5);
  });
});

describe('candidates that cost alike', () => {
  const single = (table: readonly number[], target = Math.min(...table)): DbpProblem =>
    problemOf(
      {
        layers: [{name: 'a', pinned: false}],
        decisions: [{layers: [0], candidates: every.map((weightBits) => ({weightBits}))}],
      },
      [createBudget('latencyMs', target, [{decisions: [0], table}])],
    );
  const path = (problem: DbpProblem): number[] => {
    const found: number[] = [];
    const last = runSearch(problem, ({decisions}) => found.push(decisions[0]!.candidate + 1));
    expect(searchResult(problem, last).budgets[0]!.missedBy).toBe(0);
    return [...new Set(found)];
  };

  test('Bit Fusion’s 1, 2, 4, 8: the bitwidths in between are passed over, and 1 bit is no better than 2', () => {
    expect(path(single([25, 25, 50, 50, 100, 100, 100, 100]))).toEqual([8, 4, 2]);
  });

  test('so are those that save next to nothing', () => {
    expect(path(single([24, 25, 49, 50, 97, 98, 99, 100], 25))).toEqual([8, 4, 2]);
  });

  test('a bitwidth that costs more than the next higher one is passed over', () => {
    expect(path(single([18, 22, 32, 36, 51, 55, 59, 40]))).toEqual([8, 3, 2, 1]);
  });

  test('costs that rise evenly are gone down bit by bit', () => {
    expect(path(single(every))).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
  });

  test('a second budget, e.g. size, makes them different again', () => {
    const problem = single([25, 25, 50, 50, 100, 100, 100, 100]);
    const both = {
      ...problem,
      budgets: [...problem.budgets, createBudget('sizeKiB', 1, [{decisions: [0], table: every}])],
    };
    expect(path(both).at(-1)).toBe(1);
    expect(path(both)).toContain(7);
  });
});

describe('several budgets', () => {
  const space = searchSpace(names, {candidates: every, activationBits: [2, 4, 8], pinned: new Map([['l0', 8]])});
  const budgets = [
    createBudget('meanWeightBits', 3, layerCosts(space, meanWeightBitsOf(layers))),
    createBudget('bops', 7e9, layerCosts(space, bopsOf(layers))),
  ];
  const problem = problemOf(space, budgets);

  test('all are met at the end, and the search ends no sooner', () => {
    let before = initSearch(problem);
    const last = runSearch(problem, (state) => {
      if (!searchDone(problem, state)) before = state;
    });
    for (const {missedBy} of searchResult(problem, last).budgets) expect(missedBy).toBe(0);
    expect(budgets.some((budget) => committedCost(problem, before, budget) > budget.target)).toBe(true);
  });

  test('a budget that is loose leaves λ at 0 and changes nothing', () => {
    const alone = {...problem, budgets: [budgets[0]!]};
    const loose = {...problem, budgets: [budgets[0]!, {...budgets[1]!, target: range(budgets[1]!).most}]};
    const [a, b] = [runSearch(alone), runSearch(loose)];
    expect(b.decisions).toEqual(a.decisions);
    expect(b.lambdas).toEqual([a.lambdas[0], 0]);
  });

  test('inputs keep their bits where only the weights’ size is asked for', () => {
    const {bits} = searchResult(problem, runSearch({...problem, budgets: [budgets[0]!]}));
    bits.forEach(({activationBits}) => expect(activationBits).toBe(8));
  });

  test('the state survives JSON: a resumed search goes on to the same bits, θ and λ', () => {
    const states: string[] = [];
    const whole = runSearch(problem, (state) => states.push(JSON.stringify(state)));
    for (const at of [1, 40, 200, states.length - 1]) {
      const from = parseSearchState(JSON.parse(states[at - 1]!), problem, 'c');
      expect(runSearch(problem, undefined, from)).toEqual(whole);
    }
  });

  test('each budget that cannot be met is named with the smallest that can', () => {
    const tight = {...problem, budgets: budgets.map((budget) => ({...budget, target: 1}))};
    const least = budgets.map((budget) => range(budget).least);
    let message = '';
    try {
      checkTargets(tight);
    } catch (error) {
      ({message} = error as Error);
    }
    const found = [
      ...message.matchAll(/target\/(\w+) is 1; the smallest that the candidates can reach is ([\d.e+]+)\./g),
    ];
    expect(found.map(([, name]) => name)).toEqual(['meanWeightBits', 'bops']);
    found.forEach(([, , value], k) => {
      expect(Number(value)).toBeGreaterThanOrEqual(least[k]!);
      expect(Number(value)).toBeLessThan(least[k]! * 1.001);
    });
    const smallest = found.map(([, , value]) => Number(value));
    expect(() =>
      checkTargets({...problem, budgets: budgets.map((b, k) => ({...b, target: smallest[k]!}))}),
    ).not.toThrow();
  });
});

describe('on a device', () => {
  const resnet = models.find(({name}) => name === 'resnet20')!;
  const graph = resnet.build({classes: 10, inputShape: [3, 32, 32]}, {});
  const table = layerTable(graph).layers;
  const geometries = layerGeometries(graph);
  const devices = [
    'bitfusion-edge',
    'cutlass-sm80',
    'cutlass-sm90',
    'tensorrt-int8',
    'dpu-b512',
    'finn-zu7ev',
    'generic-energy-45nm',
  ];

  test.each(devices)(
    '%s: whatever the budget, the result is met or missed as it says, and keeps every rule',
    (device) => {
      const profile = readProfile(device);
      const costs = prepareCosts(
        profile,
        costModels.find(({name}) => name === profile.costModel.family)!,
        1,
      );
      const joined = joinedLayers(graph, table, profile.unified);
      fc.assert(
        fc.property(
          fc.record({
            inputs: fc.constantFrom<number | readonly number[]>(8, [2, 4, 8], [4, 8], every),
            tightness: fc.array(fc.double({min: 0, max: 1, noNaN: true}), {minLength: 3, maxLength: 3}),
            seed: fc.nat(1000),
            forward: fc.constantFrom('draw' as const, 'mix' as const),
          }),
          ({inputs, tightness, seed, forward}) => {
            const pinned = new Map(device.startsWith('finn') ? [] : [[table[0]!.name, 8]]);
            const space = searchSpace(
              table.map(({name}) => name),
              {
                candidates: every,
                activationBits:
                  device === 'dpu-b512' || device === 'tensorrt-int8' || device === 'cutlass-sm90' ? 8 : inputs,
                pinned,
                allowed: {device, pairs: allowedPairs(profile, table)},
                joined,
              },
            );
            const modelled = (l: number, bits: Precision): number => {
              const {latencyUs, energyUj} = costs.layer(geometries[l]!, bits);
              return (latencyUs ?? energyUj)!;
            };
            const tables = [
              layerCosts(space, sizeKiBOf(table)),
              layerCosts(space, modelled),
              layerCosts(space, bopsOf(table)),
            ];
            const budgets = tables.map((own, k) => {
              const {least, most} = range(createBudget('', 0, own));
              return createBudget(`budget${k}`, least + (most - least) * tightness[k]! + 1e-9 * most, own);
            });
            const problem = problemOf(space, budgets, {
              steps: 80,
              seed,
              forward,
              dualRate: 3,
              dbp: {...problemOf(space, []).dbp, learningRate: 0.5},
            });
            const last = runSearch(problem);
            const {bits, budgets: results} = searchResult(problem, last);
            const strategy = buildStrategy({
              model: {name: 'resnet20', digest: 'a'.repeat(64)},
              quantizers: {weights: 'narrow', activations: 'pact'},
              layers: table,
              weightBits: bits.map(({weightBits}) => weightBits),
              activationBits: bits.map(({activationBits}) => activationBits),
              pinned,
              hardware: [device],
              provenance: {method: 'sdq', sdqVersion: '0.1.0'},
            });
            const violations = hardwareViolations(profile, strategy, weightQuantizers, {joined});
            expect(violations.filter(({layer}) => layer !== null)).toEqual([]);
            const isMet = results.every(({cost, target}) => cost <= target);
            expect(isMet).toBe(results.every(({missedBy}) => missedBy === 0));
            expect(isMet || last.step === problem.steps).toBe(true);
            expect(costs.additive ? results[1]!.cost : 0).toBeCloseTo(
              costs.additive ? bits.reduce((sum, own, l) => sum + modelled(l, own), 0) : 0,
              6,
            );
          },
        ),
        {numRuns: 4},
      );
    },
  );
});

describe('strategies on the way', () => {
  const space = searchSpace(names, {candidates: every, activationBits: 32, pinned: new Map()});
  const problem = problemOf(space, [createBudget('meanWeightBits', 2, layerCosts(space, meanWeightBitsOf(layers)))]);
  const [budget] = problem.budgets;

  test('each level is kept once, as soon as the cost is down to it; the last one is the target', () => {
    let kept: KeptPoint[] = [];
    runSearch(problem, (state) => {
      const level = dueLevel(problem, state, 6, kept);
      if (level !== null) kept = [...kept, keepPoint(problem, state, level, {value: 0.5, loss: 1})];
    });
    expect(kept.length).toBeGreaterThanOrEqual(4);
    expect(kept.map(({level}) => level)).toEqual([...new Set(kept.map(({level}) => level))].sort((a, b) => a - b));
    expect(kept.at(-1)!.level).toBe(6);
    for (const {level, costs} of kept) {
      expect(costs[0]).toBeLessThanOrEqual(8 - level + 1e-9);
      expect(costs[0]).toBeGreaterThan(8 - level - 1);
    }
    expect(kept.at(-1)!.costs[0]).toBeLessThanOrEqual(budget!.target);
    expect(parsePoints(JSON.parse(JSON.stringify(kept)), problem, 'c')).toEqual(kept);
  });

  test('dominated: another costs no more and has a lower loss', () => {
    const point = (cost: number, loss: number): KeptPoint => ({
      level: 1,
      step: 1,
      bits: [],
      costs: [cost],
      value: 0,
      loss,
    });
    const points = [point(5, 0.3), point(4, 0.2), point(3, 0.4)];
    expect(points.map((own) => isDominated(own, points))).toEqual([true, false, false]);
  });

  test('what is no list of kept strategies is refused', () => {
    for (const broken of [
      null,
      {},
      [null],
      [{level: 1}],
      [{level: 1, step: 1, bits: [], costs: [1], accuracy: 1, loss: 1}],
    ]) {
      expect(() => parsePoints(broken, problem, 'c')).toThrow(expect.objectContaining({oclif: {exit: 3}}));
    }
  });
});
