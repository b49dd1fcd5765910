import {canReach, stepsToReach} from '../../../sdq/search/reach.ts';
import type {DbpProblem} from '../../../sdq/search/dbp-state.ts';
import type {SearcherDefinition} from '../../../plugin-api/registry.ts';
import type {SearchSettings} from '../../../plugin-api/searcher.ts';
import {checkScore, scoreSchema} from '../sensitivity/options.ts';

/**
 * A search by differentiable bitwidth parameters.
 * @param forward how a layer between two bitwidths is seen in the forward pass
 * @param start where a search begins whose config does not say
 */
export function dbpDefinition(
  name: string,
  summary: string,
  forward: DbpProblem['forward'],
  start: NonNullable<SearchSettings['start']>,
): SearcherDefinition {
  return {
    kind: 'searcher',
    name,
    summary,
    // Of `search.start: sensitivity`. `taylor` takes one backward pass of 256 images, `loss` a forward pass for each bitwidth.
    optionsSchema: scoreSchema('taylor'),
    prepare(settings) {
      // Strategies on the way are wanted from the whole of it.
      const begins = settings.start ?? (settings.pareto > 0 ? 'highest' : start);
      const prepared = {...settings, start: begins};
      return begins === 'sensitivity' ? checkScore(prepared) : prepared;
    },
    canReach: (problem, settings) => canReach({...problem, ...settings, forward}, settings.start),
    stepsToReach: (problem, settings) => stepsToReach({...problem, ...settings, forward}, settings.start),
    load: async () => (await import('./search.ts')).dbpSearcher(forward),
  };
}
