/**
 * Whether a search has enough steps for its targets: the state of phase 1 is advanced without a network [ours].
 */
import {unmetBudgets} from './costs.ts';
import {committed, initSearch, searchDone, type DbpProblem} from './dbp-state.ts';
import {advanceSearch, planStep} from './dbp-step.ts';

/** Past this many steps the answer no longer depends on their number; and the check takes a second or two at most. */
const mostSteps = 2000;

/** A real loss resists: so many times the steps are proposed that a search with an indifferent loss needs [ours]. */
const margin = 1.5;

/** @param share ∂L/∂share of every layer: 0 where the loss is indifferent, positive where it too asks for fewer bits */
function reaches(problem: DbpProblem, steps: number, share: number): boolean {
  const limited = {...problem, steps, quantizationErrorWeight: 0};
  const shares = problem.decisions.map(() => share);
  let state = initSearch(limited);
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
export function canReach(problem: DbpProblem): 'yes' | 'doubtful' | 'no' {
  if (problem.steps >= mostSteps) return 'yes';
  // Fewer steps are quicker to try, and more of them only make it easier.
  if (reaches(problem, Math.min(problem.steps, 400), 0) || reaches(problem, problem.steps, 0)) return 'yes';
  const fast = {...problem, dbp: {...problem.dbp, learningRate: problem.dbp.learningRate * longestStep}};
  return reaches(fast, problem.steps, 0) || reaches(fast, problem.steps, 1) ? 'doubtful' : 'no';
}

/**
 * How many steps should do.
 * @returns undefined where the limit of the check does not reach the targets either
 */
export function stepsToReach(problem: DbpProblem): number | undefined {
  let enough = 8;
  while (!reaches(problem, enough, 0)) {
    if (enough >= mostSteps) return undefined;
    enough *= 2;
  }
  let few = enough / 2;
  while (enough - few > Math.max(1, enough / 16)) {
    const middle = Math.round((few + enough) / 2);
    if (reaches(problem, middle, 0)) enough = middle;
    else few = middle;
  }
  return Math.ceil(margin * enough);
}
