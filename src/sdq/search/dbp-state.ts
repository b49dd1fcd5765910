/**
 * The state of a search by differentiable bitwidth parameters: plain data, so that a checkpoint in JSON continues to the same bits.
 *
 *   initSearch(problem) → state; planStep(problem, state) → a choice a decision;
 *   advanceSearch(problem, state, plan, gradients) → state, transitions (dbp-step.ts)
 */
import {invalidInput, type SdqError} from '../../errors.ts';
import {item} from '../../lookup.ts';
import {initDbp, sigmoid, type Dbp} from '../dbp.ts';
import {costOf, expectedCostOf, highestSelection, nextLower, unmetBudgets, type Odds} from './costs.ts';
import type {Budget, SearchProblem, Selection} from './problem.ts';

export interface DbpOptions {
  readonly dbp: {
    /** Of θ's Adam. */
    readonly learningRate: number;
    readonly thetaInit: number;
    /** A layer commits to the lower bitwidth when β falls below it. */
    readonly betaThreshold: number;
    /** Gumbel-softmax temperature, annealed exponentially. */
    readonly tauStart: number;
    readonly tauEnd: number;
  };
  /** η of the dual ascent, a step. */
  readonly dualRate: number;
  /** Share of the steps after which the schedule has come down to the target. */
  readonly rampFraction: number;
  /** λ_Q of the quantization-error regularizer; 0 leaves it out. */
  readonly quantizationErrorWeight: number;
}

export interface DbpProblem extends SearchProblem, DbpOptions {
  /** The forward pass between two bitwidths: `draw` takes one of them at random (SDQ), `mix` their mean by β (interpolation). */
  readonly forward: 'draw' | 'mix';
}

/** All that the next step depends on. */
export interface SearchState {
  readonly step: number;
  /** Where the search began. */
  readonly start: Selection;
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

/** The state before the first step. @param start the highest candidates (the paper) unless given */
export function initSearch(problem: DbpProblem, start: Selection = highestSelection(problem)): SearchState {
  return {
    step: 0,
    start,
    lambdas: problem.budgets.map(() => 0),
    decisions: start.map((candidate) => ({candidate, dbp: initDbp(problem.dbp.thetaInit)})),
    descents: [],
  };
}

/** The committed candidates. */
export function committed({decisions}: SearchState): Selection {
  return decisions.map(({candidate}) => candidate);
}

/** What each decision is between, and with what probability: β = σ(θ). */
export function oddsOf(problem: DbpProblem, state: SearchState): Odds[] {
  const selection = committed(state);
  const open = unmetBudgets(problem, selection);
  return state.decisions.map(({candidate, dbp}, d) => {
    const low = nextLower(problem, selection, d, open);
    return {high: candidate, low, beta: low === null ? 1 : sigmoid(dbp.theta)};
  });
}

/** Cost of the committed bitwidths. */
export function committedCost(problem: DbpProblem, state: SearchState, budget: Budget): number {
  return costOf(problem, budget, committed(state));
}

/** R: the cost expected under the present probabilities. */
export function expectedCost(problem: DbpProblem, state: SearchState, budget: Budget): number {
  return expectedCostOf(problem, budget, oddsOf(problem, state));
}

/** The cost allowed at the state's step: falls linearly from the cost of the start to the target, then stays there. */
export function scheduledCost(problem: DbpProblem, {start, step}: SearchState, budget: Budget): number {
  const first = costOf(problem, budget, start);
  const progress = Math.min(1, step / Math.max(1, problem.rampFraction * problem.steps));
  return first + (Math.min(budget.target, first) - first) * progress;
}

/** Whether every target is reached or the steps are used up. */
export function searchDone(problem: DbpProblem, state: SearchState): boolean {
  return state.step >= problem.steps || unmetBudgets(problem, committed(state)).length === 0;
}

/**
 * A state read back from a file.
 * @throws SdqError (exit 3) when it is not a state of this problem
 */
export function parseSearchState(value: unknown, problem: DbpProblem, file: string): SearchState {
  const broken = (pointer: string, entry: unknown, allowed: string): SdqError =>
    invalidInput(
      'search-state-broken',
      `${file}: state of the search: ${pointer} is ${JSON.stringify(entry ?? null)}; allowed: ${allowed}.`,
    );
  const mapping = (entry: unknown, pointer: string): Record<string, unknown> => {
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) throw broken(pointer, entry, 'a mapping');
    return entry as Record<string, unknown>;
  };
  const list = (entry: unknown, pointer: string, of: string, length?: number): readonly unknown[] => {
    if (Array.isArray(entry) && entry.length === (length ?? entry.length)) return entry;
    if (length === undefined) throw broken(pointer, entry, `a list of ${of}`);
    throw broken(pointer, Array.isArray(entry) ? entry.length : entry, `${length} ${of}`);
  };
  const number = (entry: unknown, pointer: string, least = -Infinity): number => {
    if (typeof entry !== 'number' || !Number.isFinite(entry) || entry < least) {
      throw broken(pointer, entry, least === -Infinity ? 'a number' : `a number from ${least}`);
    }
    return entry;
  };
  const index = (entry: unknown, pointer: string, below = Infinity): number => {
    if (!Number.isSafeInteger(entry) || (entry as number) < 0 || (entry as number) >= below) {
      throw broken(pointer, entry, below === Infinity ? 'a whole number from 0' : `a whole number below ${below}`);
    }
    return entry as number;
  };
  const {step, start, lambdas, decisions, descents} = mapping(value, '/');
  const prices = list(lambdas, '/lambdas', 'numbers', problem.budgets.length);
  const entries = list(decisions, '/decisions', 'decisions', problem.decisions.length);
  return {
    step: index(step, '/step'),
    lambdas: prices.map((lambda, k) => number(lambda, `/lambdas/${k}`, 0)),
    decisions: problem.decisions.map(({candidates}, d) => {
      const place = `/decisions/${d}`;
      const {candidate, dbp} = mapping(entries[d], place);
      const {theta, m, v, updates} = mapping(dbp, `${place}/dbp`);
      return {
        candidate: index(candidate, `${place}/candidate`, candidates.length),
        dbp: {
          theta: number(theta, `${place}/dbp/theta`),
          m: number(m, `${place}/dbp/m`),
          v: number(v, `${place}/dbp/v`, 0),
          updates: index(updates, `${place}/dbp/updates`),
        },
      };
    }),
    start: list(start, '/start', 'candidates', problem.decisions.length).map((candidate, d) =>
      index(candidate, `/start/${d}`, item(problem.decisions, d).candidates.length),
    ),
    descents: list(descents, '/descents', 'transitions').map((descent, k) => {
      const place = `/descents/${k}`;
      const {decision, from, to} = mapping(descent, place);
      const d = index(decision, `${place}/decision`, problem.decisions.length);
      const high = index(from, `${place}/from`, item(problem.decisions, d).candidates.length);
      return {decision: d, from: high, to: index(to, `${place}/to`, high)};
    }),
  };
}
