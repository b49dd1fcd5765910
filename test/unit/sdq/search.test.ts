import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import {SdqError} from '../../../src/errors.ts';
import {normal, uniform} from '../../../src/random.ts';
import {sigmoid} from '../../../src/sdq/dbp.ts';
import {
  advanceSearch,
  checkCandidates,
  committedCost,
  expectedCost,
  initSearch,
  parseSearchState,
  planStep,
  scheduledCost,
  searchDone,
  searchResult,
  searchSnapshot,
  sizeLayers,
  type Choice,
  type SearchProblem,
  type SearchState,
  type Transition,
} from '../../../src/sdq/search.ts';

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

function problemOf(overrides: Partial<SearchProblem> = {}): SearchProblem {
  return {
    forward: 'draw',
    layers: sizeLayers(resnet20, every, pinned),
    target: 2,
    steps: 702,
    seed: 0,
    dbp: {learningRate: 0.1, thetaInit: 2, betaThreshold: 0.5, tauStart: 1, tauEnd: 0.3},
    dualRate: 0.5,
    rampFraction: 0.85,
    quantizationErrorWeight: 0,
    ...overrides,
  };
}

/** Mean squared error of the symmetric grid on a unit Gaussian: what a bit less costs a layer. */
const gaussianError = [0.3634, 0.1494, 0.0406, 0.01186, 0.003526, 0.001043, 0.000305, 0.0000877];

/** A loss without a network: every layer's quantization error raises it alike, in noise. */
function syntheticGradients(plan: readonly Choice[], step: number, scale: number): number[] {
  return plan.map(({high, low}, l) => {
    if (low === null) return 0;
    const rise = gaussianError[low - 1]! - gaussianError[high - 1]!;
    return scale * (-rise + 0.1 * Math.sqrt(rise) * normal(uniform(1, 'bench', step, l)));
  });
}

function runSearch(
  problem: SearchProblem,
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
    expect(committedCost({...tiny, layers}, initSearch({...tiny, layers, target: 4}))).toBe(5);
  });

  test('expected cost is linear in β', () => {
    const state = {step: 0, lambda: 0, layers: [layerAt(0.3, 1), layerAt(2, 0)]};
    const beta = 1 / (1 + Math.exp(-0.3));
    expect(expectedCost(tiny, state)).toBeCloseTo(beta * 2 + (1 - beta) * 1 + 0.5, 12);
    expect(committedCost(tiny, state)).toBe(2.5);
  });

  test('the schedule falls linearly to the target over the ramp and stays there', () => {
    expect([0, 42.5, 85, 99].map((step) => scheduledCost(tiny, step))).toEqual([2.5, 2, 1.5, 1.5]);
  });
});

function layerAt(theta: number, candidate: number): SearchState['layers'][number] {
  return {candidate, dbp: {theta, m: 0, v: 0, updates: 0}};
}

describe('one step, by hand', () => {
  test('λ rises by η times the gap, θ follows the task and the price, moments start afresh', () => {
    const state = {step: 85, lambda: 0.2, layers: [layerAt(1, 1), layerAt(2, 0)]};
    const plan: Choice[] = [
      {high: 4, low: 2, share: 1, slope: 0.125},
      {high: 8, low: null, share: 1, slope: 0},
    ];
    const {state: next, transitions} = advanceSearch(tiny, state, plan, {shares: [-3, 0]});
    // After the ramp: committed 2.5 against the target 1.5.
    expect(next.lambda).toBeCloseTo(0.2 + 0.5 * 1, 12);
    const beta = sigmoid(1);
    expect(next.layers[0]!.dbp.m).toBeCloseTo(0.1 * (-3 * 0.125 + 0.7 * 1 * beta * (1 - beta)), 12);
    expect(next.layers[0]!.dbp.theta).toBeCloseTo(1.1, 6);
    expect(next.layers[1]).toEqual(state.layers[1]);
    expect(next.step).toBe(86);
    expect(transitions).toEqual([]);
  });

  test('during the ramp λ follows the expected cost, and never falls below 0', () => {
    const state = {step: 40, lambda: 0.2, layers: [layerAt(1, 1), layerAt(2, 0)]};
    const gap = 1 + sigmoid(1) + 0.5 - (2.5 - 40 / 85);
    const plan = planStep(tiny, state);
    expect(advanceSearch(tiny, state, plan, {shares: [0, 0]}).state.lambda).toBeCloseTo(0.2 + 0.5 * gap, 12);
    const early = {...state, step: 0, lambda: 0.01};
    expect(advanceSearch(tiny, early, planStep(tiny, early), {shares: [0, 0]}).state.lambda).toBe(0);
  });

  test('the quantization error adds λ_Q (e_high − e_low) β(1 − β)', () => {
    const problem = {...tiny, quantizationErrorWeight: 2, dualRate: 0.5};
    const state = {step: 0, lambda: 0, layers: [layerAt(1, 1), layerAt(2, 0)]};
    const plan: Choice[] = [
      {high: 4, low: 2, share: 0, slope: 0.125},
      {high: 8, low: null, share: 1, slope: 0},
    ];
    const errors = [
      {high: 0.01, low: 0.12},
      {high: 0, low: 0},
    ];
    const {state: next} = advanceSearch(problem, state, plan, {shares: [0, 0], errors});
    const beta = sigmoid(1);
    expect(next.layers[0]!.dbp.m).toBeCloseTo(0.1 * 2 * (0.01 - 0.12) * beta * (1 - beta), 12);
  });

  test('below the threshold a layer commits: lower bits, θ and its optimizer start again', () => {
    const state = {step: 7, lambda: 5, layers: [layerAt(0.05, 1), layerAt(2, 0)]};
    const plan = planStep(tiny, state);
    const {state: next, transitions} = advanceSearch(tiny, state, plan, {shares: [100, 0]});
    expect(next.layers[0]).toEqual({candidate: 0, dbp: {theta: 2, m: 0, v: 0, updates: 0}});
    expect(transitions).toEqual([{step: 8, layer: 'a', from: 4, to: 2, beta: sigmoid(0.05 - 0.1)}].map(anyBeta));
    expect(transitions[0]!.beta).toBeCloseTo(sigmoid(-0.05), 6);
    expect(searchDone(tiny, next)).toBe(true);
  });

  test('when several fall at once the surest goes first and the target is not overshot', () => {
    const layers = [0, 1, 2].map((i) => ({name: `l${i}`, candidates: [1, 2], costs: [1, 2], pinned: false}));
    const problem = {...tiny, layers, target: 4};
    const state = {step: 7, lambda: 0, layers: [-0.5, -3, -1].map((theta) => layerAt(theta, 1))};
    const {state: next, transitions} = advanceSearch(problem, state, planStep(problem, state), {shares: [0, 0, 0]});
    expect(transitions.map(({layer}) => layer)).toEqual(['l1', 'l2']);
    expect(committedCost(problem, next)).toBe(4);
  });
});

function anyBeta(transition: Transition): unknown {
  return {...transition, beta: expect.any(Number)};
}

describe('plan', () => {
  test('one draw a layer and step: a share of 1 or 0, slope c(1 − c)/τ, the same when asked again', () => {
    const problem = problemOf();
    const state = initSearch(problem);
    const plan = planStep(problem, state);
    expect(plan).toHaveLength(20);
    expect(planStep(problem, state)).toEqual(plan);
    plan.forEach(({high, low, share, slope}, l) => {
      expect([0, 1]).toContain(share);
      expect(high).toBe(8);
      expect(low).toBe(l === 0 || l === 19 ? null : 7);
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
    expect(second).toEqual({high: 8, low: 7, share: beta, slope: beta * (1 - beta)});
  });

  test('uniform: fixed bits, nothing to learn, done at once, pinned layers do not make it miss', () => {
    const problem = problemOf({forward: 'fixed', layers: sizeLayers(resnet20, [2], pinned)});
    const state = initSearch(problem);
    expect(searchDone(problem, state)).toBe(true);
    expect(planStep(problem, state).every(({low}) => low === null)).toBe(true);
    expect(searchResult(problem, state)).toMatchObject({missedBy: 0, collapsed: false});
    expect(searchResult(problem, state).bits).toEqual([8, ...new Array<number>(18).fill(2), 8]);
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
      if (state.step > 60) behind = Math.max(behind, expectedCost(problem, state) - scheduledCost(problem, state.step));
    });
    const result = searchResult(problem, last);
    expect(result.missedBy).toBe(0);
    expect(result.cost).toBeLessThanOrEqual(2);
    expect(result.cost).toBeGreaterThan(1.8);
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
    const {bits} = searchResult(problem, runSearch(problem));
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
    const {bits} = searchResult(problem, state);
    expect(bits[0]).toBeGreaterThan(bits[1]!);
  });

  test('a budget that is too small says by how much the target was missed', () => {
    const problem = problemOf({steps: 40});
    const result = searchResult(problem, runSearch(problem));
    expect(result.missedBy).toBeCloseTo(result.cost - 2, 12);
    expect(result.missedBy).toBeGreaterThan(0.5);
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
    const {bits, missedBy} = searchResult(problem, runSearch(problem));
    expect(missedBy).toBe(0);
    bits.forEach((b, l) => expect(layers[l]!.candidates).toContain(b));
  });
});

describe('outcome', () => {
  test('collapsed: more than half of the layers that are not pinned at their lowest candidate', () => {
    const problem = problemOf();
    const at = (lowest: number): boolean =>
      searchResult(problem, {
        ...initSearch(problem),
        layers: problem.layers.map(({pinned}, l) => layerAt(2, pinned || l <= lowest ? 0 : 3)),
      }).collapsed;
    expect(at(9)).toBe(false);
    expect(at(10)).toBe(true);
  });

  test('a snapshot has β, bits and cost of every layer', () => {
    const snapshot = searchSnapshot(tiny, {step: 3, lambda: 0.5, layers: [layerAt(0, 1), layerAt(2, 0)]});
    expect(snapshot).toEqual({
      step: 3,
      lambda: 0.5,
      expectedCost: 2,
      committedCost: 2.5,
      scheduledCost: 2.5 - 3 / 85,
      layers: [
        {name: 'a', bits: 4, beta: 0.5, cost: 2},
        {name: 'b', bits: 8, beta: 1, cost: 0.5},
      ],
    });
  });
});

describe('bad input', () => {
  test.each([
    [null, '/ is null'],
    [{step: 1.5, lambda: 0, layers: [{}, {}]}, '/step is 1.5'],
    [{step: 1, lambda: -1, layers: [{}, {}]}, '/lambda is -1'],
    [{step: 1, lambda: 0, layers: [{}]}, '/layers is 1; allowed: 2 layers'],
    [
      {step: 1, lambda: 0, layers: [{candidate: 2, dbp: {}}, {}]},
      '/layers/0/candidate is 2; allowed: a whole number below 2',
    ],
    [{step: 1, lambda: 0, layers: [{candidate: 1}, {}]}, '/layers/0/dbp is null'],
    [{step: 1, lambda: 0, layers: [{candidate: 1, dbp: {theta: 'x'}}, {}]}, '/layers/0/dbp/theta is "x"'],
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

  test('a target below the lowest candidates’ cost names both', () => {
    expect(() => initSearch(problemOf({target: 1}))).toThrow(/\/search\/target is 1; .* the cost is 1\.027/);
  });

  test('a cost that does not rise with the bits names layer and bits', () => {
    const layers = [{name: 'a', candidates: [2, 4], costs: [1, 1], pinned: false}];
    expect(() => initSearch({...tiny, layers})).toThrow(/"a" costs no less at 2 than at 4 bits/);
  });
});
