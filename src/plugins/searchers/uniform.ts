import {invalidInput} from '../../errors.ts';
import type {SearchSettings} from '../../plugin-api/searcher.ts';
import {last} from '../../lookup.ts';
import {unmetBudgets} from '../../sdq/search/costs.ts';
import {outcomeOf} from '../../sdq/search/outcome.ts';
import type {SearchProblem, Selection} from '../../sdq/search/problem.ts';
import type {SearcherDefinition} from '../../plugin-api/registry.ts';
import {selectionMetrics} from './metrics.ts';

/** The target's whole bits or, under other budgets, the most bits that keep them. */
export const uniform: SearcherDefinition = {
  kind: 'searcher',
  name: 'uniform',
  summary: 'Gives every layer that is not pinned the same bitwidth, without a search.',
  // What the pinned layers add is above the target by definition.
  keepsTargets: false,
  prepare(settings) {
    checkSupported(settings);
    const {meanWeightBits, ...others} = settings.targets;
    if (Object.keys(others).length > 0) return settings;
    const bits = Math.max(1, Math.floor(meanWeightBits ?? 1));
    return {...settings, candidates: [bits], targets: {meanWeightBits: bits}};
  },
  load: () =>
    Promise.resolve({
      search({problem, log}) {
        const selection = uniformSelection(problem);
        log(selectionMetrics(problem, selection));
        const {bits, budgets, collapsed} = outcomeOf(problem, selection);
        return Promise.resolve({bits, budgets, details: {collapsed, points: []}});
      },
    }),
};

/** The highest bitwidth for all layers that keeps every budget; the lowest where none does. */
function uniformSelection(problem: SearchProblem): Selection {
  const widths = new Set(
    problem.decisions.flatMap(({candidates}) => candidates.map(({weightBits}) => weightBits ?? 0)),
  );
  const selections = [...widths]
    .toSorted((a, b) => b - a)
    .map((bits) =>
      problem.decisions.map(({candidates}) =>
        Math.max(
          0,
          candidates.findLastIndex(({weightBits = 0}) => weightBits <= bits),
        ),
      ),
    );
  return selections.find((selection) => unmetBudgets(problem, selection).length === 0) ?? last(selections);
}

function checkSupported({activationBits, pareto}: SearchSettings): void {
  const unsupported = [
    ...(Array.isArray(activationBits) ? ['/search/activationBits (a list)'] : []),
    ...(pareto > 0 ? ['/search/pareto'] : []),
  ];
  if (unsupported.length === 0) return;
  throw invalidInput('uniform-search', `/search/method is uniform, which takes no ${unsupported.join(', no ')}.`, [
    'sdq strategy create writes a uniform strategy, and sdq hardware estimate says what it costs.',
  ]);
}
