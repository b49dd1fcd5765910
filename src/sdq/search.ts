/**
 * Phase 1 of SDQ as pure functions over plain data: which bitwidths each decision is between, what the forward pass of a
 * step does with it, and how a step's gradients move the probabilities, the price of each budget and the bitwidths.
 *
 *   init(problem) → state; plan(problem, state) → a choice a decision; advance(problem, state, plan, gradients) → state, transitions
 *
 * The differentiable bitwidth parameters and their gradient are the paper's (Huang et al., ICML 2022, section 3.2); the
 * budgets with their dual variables, θ's optimizer and the rule for a transition are ours.
 */
import {ExitCode, SdqError} from '../errors.ts';
import {drawIndicator, initDbp, sigmoid, temperature, updateDbp, type Dbp} from './dbp.ts';

/** Bitwidths of a layer. */
export interface Precision {
  readonly weightBits: number;
  /** Of the layer's input. */
  readonly activationBits: number;
}

/** What a decision sets: the bits of weights, of inputs, or both. */
export type Candidate = Partial<Precision>;

/** One thing to decide, by one DBP: the bits of a layer's weights, of its input, or of both together. */
export interface Decision {
  /** Indices of the layers that it is about; several where their inputs must have the same bits. */
  readonly layers: readonly number[];
  /** From few bits to many: each has more than the one before in some part and fewer in none. */
  readonly candidates: readonly Candidate[];
}

/** What one layer adds to a cost, by the candidates of the decisions that it depends on. */
export interface LayerCost {
  /** Indices of the decisions. */
  readonly decisions: readonly number[];
  /** An entry for each combination of their candidates, the last decision's running fastest. */
  readonly table: readonly number[];
}

/** A cost that may not exceed its target: the sum of the layers' costs. */
export interface Budget {
  /** As in the config: `meanWeightBits`, `latencyMs`, … */
  readonly name: string;
  readonly target: number;
  /** In the order of `problem.layers`, in the unit of the target. */
  readonly costs: readonly LayerCost[];
  /** The amount that λ prices: one mean bit, or what a mean bit is worth of another cost. */
  readonly unit: number;
}

interface DbpOptions {
  /** Of θ's Adam. */
  readonly learningRate: number;
  readonly thetaInit: number;
  /** A layer commits to the lower bitwidth when β falls below it. */
  readonly betaThreshold: number;
  /** Gumbel-softmax temperature, annealed exponentially. */
  readonly tauStart: number;
  readonly tauEnd: number;
}

export interface SearchProblem {
  /** `draw`: one of two bitwidths at random (SDQ); `mix`: their mean by β (interpolation); `fixed`: nothing to learn. */
  readonly forward: 'draw' | 'mix' | 'fixed';
  /** A pinned layer is held by the user: it does not count when a collapse is judged. */
  readonly layers: readonly {readonly name: string; readonly pinned: boolean}[];
  readonly decisions: readonly Decision[];
  /** At least one. */
  readonly budgets: readonly Budget[];
  /** Steps the search may take. */
  readonly steps: number;
  readonly seed: number;
  readonly dbp: DbpOptions;
  /** η of the dual ascent, a step. */
  readonly dualRate: number;
  /** Share of the steps after which the schedule has come down to the target. */
  readonly rampFraction: number;
  /** λ_Q of the quantization-error regularizer; 0 leaves it out. */
  readonly quantizationErrorWeight: number;
}

/** All that the next step depends on: plain data, so that a checkpoint in JSON continues to the same bits. */
export interface SearchState {
  readonly step: number;
  /** Prices, in the order of `problem.budgets`: of one `unit` each, the dual variable of "expected cost ≤ schedule". */
  readonly lambdas: readonly number[];
  /** In the order of `problem.decisions`. `candidate` is the index of the present one. */
  readonly decisions: readonly {readonly candidate: number; readonly dbp: Dbp}[];
  /** Every transition down so far, the first first: index of the decision and those of its candidates. */
  readonly descents: readonly Descent[];
}

interface Descent {
  readonly decision: number;
  readonly from: number;
  readonly to: number;
}

/** What the forward pass of one step does with one decision. */
export interface Choice {
  readonly high: Candidate;
  /** The next lower candidate; null when there is none: the layer is quantized to `high` and nothing is learned. */
  readonly low: Candidate | null;
  /** Share of the higher candidate in the forward pass: 1 or 0 for a draw, β for a mix. */
  readonly share: number;
  /** ∂share/∂θ in the backward pass: c(1 − c)/τ for a draw (straight-through), β(1 − β) for a mix. */
  readonly slope: number;
}

export interface Transition {
  readonly step: number;
  /** Name of the layer, or names of the layers. */
  readonly layer: string;
  readonly from: Candidate;
  readonly to: Candidate;
  /** Of the higher one of the two when the layer went down; null where bits are given back, which no β decides. */
  readonly beta: number | null;
}

/** What a step learned from the loss, in the order of `problem.decisions`; entries without a choice are not read. */
export interface StepGradients {
  /** ∂L_task/∂share. */
  readonly shares: readonly number[];
  /** e(b) = ‖w − Q_b(w)‖²/‖w‖² at the two bitwidths of each decision; needed when `quantizationErrorWeight` is above 0. */
  readonly errors?: readonly {readonly high: number; readonly low: number}[];
}

/** How far a budget is kept. */
export interface BudgetResult {
  readonly name: string;
  readonly target: number;
  /** Of the committed bitwidths. */
  readonly cost: number;
  /** By how much the target was missed; 0 when it was reached. */
  readonly missedBy: number;
}

export interface SearchResult {
  /** Committed bitwidths of each layer. */
  readonly bits: readonly Precision[];
  readonly budgets: readonly BudgetResult[];
  /** More than half of the layers that are not pinned ended at the lowest bitwidth that saves anything. */
  readonly collapsed: boolean;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function invalid(code: string, message: string, suggestions: readonly string[] = []): SdqError {
  return new SdqError(message, {code, exit: ExitCode.invalidInput, suggestions});
}

/** The least and the most that the candidates can cost, each layer for itself. */
function range({costs}: Pick<Budget, 'costs'>): {least: number; most: number} {
  return {
    least: sum(costs.map(({table}) => Math.min(...table))),
    most: sum(costs.map(({table}) => Math.max(...table))),
  };
}

/** The bits from 8 to 1: a mean bit is worth a seventh of what a cost can fall by. */
const spanBits = 7;

/**
 * A budget with its unit. The unit of mean weight bits is one of them; of another cost a seventh of its range, so that λ
 * rises as fast whatever the cost is counted in.
 */
export function createBudget(name: string, target: number, costs: readonly LayerCost[]): Budget {
  const {least, most} = range({costs});
  return {name, target, costs, unit: name === 'meanWeightBits' || most === least ? 1 : (most - least) / spanBits};
}

/** The smallest number of four digits that is not below. */
function roundedUp(value: number): number {
  if (value <= 0) return value;
  const digit = 10 ** (Math.floor(Math.log10(value)) - 3);
  return Number((Math.ceil(value / digit) * digit).toPrecision(4));
}

/**
 * The state before the first step: every decision at its highest candidate.
 * @throws SdqError (exit 3) for a budget below what the candidates can reach, with the smallest one that they can
 */
export function initSearch(problem: SearchProblem): SearchState {
  const tight =
    problem.forward === 'fixed' ? [] : problem.budgets.filter((budget) => range(budget).least > budget.target);
  if (tight.length > 0) {
    throw invalid(
      'search-target-infeasible',
      tight
        .map((budget) => {
          const least = roundedUp(range(budget).least);
          return `/search/target/${budget.name} is ${budget.target}; the smallest that the candidates can reach is ${least}.`;
        })
        .join(' '),
      ['Raise the target, add lower candidates, or pin fewer layers.'],
    );
  }
  return {
    step: 0,
    lambdas: problem.budgets.map(() => 0),
    decisions: problem.decisions.map(({candidates}) => ({
      candidate: candidates.length - 1,
      dbp: initDbp(problem.dbp.thetaInit),
    })),
    descents: [],
  };
}

/**
 * A state read back from a file.
 * @throws SdqError (exit 3) when it is not a state of this problem
 */
export function parseSearchState(value: unknown, problem: SearchProblem, file: string): SearchState {
  const broken = (pointer: string, found: unknown, allowed: string): SdqError =>
    invalid(
      'search-state-broken',
      `${file}: state of the search: ${pointer} is ${JSON.stringify(found ?? null)}; allowed: ${allowed}.`,
    );
  const mapping = (found: unknown, pointer: string): Record<string, unknown> => {
    if (typeof found !== 'object' || found === null || Array.isArray(found)) throw broken(pointer, found, 'a mapping');
    return found as Record<string, unknown>;
  };
  const list = (found: unknown, pointer: string, of: string, length?: number): readonly unknown[] => {
    if (Array.isArray(found) && found.length === (length ?? found.length)) return found;
    if (length === undefined) throw broken(pointer, found, `a list of ${of}`);
    throw broken(pointer, Array.isArray(found) ? found.length : found, `${length} ${of}`);
  };
  const number = (found: unknown, pointer: string, least = -Infinity): number => {
    if (typeof found !== 'number' || !Number.isFinite(found) || found < least) {
      throw broken(pointer, found, least === -Infinity ? 'a number' : `a number from ${least}`);
    }
    return found;
  };
  const index = (found: unknown, pointer: string, below = Infinity): number => {
    if (!Number.isSafeInteger(found) || (found as number) < 0 || (found as number) >= below) {
      throw broken(pointer, found, below === Infinity ? 'a whole number from 0' : `a whole number below ${below}`);
    }
    return found as number;
  };
  const {step, lambdas, decisions, descents} = mapping(value, '/');
  const prices = list(lambdas, '/lambdas', 'numbers', problem.budgets.length);
  const found = list(decisions, '/decisions', 'decisions', problem.decisions.length);
  return {
    step: index(step, '/step'),
    lambdas: prices.map((lambda, k) => number(lambda, `/lambdas/${k}`, 0)),
    decisions: problem.decisions.map(({candidates}, d) => {
      const at = `/decisions/${d}`;
      const {candidate, dbp} = mapping(found[d], at);
      const {theta, m, v, updates} = mapping(dbp, `${at}/dbp`);
      return {
        candidate: index(candidate, `${at}/candidate`, candidates.length),
        dbp: {
          theta: number(theta, `${at}/dbp/theta`),
          m: number(m, `${at}/dbp/m`),
          v: number(v, `${at}/dbp/v`, 0),
          updates: index(updates, `${at}/dbp/updates`),
        },
      };
    }),
    descents: list(descents, '/descents', 'transitions').map((descent, k) => {
      const at = `/descents/${k}`;
      const {decision, from, to} = mapping(descent, at);
      const d = index(decision, `${at}/decision`, problem.decisions.length);
      const high = index(from, `${at}/from`, problem.decisions[d]!.candidates.length);
      return {decision: d, from: high, to: index(to, `${at}/to`, high)};
    }),
  };
}

/** What a decision stands between. */
interface Odds {
  /** Indices of candidates; `low` is null where nothing is left to decide. */
  readonly high: number;
  readonly low: number | null;
  /** β = σ(θ): the probability of `high`; 1 where there is no `low`. */
  readonly beta: number;
}

const totalBits = ({weightBits = 0, activationBits = 0}: Candidate): number => weightBits + activationBits;

/**
 * What a layer costs at each candidate of decision `d` from the lowest to the present one: a list for every way in which the
 * layer's other decisions may still go down.
 */
function columns(problem: SearchProblem, cost: LayerCost, at: readonly number[], d: number): number[][] {
  let found = [new Array<number>(at[d]! + 1).fill(0)];
  for (const e of cost.decisions) {
    const count = problem.decisions[e]!.candidates.length;
    found =
      e === d
        ? found.map((column) => column.map((index, candidate) => index * count + candidate))
        : found.flatMap((column) =>
            Array.from({length: at[e]! + 1}, (_, other) => column.map((index) => index * count + other)),
          );
  }
  return found.map((column) => column.map((index) => cost.table[index]!));
}

/** A saving below this part of the layer's cost is rounding. */
const negligible = 1e-9;

/**
 * The next lower candidate worth having: the highest one that saves, a bit, at least half of what the best lower one saves, on some
 * budget and layer. Where bits cost alike it is the next one; candidates that cost as much as a higher one are passed over.
 * @param at index of each decision's candidate
 * @returns null where fewer bits save nothing on these budgets
 */
function nextLower(
  problem: SearchProblem,
  at: readonly number[],
  d: number,
  budgets: readonly Budget[],
): number | null {
  const {candidates, layers} = problem.decisions[d]!;
  const from = at[d]!;
  if (from === 0) return null;
  let next = -1;
  for (const {costs} of budgets) {
    for (const layer of layers) {
      const cost = costs[layer]!;
      if (!cost.decisions.includes(d)) continue;
      for (const column of columns(problem, cost, at, d)) {
        const rates = column.slice(0, from).map((lower, candidate) => {
          const saved = column[from]! - lower;
          return saved > negligible * Math.abs(column[from]!)
            ? saved / (totalBits(candidates[from]!) - totalBits(candidates[candidate]!))
            : 0;
        });
        const best = Math.max(0, ...rates);
        if (best > 0)
          next = Math.max(
            next,
            rates.findLastIndex((rate) => rate >= best / 2),
          );
      }
    }
  }
  return next === -1 ? null : next;
}

function positions({decisions}: SearchState): number[] {
  return decisions.map(({candidate}) => candidate);
}

function costAt(problem: SearchProblem, {costs}: Budget, at: readonly number[]): number[] {
  return costs.map(({decisions, table}) => {
    let index = 0;
    for (const d of decisions) index = index * problem.decisions[d]!.candidates.length + at[d]!;
    return table[index]!;
  });
}

function unmet(problem: SearchProblem, at: readonly number[]): Budget[] {
  return problem.budgets.filter((budget) => sum(costAt(problem, budget, at)) > budget.target);
}

function oddsOf(problem: SearchProblem, state: SearchState): Odds[] {
  const at = positions(state);
  const open = problem.forward === 'fixed' ? [] : unmet(problem, at);
  return state.decisions.map(({candidate, dbp}, d) => {
    const low = nextLower(problem, at, d, open);
    return {high: candidate, low, beta: low === null ? 1 : sigmoid(dbp.theta)};
  });
}

/** What a layer is expected to cost, its decisions being independent; linear in the β of each of them. */
function expectedLayerCost(
  problem: SearchProblem,
  cost: LayerCost,
  odds: readonly Odds[],
  depth = 0,
  index = 0,
): number {
  const d = cost.decisions[depth];
  if (d === undefined) return cost.table[index]!;
  const {high, low, beta} = odds[d]!;
  const given = (candidate: number): number =>
    expectedLayerCost(problem, cost, odds, depth + 1, index * problem.decisions[d]!.candidates.length + candidate);
  return low === null ? given(high) : beta * given(high) + (1 - beta) * given(low);
}

function expected(problem: SearchProblem, {costs}: Budget, odds: readonly Odds[]): number {
  return sum(costs.map((cost) => expectedLayerCost(problem, cost, odds)));
}

/** ∂R/∂β of one decision: what is expected at its higher candidate above what is expected at its lower one. */
function expectedSaving(problem: SearchProblem, {costs}: Budget, odds: readonly Odds[], d: number): number {
  const {high, low} = odds[d]!;
  const given = (candidate: number): readonly Odds[] => odds.with(d, {high: candidate, low: null, beta: 1});
  return sum(
    problem.decisions[d]!.layers.map((layer) => costs[layer]!)
      .filter(({decisions}) => decisions.includes(d))
      .map((cost) => expectedLayerCost(problem, cost, given(high)) - expectedLayerCost(problem, cost, given(low!))),
  );
}

/** Cost of the committed bitwidths. */
export function committedCost(problem: SearchProblem, state: SearchState, budget: Budget): number {
  return sum(costAt(problem, budget, positions(state)));
}

/** R: the cost expected under the present probabilities. Linear in each β, so its gradient is exact. */
export function expectedCost(problem: SearchProblem, state: SearchState, budget: Budget): number {
  return expected(problem, budget, oddsOf(problem, state));
}

function highestCost(problem: SearchProblem, budget: Budget): number {
  return sum(
    costAt(
      problem,
      budget,
      problem.decisions.map(({candidates}) => candidates.length - 1),
    ),
  );
}

/** The cost allowed at a step: falls linearly from the highest candidates' cost to the target, then stays there. */
export function scheduledCost(problem: SearchProblem, step: number, budget: Budget): number {
  const highest = highestCost(problem, budget);
  const progress = Math.min(1, step / Math.max(1, problem.rampFraction * problem.steps));
  return highest + (Math.min(budget.target, highest) - highest) * progress;
}

/** The part of the way to the targets that is left: 1 at the highest candidates, 0 when every target is reached. */
export function remainingWay(problem: SearchProblem, state: SearchState): number {
  return Math.max(
    ...problem.budgets.map((budget) => {
      const gap = committedCost(problem, state, budget) - budget.target;
      return gap <= 0 ? 0 : gap / (highestCost(problem, budget) - budget.target);
    }),
  );
}

/** Whether every target is reached, the steps are used up, or there is nothing to learn. */
export function searchDone(problem: SearchProblem, state: SearchState): boolean {
  return problem.forward === 'fixed' || state.step >= problem.steps || unmet(problem, positions(state)).length === 0;
}

/** The choices of the state's step: one draw a decision. A pure function of problem and state. */
export function planStep(problem: SearchProblem, state: SearchState): Choice[] {
  const tau = temperature(problem.dbp.tauStart, problem.dbp.tauEnd, state.step, problem.steps);
  return oddsOf(problem, state).map(({high: at, low: below, beta}, d) => {
    const {candidates} = problem.decisions[d]!;
    const high = candidates[at]!;
    if (below === null) return {high, low: null, share: 1, slope: 0};
    const low = candidates[below]!;
    if (problem.forward === 'mix') return {high, low, share: beta, slope: beta * (1 - beta)};
    const c = drawIndicator(state.decisions[d]!.dbp.theta, tau, problem.seed, state.step, d);
    return {high, low, share: c > 0.5 ? 1 : 0, slope: (c * (1 - c)) / tau};
  });
}

/**
 * Dual ascent: λ ← max(0, λ + η (R − schedule) / unit) for each budget. After the ramp, where the schedule stands at the
 * target, the committed cost takes the place of the expected one, else probabilities that meet the target on average could
 * rest there and no layer would commit; and λ above 1 grows in proportion to itself, so that the steps left suffice for a
 * loss of any scale.
 */
function ascend(problem: SearchProblem, state: SearchState, odds: readonly Odds[]): number[] {
  return problem.budgets.map((budget, k) => {
    const lambda = state.lambdas[k]!;
    const allowed = scheduledCost(problem, state.step, budget);
    if (state.step < problem.rampFraction * problem.steps) {
      return Math.max(0, lambda + problem.dualRate * ((expected(problem, budget, odds) - allowed) / budget.unit));
    }
    const rate = problem.dualRate * Math.max(1, lambda);
    return Math.max(0, lambda + rate * ((committedCost(problem, state, budget) - allowed) / budget.unit));
  });
}

/**
 * Ends a step: dual ascent on every λ, one Adam update of every θ, and the transitions of the decisions whose β fell below the
 * threshold, the surest first and no further than the targets. Once every target is reached, what is left is given back.
 * @param plan what `planStep` gave for this state
 */
export function advanceSearch(
  problem: SearchProblem,
  state: SearchState,
  plan: readonly Choice[],
  gradients: StepGradients,
): {readonly state: SearchState; readonly transitions: readonly Transition[]} {
  const odds = oddsOf(problem, state);
  const lambdas = ascend(problem, state, odds);
  const decisions = state.decisions.map((decision, d) => {
    const choice = plan[d]!;
    if (choice.low === null) return decision;
    const {beta} = odds[d]!;
    let byBeta = sum(
      problem.budgets.map((budget, k) => lambdas[k]! * (expectedSaving(problem, budget, odds, d) / budget.unit)),
    );
    if (problem.quantizationErrorWeight > 0) {
      const {high, low} = gradients.errors![d]!;
      byBeta += problem.quantizationErrorWeight * (high - low);
    }
    const gradient = gradients.shares[d]! * choice.slope + byBeta * beta * (1 - beta);
    return {candidate: decision.candidate, dbp: updateDbp(decision.dbp, gradient, problem.dbp.learningRate)};
  });
  return commit(problem, {...state, step: state.step + 1, lambdas, decisions}, odds);
}

/**
 * Moves decisions below the threshold to their next lower candidate, in the order of their β, until the targets are reached. The
 * last move may have gone far below them; then earlier ones are taken back, the last first, as far as every target stays kept.
 */
function commit(
  problem: SearchProblem,
  state: SearchState,
  odds: readonly Odds[],
): {readonly state: SearchState; readonly transitions: readonly Transition[]} {
  const decisions = [...state.decisions];
  const descents = [...state.descents];
  const transitions: Transition[] = [];
  const at = positions(state);
  const move = (d: number, to: number, beta: number | null): void => {
    const {layers, candidates} = problem.decisions[d]!;
    const layer = layers.map((l) => problem.layers[l]!.name).join(', ');
    transitions.push({step: state.step, layer, from: candidates[at[d]!]!, to: candidates[to]!, beta});
    at[d] = to;
    decisions[d] = {candidate: to, dbp: initDbp(problem.dbp.thetaInit)};
  };
  const falling = decisions
    .map(({dbp}, d) => ({d, beta: sigmoid(dbp.theta)}))
    .filter(({d, beta}) => odds[d]!.low !== null && beta < problem.dbp.betaThreshold)
    .sort((a, b) => a.beta - b.beta || a.d - b.d);
  for (const {d, beta} of falling) {
    const low = nextLower(problem, at, d, unmet(problem, at));
    if (low === null) continue;
    descents.push({decision: d, from: at[d]!, to: low});
    move(d, low, beta);
  }
  if (unmet(problem, at).length === 0) {
    // What came last was given up at the highest price.
    for (const {decision, from, to} of descents.toReversed()) {
      if (at[decision] === to && unmet(problem, at.with(decision, from)).length === 0) move(decision, from, null);
    }
  }
  return {state: {...state, decisions, descents}, transitions};
}

/** What the search stands at: for the journal. */
export interface SearchSnapshot {
  readonly step: number;
  readonly budgets: readonly {
    readonly name: string;
    /** Price of one of the target's unit, e.g. of a mean bit or of a millisecond. */
    readonly lambda: number;
    readonly expected: number;
    readonly committed: number;
    readonly scheduled: number;
    /** What each layer adds to `committed`, in the order of `problem.layers`. */
    readonly layers: readonly number[];
  }[];
  readonly decisions: readonly {readonly decision: Decision; readonly committed: Candidate; readonly beta: number}[];
}

export function searchSnapshot(problem: SearchProblem, state: SearchState): SearchSnapshot {
  const odds = oddsOf(problem, state);
  return {
    step: state.step,
    budgets: problem.budgets.map((budget, k) => ({
      name: budget.name,
      lambda: state.lambdas[k]! / budget.unit,
      expected: expected(problem, budget, odds),
      committed: committedCost(problem, state, budget),
      scheduled: scheduledCost(problem, state.step, budget),
      layers: costAt(problem, budget, positions(state)),
    })),
    decisions: problem.decisions.map((decision, d) => ({
      decision,
      committed: decision.candidates[state.decisions[d]!.candidate]!,
      beta: odds[d]!.beta,
    })),
  };
}

/** Whether more than half of the layers that are not pinned have the fewest weight bits that save anything. */
function isCollapsed(problem: SearchProblem, state: SearchState): boolean {
  const free = problem.decisions.flatMap(({layers, candidates}, d) =>
    candidates.length > 1 && candidates[0]!.weightBits !== undefined && !problem.layers[layers[0]!]!.pinned ? [d] : [],
  );
  const at = positions(state);
  return free.filter((d) => nextLower(problem, at, d, problem.budgets) === null).length > free.length / 2;
}

/** The committed bitwidths of each layer. */
export function committedBits(problem: SearchProblem, state: SearchState): Precision[] {
  return problem.layers.map((_, l) => {
    const set = problem.decisions.flatMap(({layers, candidates}, d) =>
      layers.includes(l) ? [candidates[state.decisions[d]!.candidate]!] : [],
    );
    return Object.assign({}, ...set) as Precision;
  });
}

export function searchResult(problem: SearchProblem, state: SearchState): SearchResult {
  return {
    bits: committedBits(problem, state),
    budgets: problem.budgets.map((budget) => {
      const cost = committedCost(problem, state, budget);
      return {name: budget.name, target: budget.target, cost, missedBy: Math.max(0, cost - budget.target)};
    }),
    collapsed: isCollapsed(problem, state),
  };
}
