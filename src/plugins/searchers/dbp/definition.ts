import {canReach, stepsToReach} from '../../../sdq/search/reach.ts';
import type {DbpProblem} from '../../../sdq/search/dbp-state.ts';
import type {SearcherDefinition} from '../../../plugin-api/registry.ts';

/**
 * A search by differentiable bitwidth parameters.
 * @param forward how a layer between two bitwidths is seen in the forward pass
 */
export function dbpDefinition(name: string, summary: string, forward: DbpProblem['forward']): SearcherDefinition {
  return {
    kind: 'searcher',
    name,
    summary,
    canReach: (problem, settings) => canReach({...problem, ...settings, forward}),
    stepsToReach: (problem, settings) => stepsToReach({...problem, ...settings, forward}),
    load: async () => (await import('./search.ts')).dbpSearcher(forward),
  };
}
