/**
 * Whether a search has enough steps for its targets: the state of phase 1 is advanced without a network [ours].
 */
import {advanceSearch, initSearch, planStep, searchDone, searchResult, type SearchProblem} from './search.ts';

/** Past this many steps the answer no longer depends on their number; and the check takes a second or two at most. */
const mostSteps = 2000;

/** A real loss resists: so many times the steps are proposed that a search with an indifferent loss needs [ours]. */
const margin = 1.5;

/** @param share ∂L/∂share of every layer: 0 where the loss is indifferent, positive where it too asks for fewer bits */
function reaches(problem: SearchProblem, steps: number, share: number): boolean {
  const limited = {...problem, steps, quantizationErrorWeight: 0};
  const shares = problem.decisions.map(() => share);
  let state = initSearch(limited);
  while (!searchDone(limited, state)) {
    ({state} = advanceSearch(limited, state, planStep(limited, state), {shares}));
  }
  return searchResult(limited, state).budgets.every(({missedBy}) => missedBy === 0);
}

/**
 * @returns false where the problem's steps cannot reach every target even if the loss of every layer asked for fewer bits in every
 *   step, so that θ falls as fast as Adam lets it; true where they may
 */
export function mayReach(problem: SearchProblem): boolean {
  if (problem.forward === 'fixed' || problem.steps >= mostSteps) return true;
  // Fewer steps are quicker to try, and more of them only make it easier.
  return reaches(problem, Math.min(problem.steps, 400), 1) || reaches(problem, problem.steps, 1);
}

/**
 * How many steps should do.
 * @returns undefined where the limit of the check does not reach the targets either
 */
export function stepsToReach(problem: SearchProblem): number | undefined {
  if (problem.forward === 'fixed') return undefined;
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
