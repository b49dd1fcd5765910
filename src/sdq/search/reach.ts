/**
 * Whether a search has enough steps for its targets: the state of phase 1 is advanced without a network [ours].
 */
import {item} from '../../lookup.ts';
import {unmetBudgets} from './costs.ts';
import {committed, initSearch, searchDone, type DbpProblem} from './dbp-state.ts';
import {advanceSearch, planStep} from './dbp-step.ts';
import type {Selection} from './problem.ts';

/** Where a search begins: `sensitivity` is one candidate above a solution that is known only when the scores are. */
type Start = 'highest' | 'sensitivity';

/** One candidate above a solution. */
export function startAbove({decisions}: Pick<DbpProblem, 'decisions'>, solution: Selection): Selection {
  return solution.map((candidate, d) => Math.min(candidate + 1, item(decisions, d).candidates.length - 1));
}

/** In place of the solution by scores: the highest candidate for all decisions alike that keeps every target. */
function evenSolution(problem: DbpProblem): Selection {
  const most = Math.max(...problem.decisions.map(({candidates}) => candidates.length - 1));
  const even = (candidate: number): Selection =>
    problem.decisions.map(({candidates}) => Math.min(candidate, candidates.length - 1));
  for (let candidate = most; candidate > 0; candidate--) {
    if (unmetBudgets(problem, even(candidate)).length === 0) return even(candidate);
  }
  return even(0);
}

/** Past this many steps the answer no longer depends on their number; and the check takes a second or two at most. */
const mostSteps = 2000;

/** A real loss resists: so many times the steps are proposed that a search with an indifferent loss needs [ours]. */
const margin = 1.5;

/** The candidates that a search is taken to begin at; undefined for the highest. */
function firstSelection(problem: DbpProblem, start: Start): Selection | undefined {
  return start === 'highest' ? undefined : startAbove(problem, evenSolution(problem));
}

/** @param share ∂L/∂share of every layer: 0 where the loss is indifferent, positive where it too asks for fewer bits */
function reaches(problem: DbpProblem, steps: number, share: number, first: Selection | undefined): boolean {
  const limited = {...problem, steps, quantizationErrorWeight: 0};
  const shares = problem.decisions.map(() => share);
  let state = initSearch(limited, first);
  while (!searchDone(limited, state)) {
    ({state} = advanceSearch(limited, state, planStep(limited, state), {shares}));
  }
  return unmetBudgets(limited, committed(state)).length === 0;
}

/** The longest step of Adam, in learning rates: (1 − β₁)/√(1 − β₂), when a gradient follows on none (Kingma and Ba, 2015, 2.1). */
const longestStep = 0.1 / Math.sqrt(0.001);

/**
 * `no`: not even with the longest steps of θ that Adam takes, whether the loss is indifferent or asks for fewer bits too.
 * `doubtful`: not with an indifferent loss. Else `yes`.
 */
export function canReach(problem: DbpProblem, start: Start = 'highest'): 'yes' | 'doubtful' | 'no' {
  if (problem.steps >= mostSteps) return 'yes';
  const first = firstSelection(problem, start);
  // Fewer steps are quicker to try, and more of them only make it easier.
  if (reaches(problem, Math.min(problem.steps, 400), 0, first) || reaches(problem, problem.steps, 0, first))
    return 'yes';
  const fast = {...problem, dbp: {...problem.dbp, learningRate: problem.dbp.learningRate * longestStep}};
  return reaches(fast, problem.steps, 0, first) || reaches(fast, problem.steps, 1, first) ? 'doubtful' : 'no';
}

/**
 * How many steps should do.
 * @returns undefined where the limit of the check does not reach the targets either
 */
export function stepsToReach(problem: DbpProblem, start: Start = 'highest'): number | undefined {
  const first = firstSelection(problem, start);
  let enough = 8;
  while (!reaches(problem, enough, 0, first)) {
    if (enough >= mostSteps) return undefined;
    enough *= 2;
  }
  let few = enough / 2;
  while (enough - few > Math.max(1, enough / 16)) {
    const middle = Math.round((few + enough) / 2);
    if (reaches(problem, middle, 0, first)) enough = middle;
    else few = middle;
  }
  return Math.ceil(margin * enough);
}
