import {canReach, stepsToReach} from '../../../sdq/search/reach.ts';
import type {DbpProblem} from '../../../sdq/search/dbp-state.ts';
import type {SearcherDefinition} from '../../../plugin-api/registry.ts';
import {checkScore, scoreSchema} from '../sensitivity/options.ts';

/**
 * A search by differentiable bitwidth parameters.
 * @param forward how a layer between two bitwidths is seen in the forward pass
 */
export function dbpDefinition(name: string, summary: string, forward: DbpProblem['forward']): SearcherDefinition {
  return {
    kind: 'searcher',
    name,
    summary,
    // Of `search.start: sensitivity`.
    optionsSchema: scoreSchema,
    prepare: (settings) => (settings.start === 'sensitivity' ? checkScore(settings) : settings),
    canReach(problem, settings) {
      const answer = canReach({...problem, ...settings, forward});
      // The way from the program's solution is shorter, and known only when its scores are.
      return answer === 'no' && settings.start === 'sensitivity' ? 'doubtful' : answer;
    },
    stepsToReach: (problem, settings) => stepsToReach({...problem, ...settings, forward}),
    load: async () => (await import('./search.ts')).dbpSearcher(forward),
  };
}
