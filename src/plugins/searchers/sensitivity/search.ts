/** A score for each candidate of each decision, then an exact integer program over all budgets. [ours] */
import {inputSites} from '../../../graph/layer-table.ts';
import {item} from '../../../lookup.ts';
import type {Searcher, SearchContext} from '../../../plugin-api/searcher.ts';
import {outcomeOf} from '../../../sdq/search/outcome.ts';
import type {Candidate, Decision} from '../../../sdq/search/problem.ts';
import {fullPrecision} from '../../../sdq/strategy.ts';
import {calibrateInputs, type InputSample} from '../../../training/calibration.ts';
import {quantize} from '../../../training/quantized-network.ts';
import {selectionMetrics} from '../metrics.ts';
import {hessianScores, taylorScores} from './gradient-scores.ts';
import {leastScore} from './program.ts';

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

/** By decision and candidate, nats; 0 where there is nothing to choose. */
async function scoresOf(context: SearchContext): Promise<number[][]> {
  const {network, options} = context;
  const score = options['score'] ?? 'loss';
  if (score === 'hessian') return hessianScores(context);
  const inputs = await context.sampleInputs(network.layers.flatMap(inputSites).map(({id}) => id));
  return score === 'taylor' ? taylorScores(context, inputs) : lossScores(context, inputs);
}

/**
 * The loss of the whole network with one decision quantized, the rest in full precision, less the loss in full precision (as Model
 * Compression Toolkit has it).
 */
async function lossScores(context: SearchContext, inputs: InputSample): Promise<number[][]> {
  const {problem} = context;
  const total = problem.decisions.reduce(
    (sum, {candidates}) => sum + (candidates.length > 1 ? candidates.length : 0),
    1,
  );
  const base = await context.sampleLoss();
  let done = 1;
  const scores: number[][] = [];
  for (const decision of problem.decisions) {
    const {candidates} = decision;
    const row: number[] = [];
    for (const candidate of candidates) {
      if (candidates.length === 1) {
        row.push(0);
        continue;
      }
      row.push((await lossWith(context, decision, candidate, inputs)) - base);
      context.progress('measuring sensitivity', ++done, total);
    }
    scores.push(row);
  }
  return scores;
}

/** The sample's loss with one decision at a candidate's bits: weight steps from statistics, input ranges from the sample. */
async function lossWith(
  {network, quantizers, sampleLoss}: SearchContext,
  {layers}: Decision,
  {weightBits = fullPrecision, activationBits = fullPrecision}: Candidate,
  inputs: InputSample,
): Promise<number> {
  const names = new Set(layers.map((l) => item(network.layers, l).name));
  const none = {weightBits: fullPrecision, activationBits: fullPrecision};
  const precision = {weightBits, activationBits};
  const quantization = quantize(network, quantizers, ({name}) => (names.has(name) ? precision : none), {
    learnSteps: false,
  });
  try {
    calibrateInputs(quantization.inputs, inputs);
    return await sampleLoss(quantization.forward);
  } finally {
    quantization.dispose();
  }
}

/** `sensitivity/LAYER/w4`, `sensitivity/LAYER/a8`, `sensitivity/LAYER/w4a8`. */
function scoreMetrics({problem}: SearchContext, scores: readonly (readonly number[])[]): Record<string, number> {
  return Object.fromEntries(
    problem.decisions.flatMap(({candidates, layers}, d) =>
      candidates.length === 1
        ? []
        : candidates.map(({weightBits, activationBits}, c) => {
            const bits = [
              weightBits === undefined ? '' : `w${weightBits}`,
              activationBits === undefined ? '' : `a${activationBits}`,
            ];
            return [
              `sensitivity/${item(problem.layers, item(layers, 0)).name}/${bits.join('')}`,
              item(item(scores, d), c),
            ];
          }),
    ),
  );
}
