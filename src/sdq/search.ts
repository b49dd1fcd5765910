/**
 * Phase 1 of SDQ as pure functions over plain data: which bitwidths each layer is between, what the forward pass of a
 * step does with it, and how a step's gradients move the probabilities, the price of bits and the bitwidths.
 *
 *   init(problem) → state; plan(problem, state) → a choice a layer; advance(problem, state, plan, gradients) → state, transitions
 *
 * The differentiable bitwidth parameters and their gradient are the paper's (Huang et al., ICML 2022, section 3.2); the
 * cost, its dual variable, θ's optimizer and the rule for a transition are ours.
 */
import {ExitCode, SdqError} from '../errors.ts';
import {drawIndicator, initDbp, sigmoid, temperature, updateDbp, type Dbp} from './dbp.ts';

/** One layer as the search sees it. A pinned layer has one candidate. */
export interface SearchLayer {
  readonly name: string;
  /** Bitwidths it may take, ascending. */
  readonly candidates: readonly number[];
  /** What the layer adds to the cost at each candidate: strictly ascending, or bits would buy nothing. */
  readonly costs: readonly number[];
  /** Held at its bitwidth by the user, so it does not count when a collapse is judged. */
  readonly pinned: boolean;
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
  readonly layers: readonly SearchLayer[];
  /** Allowed cost of the committed bits, in the unit of `costs`. */
  readonly target: number;
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
  /** Price of one unit of cost: the dual variable of "expected cost ≤ schedule". */
  readonly lambda: number;
  /** In the order of `problem.layers`. `candidate` is the index of the present bitwidth. */
  readonly layers: readonly {readonly candidate: number; readonly dbp: Dbp}[];
}

/** What the forward pass of one step does with one layer. */
export interface Choice {
  readonly high: number;
  /** The next lower candidate; null when there is none: the layer is quantized to `high` and nothing is learned. */
  readonly low: number | null;
  /** Share of the higher bitwidth in the forward pass: 1 or 0 for a draw, β for a mix. */
  readonly share: number;
  /** ∂share/∂θ in the backward pass: c(1 − c)/τ for a draw (straight-through), β(1 − β) for a mix. */
  readonly slope: number;
}

export interface Transition {
  readonly step: number;
  readonly layer: string;
  readonly from: number;
  readonly to: number;
  readonly beta: number;
}

/** What a step learned from the loss, in the order of `problem.layers`; entries of layers without a choice are not read. */
export interface StepGradients {
  /** ∂L_task/∂share. */
  readonly shares: readonly number[];
  /** e(b) = ‖w − Q_b(w)‖²/‖w‖² at the two bitwidths of each layer; needed when `quantizationErrorWeight` is above 0. */
  readonly errors?: readonly {readonly high: number; readonly low: number}[];
}

export interface SearchResult {
  /** Committed bitwidth of each layer. */
  readonly bits: readonly number[];
  readonly cost: number;
  /** By how much the target was missed, in the unit of the cost; 0 when it was reached. */
  readonly missedBy: number;
  /** More than half of the layers that are not pinned ended at their lowest candidate. */
  readonly collapsed: boolean;
}

/**
 * The default cost, size: a layer's share of the mean bitwidth over all quantized layers, weighted by parameters. Pinned
 * layers count, with one candidate.
 * @param layers in network order, `params` counts weights
 * @param candidates bitwidths for the layers that are not pinned, ascending
 * @param pinned layer name → bitwidth
 */
export function sizeLayers(
  layers: readonly {readonly name: string; readonly params: number}[],
  candidates: readonly number[],
  pinned: ReadonlyMap<string, number>,
): SearchLayer[] {
  const total = layers.reduce((sum, {params}) => sum + params, 0);
  return layers.map(({name, params}) => {
    const pin = pinned.get(name);
    const own = pin === undefined ? candidates : [pin];
    return {name, candidates: own, costs: own.map((bits) => (bits * params) / total), pinned: pin !== undefined};
  });
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function invalid(code: string, message: string, suggestions: readonly string[] = []): SdqError {
  return new SdqError(message, {code, exit: ExitCode.invalidInput, suggestions});
}

/** @throws SdqError (exit 3) for candidates that are not whole, ascending and within 1 … 8. */
export function checkCandidates(candidates: readonly number[], pointer = '/search/candidates'): void {
  if (candidates.length === 0) throw invalid('no-candidates', `${pointer} is empty; at least one bitwidth is needed.`);
  candidates.forEach((bits, i) => {
    if (!Number.isInteger(bits) || bits < 1 || bits > 8) {
      throw invalid('bad-candidate', `${pointer}/${i} is ${bits}; a bitwidth is a whole number from 1 to 8.`);
    }
    if (i > 0 && bits <= candidates[i - 1]!) {
      throw invalid(
        'candidates-not-ascending',
        `${pointer}/${i} is ${bits} after ${candidates[i - 1]!}; candidates ascend and none comes twice.`,
      );
    }
  });
}

/**
 * The state before the first step: every layer at its highest candidate.
 * @throws SdqError (exit 3) when even the lowest candidates cost more than the target, or a layer's costs do not rise
 */
export function initSearch(problem: SearchProblem): SearchState {
  for (const {name, candidates, costs} of problem.layers) {
    const flat = costs.findIndex((cost, i) => i > 0 && cost <= costs[i - 1]!);
    if (flat !== -1) {
      throw invalid(
        'search-cost-flat',
        `Layer "${name}" costs no less at ${candidates[flat - 1]!} than at ${candidates[flat]!} bits; leave out one of the two.`,
      );
    }
  }
  const lowest = sum(problem.layers.map(({costs}) => costs[0]!));
  if (problem.forward !== 'fixed' && lowest > problem.target) {
    throw invalid(
      'search-target-infeasible',
      `/search/target is ${problem.target}; with every layer at its lowest candidate the cost is ${lowest}.`,
      ['Raise the target, add lower candidates, or pin fewer layers.'],
    );
  }
  return {
    step: 0,
    lambda: 0,
    layers: problem.layers.map(({candidates}) => ({
      candidate: candidates.length - 1,
      dbp: initDbp(problem.dbp.thetaInit),
    })),
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
  const {step, lambda, layers} = mapping(value, '/');
  if (!Array.isArray(layers) || layers.length !== problem.layers.length) {
    throw broken('/layers', Array.isArray(layers) ? layers.length : layers, `${problem.layers.length} layers`);
  }
  return {
    step: index(step, '/step'),
    lambda: number(lambda, '/lambda', 0),
    layers: problem.layers.map(({candidates}, l) => {
      const at = `/layers/${l}`;
      const {candidate, dbp} = mapping(layers[l], at);
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
  };
}

/** β = σ(θ): the probability of keeping the present bitwidth; 1 for a layer at its lowest candidate. */
function keepProbability({candidate, dbp}: SearchState['layers'][number]): number {
  return candidate === 0 ? 1 : sigmoid(dbp.theta);
}

/** Cost of the committed bitwidths. */
export function committedCost(problem: SearchProblem, state: SearchState): number {
  return sum(problem.layers.map(({costs}, l) => costs[state.layers[l]!.candidate]!));
}

/** R_cost: the cost expected under the present probabilities. Linear in β, so its gradient is exact. */
export function expectedCost(problem: SearchProblem, state: SearchState): number {
  return sum(
    problem.layers.map(({costs}, l) => {
      const layer = state.layers[l]!;
      const beta = keepProbability(layer);
      const high = costs[layer.candidate]!;
      return layer.candidate === 0 ? high : beta * high + (1 - beta) * costs[layer.candidate - 1]!;
    }),
  );
}

/** The cost allowed at a step: falls linearly from the highest candidates' cost to the target, then stays there. */
export function scheduledCost(problem: SearchProblem, step: number): number {
  const highest = sum(problem.layers.map(({costs}) => costs.at(-1)!));
  const progress = Math.min(1, step / Math.max(1, problem.rampFraction * problem.steps));
  return highest + (Math.min(problem.target, highest) - highest) * progress;
}

/** Whether the target is reached, the steps are used up, or there is nothing to learn. */
export function searchDone(problem: SearchProblem, state: SearchState): boolean {
  return problem.forward === 'fixed' || state.step >= problem.steps || committedCost(problem, state) <= problem.target;
}

/** The choices of the state's step: one draw a layer. A pure function of problem and state. */
export function planStep(problem: SearchProblem, state: SearchState): Choice[] {
  const tau = temperature(problem.dbp.tauStart, problem.dbp.tauEnd, state.step, problem.steps);
  return problem.layers.map(({candidates}, l) => {
    const {candidate, dbp} = state.layers[l]!;
    const high = candidates[candidate]!;
    if (candidate === 0 || problem.forward === 'fixed') return {high, low: null, share: 1, slope: 0};
    const low = candidates[candidate - 1]!;
    if (problem.forward === 'mix') {
      const beta = sigmoid(dbp.theta);
      return {high, low, share: beta, slope: beta * (1 - beta)};
    }
    const c = drawIndicator(dbp.theta, tau, problem.seed, state.step, l);
    return {high, low, share: c > 0.5 ? 1 : 0, slope: (c * (1 - c)) / tau};
  });
}

/**
 * Dual ascent: λ ← max(0, λ + η (R_cost − schedule)). After the ramp, where the schedule stands at the target, the committed
 * cost takes the place of the expected one, else probabilities that meet the target on average could rest there and no
 * layer would commit; and λ above 1 grows in proportion to itself, so that the steps left suffice for a loss of any scale.
 */
function ascend(problem: SearchProblem, state: SearchState): number {
  const allowed = scheduledCost(problem, state.step);
  if (state.step < problem.rampFraction * problem.steps) {
    return Math.max(0, state.lambda + problem.dualRate * (expectedCost(problem, state) - allowed));
  }
  const rate = problem.dualRate * Math.max(1, state.lambda);
  return Math.max(0, state.lambda + rate * (committedCost(problem, state) - allowed));
}

/**
 * Ends a step: dual ascent on λ, one Adam update of every θ, and the transitions of the layers whose β fell below the
 * threshold, the surest first and no further than the target.
 * @param plan what `planStep` gave for this state
 */
export function advanceSearch(
  problem: SearchProblem,
  state: SearchState,
  plan: readonly Choice[],
  gradients: StepGradients,
): {readonly state: SearchState; readonly transitions: readonly Transition[]} {
  const lambda = ascend(problem, state);
  const layers = problem.layers.map(({costs}, l) => {
    const layer = state.layers[l]!;
    const choice = plan[l]!;
    if (choice.low === null) return layer;
    const beta = sigmoid(layer.dbp.theta);
    const saved = costs[layer.candidate]! - costs[layer.candidate - 1]!;
    let byBeta = lambda * saved;
    if (problem.quantizationErrorWeight > 0) {
      const {high, low} = gradients.errors![l]!;
      byBeta += problem.quantizationErrorWeight * (high - low);
    }
    const gradient = gradients.shares[l]! * choice.slope + byBeta * beta * (1 - beta);
    return {candidate: layer.candidate, dbp: updateDbp(layer.dbp, gradient, problem.dbp.learningRate)};
  });
  const next = {step: state.step + 1, lambda, layers};
  return commit(problem, next);
}

/** Moves layers below the threshold to the next lower candidate, in the order of their β, until the target is reached. */
function commit(
  problem: SearchProblem,
  state: SearchState,
): {readonly state: SearchState; readonly transitions: readonly Transition[]} {
  const layers = [...state.layers];
  const falling = layers
    .map((layer, l) => ({l, beta: keepProbability(layer)}))
    .filter(({beta}) => beta < problem.dbp.betaThreshold)
    .sort((a, b) => a.beta - b.beta || a.l - b.l);
  const transitions: Transition[] = [];
  for (const {l, beta} of falling) {
    if (committedCost(problem, {...state, layers}) <= problem.target) break;
    const {candidate} = layers[l]!;
    const {name, candidates} = problem.layers[l]!;
    layers[l] = {candidate: candidate - 1, dbp: initDbp(problem.dbp.thetaInit)};
    transitions.push({
      step: state.step,
      layer: name,
      from: candidates[candidate]!,
      to: candidates[candidate - 1]!,
      beta,
    });
  }
  return {state: {...state, layers}, transitions};
}

/** What the search stands at: for the journal. */
export interface SearchSnapshot {
  readonly step: number;
  readonly lambda: number;
  readonly expectedCost: number;
  readonly committedCost: number;
  readonly scheduledCost: number;
  readonly layers: readonly {
    readonly name: string;
    readonly bits: number;
    readonly beta: number;
    /** What the layer adds to the committed cost. */
    readonly cost: number;
  }[];
}

export function searchSnapshot(problem: SearchProblem, state: SearchState): SearchSnapshot {
  return {
    step: state.step,
    lambda: state.lambda,
    expectedCost: expectedCost(problem, state),
    committedCost: committedCost(problem, state),
    scheduledCost: scheduledCost(problem, state.step),
    layers: problem.layers.map(({name, candidates, costs}, l) => {
      const layer = state.layers[l]!;
      return {
        name,
        bits: candidates[layer.candidate]!,
        beta: keepProbability(layer),
        cost: costs[layer.candidate]!,
      };
    }),
  };
}

/** Whether more than half of the layers that are not pinned stand at their lowest candidate. */
function isCollapsed(problem: SearchProblem, state: SearchState): boolean {
  const free = state.layers.filter((_, l) => {
    const {pinned, candidates} = problem.layers[l]!;
    return !pinned && candidates.length > 1;
  });
  return free.filter(({candidate}) => candidate === 0).length > free.length / 2;
}

export function searchResult(problem: SearchProblem, state: SearchState): SearchResult {
  const cost = committedCost(problem, state);
  return {
    bits: problem.layers.map(({candidates}, l) => candidates[state.layers[l]!.candidate]!),
    cost,
    missedBy: problem.forward === 'fixed' ? 0 : Math.max(0, cost - problem.target),
    collapsed: isCollapsed(problem, state),
  };
}
