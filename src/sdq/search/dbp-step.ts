/**
 * One step of a search by differentiable bitwidth parameters: what the forward pass does with each decision, and how the step's
 * gradients move the probabilities, the price of each budget and the bitwidths. Pure.
 *
 * The differentiable bitwidth parameters and their gradient are the paper's (Huang et al., ICML 2022, section 3.2); the budgets with
 * their dual variables, θ's optimizer and the rule for a transition are ours.
 */
import {item, present} from '../../lookup.ts';
import {drawIndicator, initDbp, sigmoid, temperature, updateDbp} from '../dbp.ts';
import {costOf, expectedCostOf, expectedSaving, highestSelection, nextLower, unmetBudgets, type Odds} from './costs.ts';
import {committed, committedCost, oddsOf, scheduledCost, type DbpProblem, type SearchState} from './dbp-state.ts';
import {sum, type Budget, type Candidate} from './problem.ts';

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
  /** Of the higher one of the two when the layer went down; null where a descent is undone, which no β decides. */
  readonly beta: number | null;
}

/** What a step learned from the loss, in the order of `problem.decisions`; entries without a choice are not read. */
export interface StepGradients {
  /** ∂L_task/∂share. */
  readonly shares: readonly number[];
  /** e(b) = ‖w − Q_b(w)‖²/‖w‖² at the two bitwidths of each decision; needed when `quantizationErrorWeight` is above 0. */
  readonly errors?: readonly {readonly high: number; readonly low: number}[];
}

/** The choices of the state's step: one draw a decision. A pure function of problem and state. */
export function planStep(problem: DbpProblem, state: SearchState): Choice[] {
  const tau = temperature(problem.dbp.tauStart, problem.dbp.tauEnd, state.step, problem.steps);
  return oddsOf(problem, state).map(({high: higher, low: lower, beta}, d) => {
    const {candidates} = item(problem.decisions, d);
    const high = item(candidates, higher);
    if (lower === null) return {high, low: null, share: 1, slope: 0};
    const low = item(candidates, lower);
    if (problem.forward === 'mix') return {high, low, share: beta, slope: beta * (1 - beta)};
    const c = drawIndicator(item(state.decisions, d).dbp.theta, tau, problem.seed, state.step, d);
    return {high, low, share: c > 0.5 ? 1 : 0, slope: (c * (1 - c)) / tau};
  });
}

/** Of a way that is shorter than from the highest candidates. */
const leastPart = 1 / 16;

/**
 * η of a budget, and the least that a cost above its target counts above it. A search that begins near its target has small gaps all
 * the way, so its prices rise by as much on the whole way as from the highest candidates. Its last gap may be a hundredth of a bit,
 * which counts as a part of the way.
 */
function paceOf(
  problem: DbpProblem,
  {start}: SearchState,
  budget: Budget,
): {readonly dualRate: number; readonly leastGap: number} {
  const way = costOf(problem, budget, start) - budget.target;
  const longest = costOf(problem, budget, highestSelection(problem)) - budget.target;
  if (way <= 0 || way === longest) return {dualRate: problem.dualRate, leastGap: 0};
  return {dualRate: problem.dualRate * (longest / way), leastGap: leastPart * way};
}

/**
 * Dual ascent: λ ← max(0, λ + η (R − schedule) / unit) for each budget. After the ramp, where the schedule stands at the
 * target, the committed cost takes the place of the expected one, else probabilities that meet the target on average could
 * rest there and no layer would commit; and λ above 1 grows in proportion to itself, so that the steps left suffice for a
 * loss of any scale.
 */
function ascend(problem: DbpProblem, state: SearchState, odds: readonly Odds[]): number[] {
  return problem.budgets.map((budget, k) => {
    const lambda = item(state.lambdas, k);
    const allowed = scheduledCost(problem, state, budget);
    const {dualRate, leastGap} = paceOf(problem, state, budget);
    if (state.step < problem.rampFraction * problem.steps) {
      return Math.max(0, lambda + dualRate * ((expectedCostOf(problem, budget, odds) - allowed) / budget.unit));
    }
    const gap = committedCost(problem, state, budget) - allowed;
    const counted = gap > 0 ? Math.max(gap, leastGap) : gap;
    const rate = dualRate * Math.max(1, lambda);
    return Math.max(0, lambda + rate * (counted / budget.unit));
  });
}

/**
 * Ends a step: dual ascent on every λ, one Adam update of every θ, and the transitions of the decisions whose β fell below the
 * threshold, the surest first and no further than the targets. Once every target is reached, descents that turned out not to be needed are undone.
 * @param plan what `planStep` gave for this state
 */
export function advanceSearch(
  problem: DbpProblem,
  state: SearchState,
  plan: readonly Choice[],
  gradients: StepGradients,
): {readonly state: SearchState; readonly transitions: readonly Transition[]} {
  const odds = oddsOf(problem, state);
  const lambdas = ascend(problem, state, odds);
  const decisions = state.decisions.map((decision, d) => {
    const choice = item(plan, d);
    if (choice.low === null) return decision;
    const {beta} = item(odds, d);
    let byBeta = sum(
      problem.budgets.map((budget, k) => item(lambdas, k) * (expectedSaving(problem, budget, odds, d) / budget.unit)),
    );
    if (problem.quantizationErrorWeight > 0) {
      const {high, low} = item(present(gradients.errors, 'errors'), d);
      byBeta += problem.quantizationErrorWeight * (high - low);
    }
    const gradient = item(gradients.shares, d) * choice.slope + byBeta * beta * (1 - beta);
    return {candidate: decision.candidate, dbp: updateDbp(decision.dbp, gradient, problem.dbp.learningRate)};
  });
  return commit(problem, {...state, step: state.step + 1, lambdas, decisions}, odds);
}

/**
 * Moves decisions below the threshold to their next lower candidate, in the order of their β, until the targets are reached. The
 * last move may have gone far below them; then earlier descents are undone, the last first, as long as every target is still met.
 */
function commit(
  problem: DbpProblem,
  state: SearchState,
  odds: readonly Odds[],
): {readonly state: SearchState; readonly transitions: readonly Transition[]} {
  const decisions = [...state.decisions];
  const descents = [...state.descents];
  const transitions: Transition[] = [];
  const selection = [...committed(state)];
  const move = (d: number, to: number, beta: number | null): void => {
    const {layers, candidates} = item(problem.decisions, d);
    const layer = layers.map((l) => item(problem.layers, l).name).join(', ');
    transitions.push({
      step: state.step,
      layer,
      from: item(candidates, item(selection, d)),
      to: item(candidates, to),
      beta,
    });
    selection[d] = to;
    decisions[d] = {candidate: to, dbp: initDbp(problem.dbp.thetaInit)};
  };
  const falling = decisions
    .map(({dbp}, d) => ({d, beta: sigmoid(dbp.theta)}))
    .filter(({d, beta}) => item(odds, d).low !== null && beta < problem.dbp.betaThreshold)
    .sort((a, b) => a.beta - b.beta || a.d - b.d);
  for (const {d, beta} of falling) {
    const low = nextLower(problem, selection, d, unmetBudgets(problem, selection));
    if (low === null) continue;
    descents.push({decision: d, from: item(selection, d), to: low});
    move(d, low, beta);
  }
  if (unmetBudgets(problem, selection).length === 0) {
    // What came last was given up at the highest price.
    for (const {decision, from, to} of descents.toReversed()) {
      if (selection[decision] === to && unmetBudgets(problem, selection.with(decision, from)).length === 0)
        move(decision, from, null);
    }
  }
  return {state: {...state, decisions, descents}, transitions};
}
