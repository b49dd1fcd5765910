/** A score for each candidate of each decision, then an exact integer program over all budgets. [ours] */
import type {Searcher} from '../../../plugin-api/searcher.ts';
import {outcomeOf} from '../../../sdq/search/outcome.ts';
import {selectionMetrics} from '../metrics.ts';
import {leastScore} from './program.ts';
import {scoreMetrics, scoresOf} from './scores.ts';

export const sensitivitySearcher: Searcher = {
  async search(context) {
    const {problem} = context;
    const scores = await scoresOf(context);
    const selection = await leastScore(problem, scores);
    context.log({...selectionMetrics(problem, selection), ...scoreMetrics(context, scores)});
    const {bits, budgets, collapsed} = outcomeOf(problem, selection);
    return {bits, budgets, details: {collapsed, points: []}};
  },
};
