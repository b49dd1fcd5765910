/** Rows of the journal. The names are a contract: docs/metrics.md. */
import {item} from '../../lookup.ts';
import {temperature} from '../../sdq/dbp.ts';
import {costOf, layerCostsOf} from '../../sdq/search/costs.ts';
import type {DbpProblem, SearchState} from '../../sdq/search/dbp-state.ts';
import {bitsOf} from '../../sdq/search/outcome.ts';
import {inputCandidates, type SearchProblem, type Selection} from '../../sdq/search/problem.ts';
import {searchSnapshot} from '../../sdq/search/snapshot.ts';

type Quantity = 'expected' | 'committed' | 'scheduled';

/** `search/committedMeanBits` for mean weight bits, `search/BUDGET/committed` for another budget. */
function budgetMetric(budget: string, quantity: Quantity): string {
  return budget === 'meanWeightBits' ? `search/${quantity}MeanBits` : `search/${budget}/${quantity}`;
}

function layerCostMetric(budget: string, layer: string): string {
  return `dbp/${layer}/${budget === 'meanWeightBits' ? 'cost' : budget}`;
}

/** Bits and costs of a selection. */
export function selectionMetrics(problem: SearchProblem, selection: Selection): Record<string, number> {
  const metrics: Record<string, number> = {};
  for (const budget of problem.budgets) {
    metrics[budgetMetric(budget.name, 'committed')] = costOf(problem, budget, selection);
    layerCostsOf(problem, budget, selection).forEach(
      (cost, l) => (metrics[layerCostMetric(budget.name, item(problem.layers, l).name)] = cost),
    );
  }
  bitsOf(problem, selection).forEach(
    ({weightBits}, l) => (metrics[`dbp/${item(problem.layers, l).name}/bits`] = weightBits),
  );
  return metrics;
}

/** The same with the probabilities and prices of a search by differentiable bitwidth parameters. */
export function snapshotMetrics(problem: DbpProblem, state: SearchState): Record<string, number> {
  const {budgets, decisions} = searchSnapshot(problem, state);
  const metrics: Record<string, number> = {
    'search/tau': temperature(problem.dbp.tauStart, problem.dbp.tauEnd, state.step, problem.steps),
  };
  for (const {name, lambda, expected, committed, scheduled, layers} of budgets) {
    metrics[budgetMetric(name, 'expected')] = expected;
    metrics[budgetMetric(name, 'committed')] = committed;
    metrics[budgetMetric(name, 'scheduled')] = scheduled;
    metrics[name === 'meanWeightBits' ? 'search/lambda' : `search/${name}/lambda`] = lambda;
    layers.forEach((cost, l) => (metrics[layerCostMetric(name, item(problem.layers, l).name)] = cost));
  }
  for (const {decision, committed, beta} of decisions) {
    for (const l of decision.layers) {
      const {name} = item(problem.layers, l);
      if (committed.weightBits !== undefined) {
        metrics[`dbp/${name}/beta`] = beta;
        metrics[`dbp/${name}/bits`] = committed.weightBits;
      }
      if (inputCandidates(problem, l).length > 1 && committed.activationBits !== undefined) {
        metrics[`dbp/${name}/activationBeta`] = beta;
        metrics[`dbp/${name}/activationBits`] = committed.activationBits;
      }
    }
  }
  return metrics;
}
