/** Phase 1: learns the bitwidth of every layer while the weights follow (SDQ, Huang et al., ICML 2022, section 3.2). */
import * as tf from '@tensorflow/tfjs-core';

import {ExitCode, SdqError} from '../errors.ts';
import {writeFileAtomic} from '../files.ts';
import type {QuantizedLayer} from '../graph/layer-table.ts';
import type {ForwardOptions, Network} from '../graph/network.ts';
import {
  advanceSearch,
  committedBits,
  committedCost,
  parseSearchState,
  planStep,
  initSearch,
  searchDone,
  searchResult,
  searchSnapshot,
  type Candidate,
  type Choice,
  type SearchProblem,
  type SearchState,
} from '../sdq/search.ts';
import {dueLevel, isDominated, keepPoint, parsePoints, type KeptPoint} from '../sdq/pareto.ts';
import {searchWeights} from '../sdq/stochastic.ts';
import {temperature} from '../sdq/dbp.ts';
import {fullPrecision, type Strategy} from '../sdq/strategy.ts';
import {outputChannels, quantizationErrors, quantizeWeights} from '../sdq/weight-quantizer.ts';
import {softCrossEntropy} from '../tensor/cross-entropy.ts';
import type {Json} from '../training/checkpoint.ts';
import {createOptimizer, networkParameters} from '../training/optimizers.ts';
import {createTrainStep} from '../training/train-step.ts';
import {calibrateInputs, sampleTrainingInputs} from './calibration.ts';
import {evaluateOn} from './evaluate.ts';
import {writeModelFile} from './model-file.ts';
import {oneHot, runPhase, topOneAccuracy, type PhaseContext} from './phase.ts';
import {inputForward, learnedValues, restoreLearnedValues, loadQuantizers, quantize} from './quantized-network.ts';
import {inUnits, type ParetoPoint, type SearchResult} from './results.ts';
import {createSearchInputs, inputCandidates} from './search-inputs.ts';
import {searchProblem, type Search} from './search-problem.ts';
import {createModel, openPart, type Session} from './session.ts';

/** @throws SdqError (exit 3) where the strategies on the way could not be judged */
export function checkPareto({data, search}: Session['config']): void {
  if (search.pareto === 0 || data.validation > 0) return;
  throw new SdqError(
    '/search/pareto: the strategies on the way are judged on validation images, and /data/validation is 0.',
    {
      code: 'pareto-without-validation',
      exit: ExitCode.invalidInput,
      suggestions: ['Set data.validation, e.g. to 5000.'],
    },
  );
}

/** What a choice means for the weights; `low` is null where it is about something else. */
function weightChoice({high, low, share}: Choice): {high: number; low: number | null; share: number} {
  const lower = low?.weightBits ?? null;
  return {high: high.weightBits!, low: lower === high.weightBits ? null : lower, share};
}

/** The forward pass of one search step: weights by the plan, with an indicator variable a layer that carries ∂L/∂share. */
function planForward(
  network: Network,
  plan: readonly Choice[],
  indicators: readonly tf.Variable[],
  quantizer: Parameters<typeof searchWeights>[1],
): (layer: QuantizedLayer, w: tf.Tensor) => tf.Tensor {
  const index = new Map(network.layers.map(({name}, l) => [name, l]));
  return (layer, w) => {
    const l = index.get(layer.name)!;
    return searchWeights(w, quantizer, weightChoice(plan[l]!), indicators[l]!, outputChannels(layer));
  };
}

/** Runs phase 1 from the weights of a file and writes `strategy.json` and the weights as the search left them. */
export async function search(context: PhaseContext, weights: string): Promise<SearchResult> {
  const {session, run, stop} = context;
  const {config, registry, dataset, reporter} = session;
  const network = createModel(session, weights);
  checkPareto(config);
  const steps = config.search.epochs * stepsPerEpoch(session);
  const setup = searchProblem(config, registry, network.graph, steps);
  const {problem} = setup;
  let state = initSearch(problem);
  let kept: KeptPoint[] = [];

  const quantizers = await loadQuantizers(registry, config.quantizers);
  const quantization = quantize(
    network,
    quantizers,
    ({name}) => {
      const bits = inputCandidates(
        problem,
        network.layers.findIndex((layer) => layer.name === name),
      );
      return {weightBits: fullPrecision, activationBits: bits.length === 1 ? bits[0]! : fullPrecision};
    },
    {learnSteps: false},
  );
  const inputs = createSearchInputs(network, quantizers, problem);
  const indicators = problem.decisions.map(() => tf.variable(tf.scalar(1)));
  const learned = {parameters: [...quantization.parameters, ...inputs.parameters]};
  const trained = [...networkParameters(network), ...learned.parameters];
  const optimizer = createOptimizer(config.search.optimizer);
  const trainStep = createTrainStep({
    network,
    optimizer,
    parameters: trained,
    followed: indicators,
    seed: config.seed,
  });

  /** e(b) at both bitwidths of every decision that chooses between weight bits, read in one go; 0 for the others. */
  const errorsOf = async (plan: readonly Choice[]): Promise<{high: number; low: number}[]> => {
    const errors = plan.map(() => ({high: 0, low: 0}));
    const open = network.layers.flatMap((layer, d) => {
      const {high, low} = weightChoice(plan[d]!);
      return low === null ? [] : [{layer, d, bits: [high, low]}];
    });
    if (open.length === 0) return errors;
    const pairs = tf.tidy(() =>
      tf.stack(
        open.map(({layer, bits}) => {
          const w = network.parameters.get(layer.weight)!;
          return quantizationErrors(w, quantization.weights, bits, outputChannels(layer));
        }),
      ),
    );
    const values = await pairs.data();
    pairs.dispose();
    open.forEach(({d}, i) => (errors[d] = {high: values[2 * i]!, low: values[2 * i + 1]!}));
    return errors;
  };

  /** Accuracy and loss on the validation images at the bits that the layers stand at. */
  const judge = async (): Promise<{accuracy: number; loss: number}> => {
    const bits = new Map(committedBits(problem, state).map((own, l) => [network.layers[l]!.name, own]));
    const fixed = inputForward(quantization.inputs);
    const forward: Pick<ForwardOptions, 'weight' | 'activation'> = {
      weight: (layer, w) =>
        quantizeWeights(w, quantization.weights, bits.get(layer.name)!.weightBits, outputChannels(layer)),
      activation: (layer) => inputs.at(layer, bits.get(layer.name)!) ?? fixed(layer),
    };
    return (await evaluateOn(session, network, 'validation', forward, stop.signal))!;
  };
  /** Before the next step: where a signal stops it, nothing of a step is half done, and a resumed search does it again. */
  const keep = async (): Promise<void> => {
    const isOn = config.search.pareto > 0 && state.step > 0;
    const level = !isOn ? null : dueLevel(problem, state, config.search.pareto, kept);
    if (level !== null) kept = [...kept, keepPoint(problem, state, level, await judge())];
  };

  try {
    const {steps: done} = await runPhase(context, {
      name: 'search',
      network,
      parameters: trained,
      optimizer,
      epochs: config.search.epochs,
      async start() {
        const sample = await sampleTrainingInputs(session, network, [...quantization.inputs.keys(), ...inputs.layers]);
        for (const note of [calibrateInputs(quantization.inputs, sample), inputs.calibrate(sample)]) {
          if (note !== undefined) reporter.line(note);
        }
      },
      async step({images, labels, state: at}, optimizerState) {
        await keep();
        const plan = planStep(problem, state);
        const result = await trainStep({
          images,
          step: at.step,
          optimizerState,
          rate: 1,
          forward: {
            weight: planForward(network, plan, indicators, quantization.weights),
            activation: inputForward(quantization.inputs),
            input: inputs.forward(plan, indicators),
          },
          objective: (logits) => ({
            loss: softCrossEntropy(logits, oneHot(labels, dataset.classes.length)),
            reported: {accuracy: topOneAccuracy(logits, labels)},
          }),
        });
        if (Number.isFinite(result.metrics.loss)) {
          const errors = problem.quantizationErrorWeight > 0 ? {errors: await errorsOf(plan)} : {};
          const advanced = advanceSearch(problem, state, plan, {shares: result.followed, ...errors});
          state = advanced.state;
          for (const {layer, from, to, beta} of advanced.transitions) {
            reporter.line(`  ${layer}: ${shownMove(from, to)}${beta === null ? ', given back' : ''}`);
          }
        }
        return result;
      },
      status: () =>
        problem.budgets.map((budget) => {
          const cost = committedCost(problem, state, budget);
          return budget.name === 'meanWeightBits'
            ? `W ${cost.toFixed(2)} → ${budget.target}`
            : `${inUnits(budget.name, cost)} → ${budget.target}`;
        }),
      intervalMetrics: () => snapshotMetrics(problem, state),
      validate: async () => Promise.resolve(null),
      saveBest: () => undefined,
      exportState: () => ({state: {search: state, pareto: kept} as unknown as Json, arrays: learnedValues(learned)}),
      importState(saved, arrays, file) {
        const {search, pareto} = (saved ?? {}) as {readonly search?: unknown; readonly pareto?: unknown};
        state = parseSearchState(search, problem, file);
        kept = parsePoints(pareto, problem, file);
        restoreLearnedValues(learned, arrays, file);
      },
      isDone: () => searchDone(problem, state),
    });

    await keep();
    // The target may be reached between two rows.
    run.journal.log('metric', snapshotMetrics(problem, state), context.stepOffset + done);
    return writeResult(context, network, setup, {state, kept, steps: done});
  } finally {
    for (const indicator of indicators) indicator.dispose();
    inputs.dispose();
    quantization.dispose();
    network.dispose();
  }
}

/** Writes what the search found into the run's folder: the strategy, the weights as it left them, and the strategies on the way. */
function writeResult(
  {session: {config, reporter}, run}: PhaseContext,
  network: Network,
  {problem, targets, hardware, strategyOf}: Search,
  {state, kept, steps}: {readonly state: SearchState; readonly kept: readonly KeptPoint[]; readonly steps: number},
): SearchResult {
  const {bits, budgets, collapsed} = searchResult(problem, state);
  if (collapsed) {
    reporter.line('More than half of the searched layers ended at their lowest candidate: the strategy has collapsed.');
  }
  const missed = budgets.find(({missedBy}) => missedBy > 0);
  if (problem.forward === 'fixed' && missed !== undefined) {
    reporter.line(
      `With the pinned layers the mean is ${missed.cost.toFixed(3)} bits, above the target of ${missed.target}.`,
    );
  }
  const provenance = {
    method: config.search.method,
    sdqVersion: run.record().versions['sdq']!,
    runId: run.id,
    seed: config.seed,
  };
  const write = (name: string, strategy: Strategy): string => {
    const file = run.path(name);
    writeFileAtomic(file, `${JSON.stringify(strategy, null, 2)}\n`);
    return file;
  };
  const strategy = strategyOf(bits, {...provenance, ...(missed === undefined ? {target: targets} : {})});
  const checkpoint = run.path('searched.safetensors');
  writeModelFile(checkpoint, network.weights());
  return {
    strategy: write('strategy.json', strategy),
    checkpoint,
    meanWeightBits: strategy.summary.meanWeightBits,
    meanWeightBitsUnpinned: strategy.summary.meanWeightBitsUnpinned,
    compression: strategy.summary.compression,
    hardware,
    budgets,
    collapsed,
    steps,
    pareto: kept.map((point): ParetoPoint => {
      const own = strategyOf(point.bits, provenance);
      return {
        strategy: write(`pareto-${String(point.level).padStart(3, '0')}.json`, own),
        step: point.step,
        accuracy: point.accuracy,
        loss: point.loss,
        meanWeightBits: own.summary.meanWeightBits,
        costs: Object.fromEntries(problem.budgets.map(({name}, k) => [name, point.costs[k]!])),
        dominated: isDominated(point, kept),
      };
    }),
  };
}

/** What changed: `8 → 7 bits`, `input 8 → 4 bits`, `8 → 4 bits, input 8 → 4 bits`. */
function shownMove(from: Candidate, to: Candidate): string {
  const part = (name: string, before?: number, after?: number): string[] =>
    before === after ? [] : [`${name}${before} → ${after} ${after === 1 ? 'bit' : 'bits'}`];
  return [...part('', from.weightBits, to.weightBits), ...part('input ', from.activationBits, to.activationBits)].join(
    ', ',
  );
}

/** The names are a contract: docs/metrics.md. */
function snapshotMetrics(problem: SearchProblem, state: SearchState): Record<string, number> {
  const {budgets, decisions} = searchSnapshot(problem, state);
  const metrics: Record<string, number> = {
    'search/tau': temperature(problem.dbp.tauStart, problem.dbp.tauEnd, state.step, problem.steps),
  };
  for (const {name, lambda, expected, committed, scheduled, layers} of budgets) {
    const isBits = name === 'meanWeightBits';
    metrics[isBits ? 'search/expectedMeanBits' : `search/${name}/expected`] = expected;
    metrics[isBits ? 'search/committedMeanBits' : `search/${name}/committed`] = committed;
    metrics[isBits ? 'search/scheduledMeanBits' : `search/${name}/scheduled`] = scheduled;
    metrics[isBits ? 'search/lambda' : `search/${name}/lambda`] = lambda;
    layers.forEach((cost, l) => (metrics[`dbp/${problem.layers[l]!.name}/${isBits ? 'cost' : name}`] = cost));
  }
  for (const {decision, committed, beta} of decisions) {
    for (const l of decision.layers) {
      const {name} = problem.layers[l]!;
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

function stepsPerEpoch(session: Session): number {
  const source = openPart(session, 'train', 'training', session.config.seed);
  const {batchesPerEpoch} = source;
  void source.close();
  return batchesPerEpoch;
}
