import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import {SdqError} from '../../../src/errors.ts';
import {normal, uniform} from '../../../src/random.ts';
import {sigmoid} from '../../../src/sdq/dbp.ts';
import {
  committed as committedSelection,
  committedCost,
  expectedCost,
  initSearch,
  parseSearchState,
  scheduledCost,
  searchDone,
  type DbpProblem,
  type SearchState,
} from '../../../src/sdq/search/dbp-state.ts';
import {advanceSearch, planStep, type Choice, type Transition} from '../../../src/sdq/search/dbp-step.ts';
import {outcomeOf, type BudgetResult, type SelectionOutcome} from '../../../src/sdq/search/outcome.ts';
import {checkTargets, createBudget} from '../../../src/sdq/search/problem.ts';
import {searchSnapshot} from '../../../src/sdq/search/snapshot.ts';
import {checkCandidates, layerCosts, meanWeightBitsOf, searchSpace} from '../../../src/sdq/search/space.ts';

const every = [1, 2, 3, 4, 5, 6, 7, 8];

/** Weights of ResNet20 for CIFAR-10. */
const resnet20 = [
  ['conv1', 432],
  ...Array.from({length: 6}, (_, i) => [`layer1.${i}`, 2304]),
  ['layer2.0', 4608],
  ...Array.from({length: 5}, (_, i) => [`layer2.${i + 1}`, 9216]),
  ['layer3.0', 18432],
  ...Array.from({length: 5}, (_, i) => [`layer3.${i + 1}`, 36864]),
  ['linear', 640],
].map(([name, params]) => ({name: name as string, params: params as number}));

const pinned = new Map([
  ['conv1', 8],
  ['linear', 8],
]);

/** A layer with its candidates' shares of one cost. */
interface CostedLayer {
  readonly name: string;
  readonly candidates: readonly number[];
  readonly costs: readonly number[];
  readonly pinned: boolean;
}

/** Layers whose cost is the mean bits of a weight. */
function sizeLayers(
  layers: readonly {readonly name: string; readonly params: number}[],
  candidates: readonly number[],
  pins: ReadonlyMap<string, number>,
): CostedLayer[] {
  const names = layers.map(({name}) => name);
  const space = searchSpace(names, {candidates, activationBits: 32, pinned: pins});
  return layerCosts(space, meanWeightBitsOf(layers)).map(({table}, l) => ({
    ...space.layers[l]!,
    candidates: space.decisions[l]!.candidates.map(({weightBits}) => weightBits!),
    costs: table,
  }));
}

interface Options extends Partial<Omit<DbpProblem, 'layers' | 'decisions' | 'budgets'>> {
  readonly layers?: readonly CostedLayer[];
  readonly target?: number;
}

/** A search by one budget, mean weight bits. */
function problemOf({layers = sizeLayers(resnet20, every, pinned), target = 2, ...others}: Options = {}): DbpProblem {
  return {
    forward: 'draw',
    layers: layers.map(({name, pinned}) => ({name, pinned})),
    decisions: layers.map(({candidates}, l) => ({
      layers: [l],
      candidates: candidates.map((weightBits) => ({weightBits})),
    })),
    budgets: [
      createBudget(
        'meanWeightBits',
        target,
        layers.map(({costs}, l) => ({decisions: [l], table: costs})),
      ),
    ],
    steps: 702,
    seed: 0,
    dbp: {learningRate: 0.1, thetaInit: 2, betaThreshold: 0.5, tauStart: 1, tauEnd: 0.3},
    dualRate: 0.5,
    rampFraction: 0.85,
    quantizationErrorWeight: 0,
    ...others,
  };
}

const searchResult = (problem: DbpProblem, state: SearchState): SelectionOutcome =>
  outcomeOf(problem, committedSelection(state));
const committed = (problem: DbpProblem, state: SearchState): number =>
  committedCost(problem, state, problem.budgets[0]!);
const expectation = (problem: DbpProblem, state: SearchState): number =>
  expectedCost(problem, state, problem.budgets[0]!);
const scheduled = (problem: DbpProblem, step: number): number =>
  scheduledCost(problem, {...initSearch(problem), step}, problem.budgets[0]!);
const weightBits = (problem: DbpProblem, state: SearchState): number[] =>
  searchResult(problem, state).bits.map((bits) => bits.weightBits);

/** Mean squared error of the symmetric grid on a unit Gaussian: what a bit less costs a layer. */
const gaussianError = [0.3634, 0.1494, 0.0406, 0.01186, 0.003526, 0.001043, 0.000305, 0.0000877];

/** A loss without a network: every layer's quantization error raises it alike, in noise. */
function syntheticGradients(plan: readonly Choice[], step: number, scale: number): number[] {
  return plan.map(({high, low}, l) => {
    if (low === null) return 0;
    const rise = gaussianError[low.weightBits! - 1]! - gaussianError[high.weightBits! - 1]!;
    return scale * (-rise + 0.1 * Math.sqrt(rise) * normal(uniform(1, 'bench', step, l)));
  });
}

function runSearch(
  problem: DbpProblem,
  scale = 1,
  onStep: (state: SearchState, transitions: readonly Transition[]) => void = () => undefined,
  from = initSearch(problem),
): SearchState {
  let state = from;
  while (!searchDone(problem, state)) {
    const plan = planStep(problem, state);
    const next = advanceSearch(problem, state, plan, {shares: syntheticGradients(plan, state.step, scale)});
    state = next.state;
    onStep(state, next.transitions);
  }
  return state;
}

/** One layer of 4 bits between candidates 2 and 4, by hand. */
const tiny = problemOf({
  layers: [
    {name: 'a', candidates: [2, 4], costs: [1, 2], pinned: false},
    {name: 'b', candidates: [8], costs: [0.5], pinned: true},
  ],
  target: 1.5,
  steps: 100,
});

describe('cost', () => {
  test('size: the layers’ costs at their bits add up to the mean bitwidth by parameters, pinned layers among them', () => {
    const layers = sizeLayers(
      [
        {name: 'a', params: 100},
        {name: 'b', params: 300},
      ],
      [2, 4],
      new Map([['a', 8]]),
    );
    expect(layers).toEqual([
      {name: 'a', candidates: [8], costs: [2], pinned: true},
      {name: 'b', candidates: [2, 4], costs: [1.5, 3], pinned: false},
    ]);
    const problem = problemOf({layers, target: 4});
    expect(committed(problem, initSearch(problem))).toBe(5);
  });

  test('expected cost is linear in β', () => {
    const state = {start: [1, 0], step: 0, lambdas: [0], decisions: [layerAt(0.3, 1), layerAt(2, 0)], descents: []};
    const beta = 1 / (1 + Math.exp(-0.3));
    expect(expectation(tiny, state)).toBeCloseTo(beta * 2 + (1 - beta) * 1 + 0.5, 12);
    expect(committed(tiny, state)).toBe(2.5);
  });

  test('the schedule falls linearly to the target over the ramp and stays there', () => {
    expect([0, 42.5, 85, 99].map((step) => scheduled(tiny, step))).toEqual([2.5, 2, 1.5, 1.5]);
    const lower = {...initSearch(tiny, [0, 0]), step: 42.5};
    const low = {...tiny, budgets: [{...tiny.budgets[0]!, target: 1}]};
    expect(scheduledCost(low, lower, low.budgets[0]!)).toBe(1.25);
    // A target above the highest cost is no way up.
    const [budget] = tiny.budgets;
    const loose = {...tiny, budgets: [{...budget!, target: 9}]};
    expect([0, 42.5, 99].map((step) => scheduled(loose, step))).toEqual([2.5, 2.5, 2.5]);
  });
});

function layerAt(theta: number, candidate: number): SearchState['decisions'][number] {
  return {candidate, dbp: {theta, m: 0, v: 0, updates: 0}};
}

describe('one step, by hand', () => {
  test('λ rises by η times the gap, θ follows the task and the price, moments start afresh', () => {
    const state = {start: [1, 0], step: 85, lambdas: [0.2], decisions: [layerAt(1, 1), layerAt(2, 0)], descents: []};
    const plan: Choice[] = [
      {high: {weightBits: 4}, low: {weightBits: 2}, share: 1, slope: 0.125},
      {high: {weightBits: 8}, low: null, share: 1, slope: 0},
    ];
    const {state: next, transitions} = advanceSearch(tiny, state, plan, {shares: [-3, 0]});
    // After the ramp: committed 2.5 against the target 1.5.
    expect(next.lambdas[0]).toBeCloseTo(0.2 + 0.5 * 1, 12);
    const beta = sigmoid(1);
    expect(next.decisions[0]!.dbp.m).toBeCloseTo(0.1 * (-3 * 0.125 + 0.7 * 1 * beta * (1 - beta)), 12);
    expect(next.decisions[0]!.dbp.theta).toBeCloseTo(1.1, 6);
    expect(next.decisions[1]).toEqual(state.decisions[1]);
    expect(next.step).toBe(86);
    expect(transitions).toEqual([]);
  });

  test('after the ramp λ above 1 grows in proportion to itself, during the ramp it does not', () => {
    const state = {start: [1, 0], step: 85, lambdas: [3], decisions: [layerAt(1, 1), layerAt(2, 0)], descents: []};
    const lambdaAfter = (at: typeof state): number =>
      advanceSearch(tiny, at, planStep(tiny, at), {shares: [0, 0]}).state.lambdas[0]!;
    // The gap is 1, as above.
    expect(lambdaAfter(state)).toBeCloseTo(3 + 0.5 * 3 * 1, 12);
    const gap = 1 + sigmoid(1) + 0.5 - (2.5 - 40 / 85);
    expect(lambdaAfter({...state, step: 40})).toBeCloseTo(3 + 0.5 * gap, 12);
  });

  test('λ rises as much on a short way to the target as on the way from the highest candidates', () => {
    const low = {...tiny, budgets: [{...tiny.budgets[0]!, target: 1}]};
    // Half a bit in place of one and a half.
    const state = {...initSearch(low, [0, 0]), step: 85, lambdas: [0.2]};
    const {lambdas} = advanceSearch(low, state, planStep(low, state), {shares: [0, 0]}).state;
    expect(lambdas[0]).toBeCloseTo(0.2 + 0.5 * 3 * 0.5, 12);
  });

  test('after the ramp the last gap of a short way counts as a sixteenth of the way, that of the longest as what it is', () => {
    const lambdaFrom = (start: readonly number[]): number => {
      // Committed 1.5, a hundredth above the target.
      const near = {...tiny, budgets: [{...tiny.budgets[0]!, target: 1.49}]};
      const state = {...initSearch(near, [0, 0]), start, step: 85, lambdas: [0.2]};
      return advanceSearch(near, state, planStep(near, state), {shares: [0, 0]}).state.lambdas[0]!;
    };
    expect(lambdaFrom([1, 0])).toBeCloseTo(0.2 + 0.5 * 0.01, 12);
    const way = 0.01;
    expect(lambdaFrom([0, 0])).toBeCloseTo(0.2 + 0.5 * (1.01 / way) * way, 12);
    const wide = problemOf({
      layers: sizeLayers([{name: 'a', params: 100}], [1, 2, 8], new Map()),
      target: 0.99,
      steps: 100,
    });
    const state = {...initSearch(wide, [0]), start: [1], step: 85, lambdas: [0.2]};
    const {lambdas} = advanceSearch(wide, state, planStep(wide, state), {shares: [0]}).state;
    expect(lambdas[0]).toBeCloseTo(0.2 + 0.5 * (7.01 / 1.01) * (1.01 / 16), 12);
  });

  test('the next lower candidate saves at least half of what the best one saves a bit; exactly half is enough', () => {
    // From 4 bits: 1 a bit to 2 bits, 2 a bit to 1 bit. A little less than 1, and 2 bits are passed over.
    const next = (costOfTwo: number): number | undefined => {
      const layers = [{name: 'a', candidates: [1, 2, 4], costs: [4, costOfTwo, 10], pinned: false}];
      const problem = problemOf({layers, target: 5});
      return planStep(problem, initSearch(problem))[0]!.low?.weightBits;
    };
    expect([next(8), next(8.001)]).toEqual([2, 1]);
  });

  test('during the ramp λ follows the expected cost, and never falls below 0', () => {
    const state = {start: [1, 0], step: 40, lambdas: [0.2], decisions: [layerAt(1, 1), layerAt(2, 0)], descents: []};
    const gap = 1 + sigmoid(1) + 0.5 - (2.5 - 40 / 85);
    const plan = planStep(tiny, state);
    expect(advanceSearch(tiny, state, plan, {shares: [0, 0]}).state.lambdas[0]).toBeCloseTo(0.2 + 0.5 * gap, 12);
    const early = {...state, step: 0, lambdas: [0.01]};
    expect(advanceSearch(tiny, early, planStep(tiny, early), {shares: [0, 0]}).state.lambdas[0]).toBe(0);
  });

  test('the quantization error adds λ_Q (e_high − e_low) β(1 − β)', () => {
    const problem = {...tiny, quantizationErrorWeight: 2, dualRate: 0.5};
    const state = {start: [1, 0], step: 0, lambdas: [0], decisions: [layerAt(1, 1), layerAt(2, 0)], descents: []};
    const plan: Choice[] = [
      {high: {weightBits: 4}, low: {weightBits: 2}, share: 0, slope: 0.125},
      {high: {weightBits: 8}, low: null, share: 1, slope: 0},
    ];
    const errors = [
      {high: 0.01, low: 0.12},
      {high: 0, low: 0},
    ];
    const {state: next} = advanceSearch(problem, state, plan, {shares: [0, 0], errors});
    const beta = sigmoid(1);
    expect(next.decisions[0]!.dbp.m).toBeCloseTo(0.1 * 2 * (0.01 - 0.12) * beta * (1 - beta), 12);
  });

  test('below the threshold a layer commits: lower bits, θ and its optimizer start again', () => {
    const state = {start: [1, 0], step: 7, lambdas: [5], decisions: [layerAt(0.05, 1), layerAt(2, 0)], descents: []};
    const plan = planStep(tiny, state);
    const {state: next, transitions} = advanceSearch(tiny, state, plan, {shares: [100, 0]});
    expect(next.decisions[0]).toEqual({candidate: 0, dbp: {theta: 2, m: 0, v: 0, updates: 0}});
    expect(transitions).toEqual([
      {step: 8, layer: 'a', from: {weightBits: 4}, to: {weightBits: 2}, beta: expect.any(Number)},
    ]);
    expect(transitions[0]!.beta).toBeCloseTo(sigmoid(-0.05), 6);
    expect(searchDone(tiny, next)).toBe(true);
  });

  test('of several that are equally sure the first layer goes first', () => {
    const layers = [0, 1, 2].map((i) => ({name: `l${i}`, candidates: [1, 2], costs: [1, 2], pinned: false}));
    const problem = problemOf({layers, target: 4, steps: 100});
    const state = {
      start: [1, 1, 1],
      step: 7,
      lambdas: [0],
      decisions: [-1, -1, -1].map((theta) => layerAt(theta, 1)),
      descents: [],
    };
    const {transitions} = advanceSearch(problem, state, planStep(problem, state), {shares: [0, 0, 0]});
    expect(transitions.map(({layer}) => layer)).toEqual(['l0', 'l1']);
  });

  test('a saving that is rounding is none: nothing is left to decide', () => {
    const layers = [{name: 'a', candidates: [4, 8], costs: [1, 1 + 1e-12], pinned: false}];
    const problem = problemOf({layers, target: 0.5});
    expect(planStep(problem, initSearch(problem))[0]!.low).toBeNull();
  });

  test('when several fall at once the surest goes first and the target is not overshot', () => {
    const layers = [0, 1, 2].map((i) => ({name: `l${i}`, candidates: [1, 2], costs: [1, 2], pinned: false}));
    const problem = problemOf({layers, target: 4, steps: 100});
    const state = {
      start: [1, 1, 1],
      step: 7,
      lambdas: [0],
      decisions: [-0.5, -3, -1].map((theta) => layerAt(theta, 1)),
      descents: [],
    };
    const {state: next, transitions} = advanceSearch(problem, state, planStep(problem, state), {shares: [0, 0, 0]});
    expect(transitions.map(({layer}) => layer)).toEqual(['l1', 'l2']);
    expect(committed(problem, next)).toBe(4);
  });

  describe('descents undone once the target is reached', () => {
    /** `big` falls from 20 to 10 in the step; the small ones have gone down before, in the order of `descents`. */
    const fall = (target: number, candidates: readonly number[], descents: SearchState['descents']) => {
      const sizes = [10, 1, 1];
      const layers = ['big', 'x', 'y'].map((name, l) => ({
        name,
        candidates: [1, 2, 3],
        costs: [1, 2, 3].map((bits) => bits * sizes[l]!),
        pinned: false,
      }));
      const problem = problemOf({layers, target, steps: 100});
      const decisions = candidates.map((candidate, d) => layerAt(d === 0 ? -1 : 2, candidate));
      const state = {start: decisions.map(() => 1), step: 7, lambdas: [0], decisions, descents};
      const {state: next, transitions} = advanceSearch(problem, state, planStep(problem, state), {shares: [0, 0, 0]});
      return {
        candidates: next.decisions.map(({candidate}) => candidate),
        given: transitions.filter(({beta}) => beta === null).map(({layer, from, to}) => [layer, from, to]),
        done: searchDone(problem, next),
      };
    };
    const [x, y] = [1, 2].map((decision) => ({decision, from: 1, to: 0})) as [
      SearchState['descents'][number],
      SearchState['descents'][number],
    ];

    test('the layer that gave up its bit last gets it back first', () => {
      const back = [{weightBits: 1}, {weightBits: 2}];
      expect(fall(13, [1, 0, 0], [x, y])).toEqual({candidates: [0, 0, 1], given: [['y', ...back]], done: true});
      expect(fall(13, [1, 0, 0], [y, x])).toEqual({candidates: [0, 1, 0], given: [['x', ...back]], done: true});
      expect(fall(14, [1, 0, 0], [x, y]).candidates).toEqual([0, 1, 1]);
    });

    test('a layer that went down twice goes up the same way, as far as there is room', () => {
      const twice = [{...x, from: 2, to: 1}, x];
      expect(fall(13, [1, 0, 0], twice).candidates).toEqual([0, 1, 0]);
      expect(fall(14, [1, 0, 0], twice).candidates).toEqual([0, 2, 0]);
    });

    test('nothing where there is no room for a whole bit, nor before the target is reached', () => {
      expect(fall(12.9, [1, 0, 0], [x, y])).toEqual({candidates: [0, 0, 0], given: [], done: true});
      expect(fall(13, [2, 0, 0], [x, y])).toEqual({candidates: [1, 0, 0], given: [], done: false});
    });

    test('what fell last and has no room does not stand in the way of a smaller layer that fell before', () => {
      const second = {decision: 0, from: 2, to: 1};
      expect(fall(13, [1, 0, 0], [x, second]).candidates).toEqual([0, 1, 0]);
    });
  });
});

describe('plan', () => {
  test('one draw a layer and step: a share of 1 or 0, slope c(1 − c)/τ, the same when asked again', () => {
    const problem = problemOf();
    const state = initSearch(problem);
    const plan = planStep(problem, state);
    expect(plan).toHaveLength(20);
    expect(planStep(problem, state)).toEqual(plan);
    plan.forEach(({high, low, share, slope}, l) => {
      expect([0, 1]).toContain(share);
      expect(high.weightBits).toBe(8);
      expect(low?.weightBits ?? null).toBe(l === 0 || l === 19 ? null : 7);
      expect(slope).toBeLessThanOrEqual(0.25);
    });
  });

  test('over many steps the share of the higher bitwidth is β (χ²)', () => {
    const problem = problemOf({steps: 4000});
    const state = initSearch(problem);
    const counts = new Array<number>(20).fill(0);
    for (let step = 0; step < 4000; step++) {
      planStep(problem, {...state, step}).forEach(({share}, l) => (counts[l]! += share));
    }
    const beta = sigmoid(2);
    const chiSquare = counts
      .slice(1, 19)
      .reduce((sum, n) => sum + (n - 4000 * beta) ** 2 / (4000 * beta * (1 - beta)), 0);
    // 18 degrees of freedom, 99.99 % quantile.
    expect(chiSquare).toBeLessThan(48);
  });

  test('interpolation mixes by β with slope β(1 − β)', () => {
    const problem = problemOf({forward: 'mix'});
    const [, second] = planStep(problem, initSearch(problem));
    const beta = sigmoid(2);
    expect(second).toEqual({high: {weightBits: 8}, low: {weightBits: 7}, share: beta, slope: beta * (1 - beta)});
  });
});

describe('simulated search of ResNet20', () => {
  test.each([
    ['draw', 0.05],
    ['draw', 1],
    ['draw', 10],
    ['mix', 1],
  ] as const)('%s, loss scale %d: ends at the target, uncollapsed, the cost near its schedule', (forward, scale) => {
    const problem = problemOf({forward});
    let behind = 0;
    const last = runSearch(problem, scale, (state) => {
      if (state.step > 60) behind = Math.max(behind, expectation(problem, state) - scheduled(problem, state.step));
    });
    const result = searchResult(problem, last);
    const [{missedBy, cost}] = result.budgets as [BudgetResult];
    expect(missedBy).toBe(0);
    expect(cost).toBeLessThanOrEqual(2);
    // All layers that are not pinned have gone down; no room is left for one more bit in the smallest of them.
    const bit = problem.budgets[0]!.costs.flatMap(({table}) => (table.length > 1 ? [table[1]! - table[0]!] : []));
    expect(cost).toBeGreaterThan(2 - Math.min(...bit));
    expect(result.collapsed).toBe(false);
    expect(behind).toBeLessThan(1);
  });

  test('under the price of bits alone, layers of 2,304 and of 36,864 weights make their first move in the same step', () => {
    const problem = problemOf({forward: 'mix'});
    let state = initSearch(problem);
    let moved: readonly Transition[] = [];
    while (moved.length === 0) {
      const plan = planStep(problem, state);
      const next = advanceSearch(problem, state, plan, {shares: plan.map(() => 0)});
      [state, moved] = [next.state, next.transitions];
    }
    expect(moved).toHaveLength(18);
  });

  test('every layer that is free to move does, small ones too', () => {
    const problem = problemOf();
    const bits = weightBits(problem, runSearch(problem));
    for (const [l, {pinned}] of problem.layers.entries()) if (!pinned) expect(bits[l]).toBeLessThanOrEqual(6);
  });

  test('a layer that suffers more from fewer bits keeps more', () => {
    const problem = problemOf({
      layers: sizeLayers(
        ['tender', 'tough', 'a', 'b', 'c', 'd'].map((name) => ({name, params: 1000})),
        every,
        new Map(),
      ),
      target: 3,
    });
    let state = initSearch(problem);
    while (!searchDone(problem, state)) {
      const plan = planStep(problem, state);
      const shares = syntheticGradients(plan, state.step, 1).map((g, l) => g * ([30, 0.03][l] ?? 1));
      state = advanceSearch(problem, state, plan, {shares}).state;
    }
    const bits = weightBits(problem, state);
    expect(bits[0]).toBeGreaterThan(bits[1]!);
  });

  test('a budget that is too small says by how much the target was missed', () => {
    const problem = problemOf({steps: 40});
    const [{missedBy, cost}] = searchResult(problem, runSearch(problem)).budgets as [BudgetResult];
    expect(missedBy).toBeCloseTo(cost - 2, 12);
    expect(missedBy).toBeGreaterThan(0.5);
  });

  test('the state survives JSON: a resumed search goes on to the same bits, θ and λ', () => {
    const problem = problemOf({steps: 300});
    const states: string[] = [];
    const whole = runSearch(problem, 1, (state) => states.push(JSON.stringify(state)));
    for (const at of [1, 57, 150, states.length - 1]) {
      const resumed = runSearch(problem, 1, undefined, parseSearchState(JSON.parse(states[at - 1]!), problem, 'c'));
      expect(resumed).toEqual(whole);
    }
  });

  test('own candidates a layer are kept to', () => {
    const layers = sizeLayers(resnet20, every, pinned).map((layer, l) =>
      l % 2 === 1 && !layer.pinned
        ? {...layer, candidates: [2, 4, 8], costs: [2, 4, 8].map((b) => layer.costs[b - 1]!)}
        : layer,
    );
    const problem = problemOf({layers, target: 3});
    const {bits, budgets} = searchResult(problem, runSearch(problem));
    expect(budgets[0]!.missedBy).toBe(0);
    bits.forEach((b, l) => expect(layers[l]!.candidates).toContain(b.weightBits));
  });
});

describe('outcome', () => {
  test('collapsed: more than half of the layers that are not pinned at their lowest candidate', () => {
    const problem = problemOf();
    const at = (lowest: number): boolean =>
      searchResult(problem, {
        ...initSearch(problem),
        decisions: problem.layers.map(({pinned}, l) => layerAt(2, pinned || l <= lowest ? 0 : 3)),
      }).collapsed;
    expect(at(9)).toBe(false);
    expect(at(10)).toBe(true);
  });

  test('a snapshot has β, bits and cost of every layer', () => {
    const snapshot = searchSnapshot(tiny, {
      step: 3,
      start: [1, 0],
      lambdas: [0.5],
      decisions: [layerAt(0, 1), layerAt(2, 0)],
      descents: [],
    });
    expect(snapshot).toEqual({
      step: 3,
      budgets: [
        {
          name: 'meanWeightBits',
          lambda: 0.5,
          expected: 2,
          committed: 2.5,
          scheduled: 2.5 - 3 / 85,
          layers: [2, 0.5],
        },
      ],
      decisions: [
        {decision: tiny.decisions[0], committed: {weightBits: 4}, beta: 0.5},
        {decision: tiny.decisions[1], committed: {weightBits: 8}, beta: 1},
      ],
    });
  });
});

describe('bad input', () => {
  test.each([
    [null, '/ is null'],
    [{step: 1.5, lambdas: [0], decisions: [{}, {}]}, '/step is 1.5'],
    [{step: 1, lambdas: [-1], decisions: [{}, {}]}, '/lambdas/0 is -1'],
    // What JSON.parse makes of 1e999.
    [{step: 1, lambdas: [Infinity], decisions: [{}, {}]}, '/lambdas/0 is null; allowed: a number from 0'],
    [{step: 1, lambdas: [0, 0], decisions: [{}, {}]}, '/lambdas is 2; allowed: 1 numbers'],
    [{step: 1, lambdas: [0], decisions: [{}]}, '/decisions is 1; allowed: 2 decisions'],
    [
      {step: 1, lambdas: [0], decisions: [{candidate: 2, dbp: {}}, {}]},
      '/decisions/0/candidate is 2; allowed: a whole number below 2',
    ],
    [{step: 1, lambdas: [0], decisions: [{candidate: 1}, {}]}, '/decisions/0/dbp is null'],
    [{step: 1, lambdas: [0], decisions: [{candidate: 1, dbp: {theta: 'x'}}, {}]}, '/decisions/0/dbp/theta is "x"'],
    [{...initSearch(tiny), start: [0]}, '/start is 1; allowed: 2 candidates'],
    [{...initSearch(tiny), start: [2, 0]}, '/start/0 is 2; allowed: a whole number below 2'],
    [{...initSearch(tiny), descents: undefined}, '/descents is null; allowed: a list of transitions'],
    [{...initSearch(tiny), descents: [3]}, '/descents/0 is 3'],
    [
      {...initSearch(tiny), descents: [{decision: 2, from: 1, to: 0}]},
      '/descents/0/decision is 2; allowed: a whole number below 2',
    ],
    [{...initSearch(tiny), descents: [{decision: 0, from: 2, to: 0}]}, '/descents/0/from is 2'],
    [{...initSearch(tiny), descents: [{decision: 0, from: 1, to: 1}]}, '/descents/0/to is 1'],
  ])('a state that is not one of the problem: %j', (value, message) => {
    expect(() => parseSearchState(value, tiny, 'c')).toThrow(
      expect.objectContaining({message: expect.stringContaining(message), oclif: {exit: 3}}),
    );
  });

  test('whatever stands in a state’s place is taken or refused, never a crash', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        try {
          parseSearchState(value, tiny, 'c');
        } catch (error) {
          expect(error).toBeInstanceOf(SdqError);
        }
      }),
    );
  });

  test.each([
    [[], 'no-candidates'],
    [[0, 2], 'bad-candidate'],
    [[2, 9], 'bad-candidate'],
    [[2, 2.5], 'bad-candidate'],
    [[2, NaN], 'bad-candidate'],
    [[4, 2], 'candidates-not-ascending'],
    [[2, 2], 'candidates-not-ascending'],
  ])('candidates %j: %s', (candidates, code) => {
    expect(() => checkCandidates(candidates)).toThrow(expect.objectContaining({code, oclif: {exit: 3}}));
  });

  test('a target below what the candidates can reach names it and the smallest that they can', () => {
    expect(() => checkTargets(problemOf({target: 1}))).toThrow(
      expect.objectContaining({
        message: '/search/target/meanWeightBits is 1; the smallest that the candidates can reach is 1.028.',
        code: 'search-target-infeasible',
        oclif: {exit: 3},
      }),
    );
    expect(() => checkTargets(problemOf({target: 1.028}))).not.toThrow();
  });
});
