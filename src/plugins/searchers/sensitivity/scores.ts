/** What each candidate of each decision costs in quality, by the score that the config names. */
import {inputSites} from '../../../graph/layer-table.ts';
import {item} from '../../../lookup.ts';
import type {SearchContext} from '../../../plugin-api/searcher.ts';
import type {Candidate, Decision} from '../../../sdq/search/problem.ts';
import {fullPrecision} from '../../../sdq/strategy.ts';
import {calibrateInputs, type InputSample} from '../../../training/calibration.ts';
import {quantize, siteBits} from '../../../training/quantized-network.ts';
import {hessianScores, taylorScores} from './gradient-scores.ts';

const unrounded = {weightBits: fullPrecision, activationBits: fullPrecision};

/** By decision and candidate, nats; 0 where there is nothing to choose. */
export async function scoresOf(context: SearchContext): Promise<number[][]> {
  const {network, options, problem} = context;
  const {score} = options;
  if (score === 'hessian') return hessianScores(context);
  const open = problem.decisions.filter(({candidates}) => candidates.length > 1);
  // Their values cost a forward pass of the whole sample.
  const rounded = network.layers.flatMap((layer, l) =>
    inputSites(layer).filter((site) =>
      open.some(
        ({candidates, layers}) =>
          layers.includes(l) &&
          candidates.some((candidate) => siteBits(site, {...unrounded, ...candidate}) !== fullPrecision),
      ),
    ),
  );
  const inputs = await context.sampleInputs(rounded.map(({id}) => id));
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
  const precision = {weightBits, activationBits};
  const quantization = quantize(network, quantizers, ({name}) => (names.has(name) ? precision : unrounded), {
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
export function scoreMetrics({problem}: SearchContext, scores: readonly (readonly number[])[]): Record<string, number> {
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
