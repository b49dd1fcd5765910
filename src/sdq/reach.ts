/**
 * Whether a search has enough steps for its targets. The state of phase 1 is advanced without a network, as if no layer's loss
 * resisted [ours]: what is out of reach then is so in the real search too, which needs some steps more.
 */
import {advanceSearch, initSearch, planStep, searchDone, searchResult, type SearchProblem} from './search.ts';

/** Past this many steps the answer no longer depends on their number; and the check takes a second or two at most. */
const mostSteps = 2000;

/** A real search meets resistance: so much more is proposed than the simulated one needs [ours]. */
const margin = 1.5;

function reaches(problem: SearchProblem, steps: number): boolean {
  const limited = {...problem, steps, quantizationErrorWeight: 0};
  const shares = problem.decisions.map(() => 0);
  let state = initSearch(limited);
  while (!searchDone(limited, state)) {
    ({state} = advanceSearch(limited, state, planStep(limited, state), {shares}));
  }
  return searchResult(limited, state).budgets.every(({missedBy}) => missedBy === 0);
}

/** @returns false where the problem's steps cannot reach every target; true where they may */
export function mayReach(problem: SearchProblem): boolean {
  if (problem.forward === 'fixed' || problem.steps >= mostSteps) return true;
  // Fewer steps are quicker to try, and more of them only make it easier.
  return reaches(problem, Math.min(problem.steps, 400)) || reaches(problem, problem.steps);
}

/**
 * How many steps should do, with room for a loss that resists.
 * @returns undefined where the limit of the check does not reach the targets either
 */
export function stepsToReach(problem: SearchProblem): number | undefined {
  if (problem.forward === 'fixed') return undefined;
  let enough = 8;
  while (!reaches(problem, enough)) {
    if (enough >= mostSteps) return undefined;
    enough *= 2;
  }
  let few = enough / 2;
  while (enough - few > Math.max(1, enough / 16)) {
    const middle = Math.round((few + enough) / 2);
    if (reaches(problem, middle)) enough = middle;
    else few = middle;
  }
  return Math.ceil(margin * enough);
}
