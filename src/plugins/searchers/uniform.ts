import {ExitCode, SdqError} from '../../errors.ts';
import type {SearchSettings} from '../../plugin-api/searcher.ts';
import {highestSelection} from '../../sdq/search/costs.ts';
import {outcomeOf} from '../../sdq/search/outcome.ts';
import type {SearcherDefinition} from '../../plugin-api/registry.ts';
import {selectionMetrics} from './metrics.ts';

/** Every layer has one candidate: the target's whole bits. */
export const uniform: SearcherDefinition = {
  kind: 'searcher',
  name: 'uniform',
  summary: 'Gives every layer that is not pinned the same bitwidth, without a search.',
  // What the pinned layers add is above the target by definition.
  keepsTargets: false,
  prepare(settings) {
    checkSupported(settings);
    return {...settings, candidates: [Math.max(1, Math.floor(settings.targets.meanWeightBits ?? 1))]};
  },
  load: () =>
    Promise.resolve({
      search({problem, log}) {
        const selection = highestSelection(problem);
        log(selectionMetrics(problem, selection));
        const {bits, budgets, collapsed} = outcomeOf(problem, selection);
        return Promise.resolve({bits, budgets, details: {collapsed, points: []}});
      },
    }),
};

function checkSupported({activationBits, pareto, targets}: SearchSettings): void {
  const unsupported = [
    ...Object.keys(targets)
      .filter((name) => name !== 'meanWeightBits')
      .map((name) => `/search/target/${name}`),
    ...(Array.isArray(activationBits) ? ['/search/activationBits (a list)'] : []),
    ...(pareto > 0 ? ['/search/pareto'] : []),
  ];
  if (unsupported.length === 0) return;
  throw new SdqError(`/search/method is uniform, which takes no ${unsupported.join(', no ')}.`, {
    code: 'uniform-search',
    exit: ExitCode.invalidInput,
    suggestions: ['sdq strategy create writes a uniform strategy, and sdq hardware estimate says what it costs.'],
  });
}
